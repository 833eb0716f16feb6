"""How masked layers share their fixed weights: from all of their own to one short vector."""

import torch
from torch import Tensor, nn

from pyhw.nn.masked import MaskedConv2d, MaskedLinear

__all__ = ["SHARING", "masked_layers", "share_prototypes"]

SHARING = ("dense", "one-layer", "mp", "rp")

Masked = MaskedConv2d | MaskedLinear


def masked_layers(model: nn.Module) -> dict[str, Masked]:
    """Return the masked layers of a model by path, in order of registration."""
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, (MaskedConv2d, MaskedLinear))
    }


def share_prototypes(
    model: nn.Module, sharing: str = "dense", fraction: float = 1.0, seed: int | None = None
) -> None:
    """Let the masked layers of a model take their fixed weights from common vectors.

    =========== ===============================================================================
    sharing     fixed weights of a layer
    =========== ===============================================================================
    'dense'     its own
    'one-layer' of a convolution: those of the first one of the same shape; else its own
    'mp'        the first ones of the layer with the most weights (max-layer padding)
    'rp'        the first ``int(fraction * n) + 1`` of the `n` weights of that layer, repeated
    =========== ===============================================================================

    Call it once, before training: a mask is worth nothing with other weights.

    Parameters
    ----------
    model : torch.nn.Module
        With masked layers; others are left as they are.
    sharing : {'dense', 'one-layer', 'mp', 'rp'}
        See above.
    fraction : float
        Above 0, at most 1.
    seed : int, optional
        Draw the layers' own weights anew from this seed, as PyTorch's generator on the CPU does;
        by default they are those that the layers were made with.

    Raises
    ------
    ValueError
        If an option is not known or out of range.

    Source
    ------
    PEMN (NeurIPS 2022) and its authors' code: every layer begins at the vector's
    first entry.
    """
    if sharing not in SHARING:
        raise ValueError(f"sharing must be one of {', '.join(SHARING)}, not {sharing!r}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, not {fraction!r}")
    layers = list(masked_layers(model).values())
    if not layers:
        return
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for layer in layers:
            layer.draw_prototype(generator)
    if sharing == "one-layer":
        first: dict[tuple[int, ...], Tensor] = {}
        for layer in layers:
            if isinstance(layer, MaskedConv2d):
                layer.set_prototype(first.setdefault(layer.weight_shape, layer.prototype))
    elif sharing != "dense":
        largest = max(layers, key=lambda layer: layer.size).prototype  # the first such
        count = len(largest) if sharing == "mp" else int(fraction * len(largest)) + 1
        vector = largest[:count].clone()
        for layer in layers:
            layer.set_prototype(vector)
