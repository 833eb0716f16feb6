"""Shift layers: weights are signed powers of two, so that a product is a shift.

Float latents are trained and rounded at every forward pass; what is deployed is the rounded
weight, and no rounding is left to do.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.coded import apply
from pyhw.nn.coded_layers import CodedConv2d, CodedLayer, CodedLinear, Pair
from pyhw.nn.powers import exponent_range, power, round_to_powers, signum, value

__all__ = ["UNDERFLOWS", "ShiftConv2d", "ShiftLinear"]

FIRST_EXPONENTS = (-10.0, -1.0)
"""Where the exponents of a convolution start in mode 'ps' (the authors' code)."""
UNDERFLOWS = ("smallest", "zero")
MAX_SPAN = 22
"""Exponents of two terms may differ by this, or float32 could not hold their sum."""


class _ShiftAndSign(torch.autograd.Function):
    """``sgn(round(sign)) * 2 ** round(shift)`` with the published, asymmetric product rule."""

    generate_vmap_rule = True

    @staticmethod
    def forward(shift: Tensor, sign: Tensor, low: int, high: int) -> Tensor:
        return signum(sign.round()) * power(shift.round().clamp(low, high), shift.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return gradients[0] * weight * math.log(2), gradients[0], None, None


class _Rounded(torch.autograd.Function):
    """Round to sums of powers of two; the gradient passes as it is."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, low: int, high: int, terms: int) -> Tensor:
        rounded = value(*round_to_powers(weight, low, high, terms), weight.dtype)
        return torch.where(weight.isnan(), weight, rounded)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None, None, None


class _Shift(CodedLayer):
    """The weights of both shift layers."""

    shift: nn.Parameter
    sign: nn.Parameter
    weight: nn.Parameter

    def _set_up(
        self, mode: str, bits: int, terms: int, first: tuple[float, float] | None, low: int | None
    ) -> None:
        self.low, self.high = exponent_range(mode, bits)
        if low is not None:
            if not -127 <= low <= self.high:
                raise ValueError(f"low must be from -127 to {self.high}, not {low!r}")
            self.low = low
        if terms not in (1, 2):
            raise ValueError(f"terms must be 1 or 2, not {terms!r}")
        if terms == 2 and self.high - self.low > MAX_SPAN:
            raise ValueError(
                f"Exponents of two terms must span at most {MAX_SPAN} (bits at most 5), not "
                f"{self.low} to {self.high}"
            )
        self.mode, self.bits, self.terms, self.first = mode, bits, terms, first
        self.frozen = False
        shape = self.weight_shape
        if mode == "ps":
            latent = shape if terms == 1 else (terms, *shape)
            self.shift = nn.Parameter(torch.empty(latent))
            self.sign = nn.Parameter(torch.empty(latent))
        else:
            self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh latents.

        Mode 'ps': exponents uniform in `first` (clamped to the range), signs uniform in (-1, 1),
        so that about half of the weights start at 0. Mode 'q': as PyTorch's own layers do.
        """
        if self.mode == "ps":
            nn.init.uniform_(self.shift, *(self.first or (self.low, self.high)))
            nn.init.uniform_(self.sign, -1, 1)
        else:
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the latents to the range of the codes; an exact 0 stays 0 in mode 'q'."""
        if self.frozen:
            return
        if self.mode == "ps":
            self.shift.clamp_(self.low, self.high)
        else:
            size = self.weight.abs().clamp(2.0**self.low, 2.0**self.high)
            self.weight.copy_(self.weight.sign() * size)

    def effective_weight(self) -> Tensor:
        """Return the rounded weights; see `CodedWeight`."""
        if self.mode == "q":
            return apply(_Rounded, self.weight, self.low, self.high, self.terms)
        rounded = apply(_ShiftAndSign, self.shift, self.sign, self.low, self.high)
        return rounded if self.terms == 1 else rounded.sum(0)

    def codes(self) -> tuple[Tensor, Tensor]:
        """Return the rounded weights as powers of two; see `CodedWeight`."""
        if self.mode == "q":
            return round_to_powers(self.weight, self.low, self.high, self.terms)
        sign = self.sign.detach().round().sign().to(torch.int8)
        exponent = self.shift.detach().round().clamp(self.low, self.high).to(torch.int8)
        shape = (self.terms, *self.weight_shape)
        return sign.view(shape), (exponent * sign.abs()).view(shape)

    @torch.no_grad()
    def load_weight(self, weight: Tensor, underflow: str = "smallest") -> None:
        """Take over the weights of an ordinary layer, rounded to powers of two.

        Exact zeros stay 0. Mode 'q' keeps the floats and rounds them at every forward pass.

        Parameters
        ----------
        weight : Tensor, shape of `weight_shape`
        underflow : {'smallest', 'zero'}
            What becomes of magnitudes below the smallest power of two: that power, as published;
            or 0, if they are nearer to 0 than to it. With 2 or 3 bits most weights of a usual
            layer lie below it.

        Raises
        ------
        ValueError
            If `underflow` is not known.

        Source
        ------
        DeepShift (CVPR workshops 2021), section 3, and its authors' code: the exponent is rounded
        and clamped, the sign is that of the weight.
        """
        if underflow not in UNDERFLOWS:
            raise ValueError(f"underflow must be one of {', '.join(UNDERFLOWS)}, not {underflow!r}")
        size = weight.abs()
        if underflow == "zero":
            weight = torch.where(size < 2.0 ** (self.low - 1), 0.0, weight)
        weight = signum(weight) * size.clamp_min(2.0**self.low)
        if self.mode == "q":
            self.weight.copy_(weight)
        else:
            sign, exponent = round_to_powers(weight, self.low, self.high, self.terms)
            exponent = torch.where(sign == 0, self.low, exponent)
            self.sign.copy_(torch.where(weight.isnan(), weight, sign).view(self.sign.shape))
            self.shift.copy_(exponent.view(self.shift.shape))
        self.project()

    @torch.no_grad()
    def freeze(self, prune: float = 0.0) -> None:
        """Keep the present weights for good, a share of them as 0.

        Parameters
        ----------
        prune : float
            Share of the weights (and terms) that become 0: those whose sign latent, or weight,
            is smallest. From 0 to below 1; with 0, none is 0.

        Source
        ------
        You et al., "ShiftAddNet: A Hardware-Inspired Deep Network", NeurIPS 2020,
        and its authors' code; there a threshold on the sign latent gives the share on average.
        """
        if not 0 <= prune < 1:
            raise ValueError(f"prune must be from 0 to below 1, not {prune!r}")
        latent = self.sign if self.mode == "ps" else self.weight
        order = latent.abs().flatten().argsort(stable=True)
        if self.mode == "ps":
            self.shift.copy_(self.shift.round())
            self.sign.copy_(torch.where(latent < 0, -1.0, 1.0))
        latent.view(-1)[order[: int(prune * latent.numel())]] = 0
        self._keep()

    def _keep(self) -> None:
        self.frozen = True
        for parameter in (self.shift, self.sign) if self.mode == "ps" else (self.weight,):
            parameter.requires_grad_(False)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.frozen:
            destination[f"{prefix}frozen"] = torch.tensor(True)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if state_dict.pop(f"{prefix}frozen", False):  # what is frozen stays so without the entry
            self._keep()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _options(self) -> str:
        text = f", mode={self.mode}, bits={self.bits}, terms={self.terms}"
        return text + ", frozen" * self.frozen


class ShiftConv2d(_Shift, CodedConv2d):
    """Convolve by shifts: every weight is 0 or a signed power of two, or a sum of two.

    ===== ========================================= ==========================================
    mode  weight                                    gradient, ``g`` of the loss by the weight
    ===== ========================================= ==========================================
    'ps'  ``sgn(round(sign)) * 2**round(shift)``    `shift`: ``g w ln 2``, `sign`: ``g``
    'q'   ``sgn(weight) * 2**round(log2(|weight|))`` `weight`: ``g``
    ===== ========================================= ==========================================

    Keep weight decay away from `shift` and `sign`: it would pull weights towards 1 and 0.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in :class:`torch.nn.Conv2d`; no bias by default.
    mode : {'ps', 'q'}
        Train exponent and sign of each weight ('ps', a sign may be 0), or a float that is rounded
        in the logarithmic domain ('q', exact zeros only).
    bits : int
        Of a weight, or of each of two terms, 2..8: see `exponent_range`.
    terms : int
        Powers of two per weight: 1, or 2 (bits at most 5). In mode 'ps' each term has latents of
        its own, in mode 'q' the second one is what the first leaves over, rounded.
    first : (float, float) or None
        Mode 'ps': exponents start uniform in this interval; None: in their whole range, as
        ShiftAddNet has it.
    low : int or None
        Smallest exponent instead of the one of `bits`, for weights from elsewhere.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    DeepShift (CVPR workshops 2021) and its authors' code.
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
        mode: str = "ps",
        bits: int = 5,
        terms: int = 1,
        first: tuple[float, float] | None = FIRST_EXPONENTS,
        low: int | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self._set_up(mode, bits, terms, first, low)


class ShiftLinear(_Shift, CodedLinear):
    """Map linearly by shifts: every weight is 0 or a signed power of two, or a sum of two.

    Parameters
    ----------
    in_features, out_features, bias
        As in :class:`torch.nn.Linear`; no bias by default.
    mode, bits, terms, first, low
        As in :class:`ShiftConv2d`; exponents start in their whole range.

    Raises
    ------
    TypeError, ValueError
        For sizes and options out of their range.

    Source
    ------
    DeepShift (CVPR workshops 2021) and its authors' code.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        *,
        mode: str = "ps",
        bits: int = 5,
        terms: int = 1,
        first: tuple[float, float] | None = None,
        low: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self._set_up(mode, bits, terms, first, low)
