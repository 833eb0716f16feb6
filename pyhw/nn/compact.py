"""Masked networks in the fewest bytes: short vectors of codes, and one bit per weight.

The published code keeps full-size float weights and scores in its files; the compression is only
calculated there. Here it is what is stored, and the network comes back from it bit for bit.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyhw.errors import UserError
from pyhw.nn.powers import powers_of, value
from pyhw.nn.prototypes import masked_layers

__all__ = ["CompactMasks", "compact", "restore"]

FORMAT, VERSION = "pyhw-masks", 1


@dataclass(frozen=True, kw_only=True, eq=False)
class CompactMasks:
    """What a trained masked network is, without its scores.

    Attributes
    ----------
    vectors : tuple of (int, Tensor)
        The distinct prototypes. Entry `c` of the tensor (uint8, shape (d,)) stands for
        ``(-1) ** (c & 1) * 2.0 ** (low + (c >> 1))``, the int is `low`; 255 stands for 0.
    layers : dict of str to (int, Tensor)
        For each masked layer by path, the number of its vector, and its mask in row-major order,
        eight weights to a byte (uint8), the first in the highest bit.
    rest : dict of str to Tensor
        State of all other layers, and biases.
    """

    vectors: tuple[tuple[int, Tensor], ...]
    layers: dict[str, tuple[int, Tensor]]
    rest: dict[str, Tensor]

    @property
    def values(self) -> int:
        """Distinct fixed weights; one byte each."""
        return sum(len(codes) for _, codes in self.vectors)

    @property
    def mask_bytes(self) -> int:
        """Bytes of all masks."""
        return sum(mask.numel() for _, mask in self.layers.values())

    @property
    def rest_bytes(self) -> int:
        """Bytes of what is not masked: batch norms, biases."""
        return sum(t.numel() * t.element_size() for t in self.rest.values())

    @property
    def stored_bytes(self) -> int:
        """Bytes of fixed weights and masks."""
        return self.values + self.mask_bytes

    def state(self) -> dict[str, Any]:
        """Return plain containers of tensors, for `torch.save`."""
        return {"format": FORMAT, "version": VERSION} | asdict(self)

    @classmethod
    def from_state(cls, state: Any) -> "CompactMasks":
        """Read what `state` returned.

        Raises
        ------
        UserError
            If it is something else, or of another version.
        """
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise UserError("this is no compact masked network; pyhw.nn.compact makes one")
        if state.get("version") != VERSION:
            raise UserError(f"compact masks have version {state.get('version')!r}, not {VERSION}")
        return cls(vectors=state["vectors"], layers=state["layers"], rest=state["rest"])


def _encode(prototype: Tensor) -> tuple[int, Tensor]:
    sign, exponent = powers_of(prototype)
    low = int(exponent[sign != 0].min()) if sign.any() else 0
    offset = exponent.int() - low
    if int((offset * sign.abs()).max()) > 126:
        raise ValueError("Exponents of a prototype must span at most 126")
    code = torch.where(sign == 0, 255, 2 * offset + (sign < 0))
    return low, code.to(torch.uint8).cpu()


def _decode(low: int, code: Tensor) -> Tensor:
    sign = 1 - 2 * (code & 1).int()
    number = value(sign[None], (low + (code >> 1).int())[None].clamp(-149, 127))
    return torch.where(code == 255, 0.0, number)


def compact(model: nn.Module) -> CompactMasks:
    """Take from a masked network what it computes with.

    Parameters
    ----------
    model : torch.nn.Module
        With masked layers; a vector that several share is stored once.

    Returns
    -------
    CompactMasks
        Tensors on the CPU.
    """
    vectors: list[tuple[int, Tensor]] = []
    numbers: dict[bytes, int] = {}
    layers: dict[str, tuple[int, Tensor]] = {}
    rest = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    for path, layer in masked_layers(model).items():
        low, code = _encode(layer.prototype)
        key = low.to_bytes(2, "big", signed=True) + code.numpy().tobytes()
        if key not in numbers:
            numbers[key] = len(vectors)
            vectors.append((low, code))
        bits = np.packbits(layer.mask().detach().cpu().numpy().astype(np.uint8).reshape(-1))
        layers[path] = (numbers[key], torch.from_numpy(bits))
        prefix = f"{path}." if path else ""
        del rest[f"{prefix}prototype"], rest[f"{prefix}scores"]
    return CompactMasks(vectors=tuple(vectors), layers=layers, rest=rest)


@torch.no_grad()
def restore(model: nn.Module, masks: CompactMasks) -> None:
    """Fill a freshly built network from its compact form.

    Its masked layers then have scores of 1 and 0, which give the same masks again.

    Parameters
    ----------
    model : torch.nn.Module
        Built as the one that was stored was, sharing aside.
    masks : CompactMasks
        From `compact`.

    Raises
    ------
    UserError
        If the network has other layers than the stored one.
    """
    layers = masked_layers(model)
    if set(layers) != set(masks.layers):
        other = min(set(layers) ^ set(masks.layers))
        raise UserError(
            f"the network does not fit its compact form: layer {other!r} is in one only"
        )
    vectors = [_decode(low, code) for low, code in masks.vectors]
    for path, layer in layers.items():
        number, packed = masks.layers[path]
        bits = np.unpackbits(packed.numpy())[: layer.size]
        if len(bits) < layer.size or bits.sum() != layer.size - layer.dropped:
            raise UserError(
                f"the network does not fit its compact form: layer {path!r} has {layer.size} "
                f"weights and drops {layer.dropped}"
            )
        layer.scores.copy_(torch.from_numpy(bits).view(layer.weight_shape))
        layer.set_prototype(vectors[number].to(layer.scores))
    try:
        missing, foreign = model.load_state_dict(masks.rest, strict=False)
    except RuntimeError as error:
        raise UserError(f"the network does not fit its compact form: {error}") from None
    wrong = set(foreign) | {
        name for name in missing if name.rpartition(".")[2] not in ("prototype", "scores")
    }
    if wrong:
        raise UserError(f"the network does not fit its compact form: {min(wrong)!r} is in one only")
