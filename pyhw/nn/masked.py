"""Masked layers (PEMN): fixed random powers of two, and a learned choice of those that count."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.coded import apply
from pyhw.nn.coded_layers import CodedConv2d, CodedLayer, CodedLinear, Pair
from pyhw.nn.powers import exponent_range, powers_of, round_to_powers, value

__all__ = ["MaskedConv2d", "MaskedLinear", "random_powers"]


def random_powers(
    count: int, fan_in: int, bits: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw weights as PyTorch's Kaiming initialisation does and round them to powers of two.

    Parameters
    ----------
    count : int
        Numbers wanted.
    fan_in : int
        Inputs of an output: the deviation is ``sqrt(2 / fan_in)``.
    bits : int
        Of a code: exponents span what `exponent_range` gives for mode 'ps', the largest being
        that of four deviations at most. Smaller numbers take the smallest power, none is 0.
    generator : torch.Generator, optional
        PyTorch's global one by default.

    Returns
    -------
    Tensor, float32, shape (count,)
    """
    deviation = math.sqrt(2 / fan_in)
    low, high = exponent_range("ps", bits)
    top = math.floor(math.log2(4 * deviation))
    drawn = torch.randn(count, generator=generator) * deviation
    sign, exponent = round_to_powers(drawn, top + low - high, top)
    return value(torch.where(sign == 0, 1, sign), exponent)


class _Keep(torch.autograd.Function):
    """1 for all but the smallest scores; the gradient passes as it is."""

    generate_vmap_rule = True

    @staticmethod
    def forward(score: Tensor, dropped: int) -> Tensor:
        flat = score.flatten()
        if torch.onnx.is_in_onnx_export():  # its TopK takes the first of equals, as a stable sort
            order = flat.topk(dropped, largest=False).indices
        else:
            order = flat.argsort(stable=True)[:dropped]
        return torch.ones_like(flat).scatter(0, order, 0.0).view_as(score)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


class _Masked(CodedLayer):
    """The weights of both masked layers.

    Attributes
    ----------
    prototype : Tensor, shape (d,)
        Signed powers of two, not trained, perhaps shared with other layers. The weights, in
        row-major order, are its entries from the first one on, over and over:
        ``weight[i] = prototype[i % d]``.
    scores : torch.nn.Parameter, shape of the weights
        Of the weights with the smallest magnitudes here, `dropped` are left out.
    """

    prototype: Tensor
    scores: nn.Parameter

    def _set_up(self, sparsity: float, bits: int) -> None:
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity must be from 0 to below 1, not {sparsity!r}")
        exponent_range("ps", bits)
        self.sparsity, self.bits = sparsity, bits
        self.register_buffer("prototype", torch.empty(0))
        self.scores = nn.Parameter(torch.empty(self.weight_shape))
        self.reset_parameters()

    @property
    def size(self) -> int:
        """Weights of the layer."""
        return math.prod(self.weight_shape)

    @property
    def dropped(self) -> int:
        """Weights that the mask leaves out."""
        return int(self.sparsity * self.size)

    def reset_parameters(self) -> None:
        """Draw scores, and fixed weights of the layer's own, from PyTorch's global state."""
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))
        self.draw_prototype()

    def draw_prototype(self, generator: torch.Generator | None = None) -> None:
        """Draw fixed weights of the layer's own, from a generator or the global state."""
        fan_in = math.prod(self.weight_shape[1:])
        self.prototype = random_powers(self.size, fan_in, self.bits, generator).to(self.scores)

    def set_prototype(self, prototype: Tensor) -> None:
        """Take the weights from a vector, which is not copied.

        Parameters
        ----------
        prototype : Tensor, shape (d,)
            Signed powers of two.

        Raises
        ------
        ValueError
            If it is empty, has another shape or holds other numbers.
        """
        if prototype.dim() != 1 or not len(prototype):
            raise ValueError(f"Prototype must be a vector, not of shape {tuple(prototype.shape)}")
        powers_of(prototype)
        self.prototype = prototype

    def _spread(self, values: Tensor) -> Tensor:
        """Return entries of the prototype (or of what belongs to them) in the weights' shape."""
        return values.repeat(-(-self.size // len(values)))[: self.size].view(self.weight_shape)

    def mask(self) -> Tensor:
        """Return 1 for the weights that count and 0 for the others, gradients attached.

        Returns
        -------
        Tensor, float, shape of the weights
        """
        return apply(_Keep, self.scores.abs(), self.dropped)

    def effective_weight(self) -> Tensor:
        """Return the masked weights; see `CodedWeight`."""
        return self._spread(self.prototype) * self.mask()

    def codes(self) -> tuple[Tensor, Tensor]:
        """Return the masked weights as powers of two; see `CodedWeight`."""
        kept = self.mask().detach().to(torch.int8)
        sign, exponent = powers_of(self.prototype)
        return (self._spread(sign) * kept)[None], (self._spread(exponent) * kept)[None]

    def _options(self) -> str:
        return f", sparsity={self.sparsity}, prototype={len(self.prototype)}"


class MaskedConv2d(_Masked, CodedConv2d):
    """Convolve with fixed random powers of two of which a learned mask keeps a share.

    Trained are one score per weight: those with the largest magnitudes are kept, and the gradient
    passes through that choice, ``sgn(score) * w * g``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in :class:`torch.nn.Conv2d`; no bias by default.
    sparsity : float
        Share of the weights that are left out (the authors' option of this name is what is
        kept), rounded down to whole weights; from 0 to below 1.
    bits : int
        Of a weight's code, 2..8: see `random_powers`.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    Bai et al., "Parameter-Efficient Masking Networks", NeurIPS 2022, and the
    authors' code, after Ramanujan et al., "What's Hidden in a Randomly Weighted Neural
    Network?", CVPR 2020. That the weights are powers of two is this project's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = False,
        *,
        sparsity: float = 0.5,
        bits: int = 5,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self._set_up(sparsity, bits)


class MaskedLinear(_Masked, CodedLinear):
    """Map linearly with fixed random powers of two of which a learned mask keeps a share.

    Parameters
    ----------
    in_features, out_features, bias
        As in :class:`torch.nn.Linear`; no bias by default.
    sparsity, bits
        As in :class:`MaskedConv2d`.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    As of :class:`MaskedConv2d`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        *,
        sparsity: float = 0.5,
        bits: int = 5,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self._set_up(sparsity, bits)
