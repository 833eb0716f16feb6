"""The adder convolution and its published gradients as operators of PyTorch.

``torch.export`` and ``torch.compile`` keep them as they are: each says what shape and layout it
returns without computing anything.
"""

import contextlib
import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pyhw.nn import compiled, fused, plain
from pyhw.nn.geometry import Geometry

__all__ = ["Adder", "rescale_"]

NORM_FLOOR = 1e-12


def _kernel(x: Tensor, weight: Tensor) -> ModuleType:
    return next((kernel for kernel in (fused, compiled) if kernel.usable(x, weight)), plain)


def _exactly(device: str) -> contextlib.AbstractContextManager:
    """Return a context in which autocast leaves types alone."""
    if not torch.amp.is_autocast_available(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)


def _geometry(stride: list[int], padding: list[int], dilation: list[int], groups: int) -> Geometry:
    return Geometry(
        (stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]), groups
    )


def rescale_(gradient: Tensor, eta: float | Tensor) -> None:
    """Bring a gradient to the root mean square `eta`, in place; a zero gradient stays zero.

    Parameters
    ----------
    gradient : Tensor
        Of one layer's weights.
    eta : float or Tensor of one element
        Positive.

    Source
    ------
    AdderNet (CVPR 2020), equations 12-13; the floor of the norm is that of the authors' code.
    """
    norm = gradient.norm().clamp_min(NORM_FLOOR)
    gradient *= eta * math.sqrt(gradient.numel()) / norm


_SIZES = "int[] stride, int[] padding, int[] dilation, int groups"
_LIBRARY = torch.library.Library("pyhw", "DEF")
_LIBRARY.define(f"adder_conv2d(Tensor x, Tensor weight, {_SIZES}) -> Tensor")
_LIBRARY.define(f"adder_grad_input(Tensor x, Tensor weight, Tensor gradient, {_SIZES}) -> Tensor")
_LIBRARY.define(
    f"adder_grad_weight(Tensor x, Tensor weight, Tensor gradient, {_SIZES}, bool sign) -> Tensor"
)
Sizes = tuple[list[int], list[int], list[int], int]


def _forward(x: Tensor, weight: Tensor, *sizes: Any) -> Tensor:
    with _exactly(x.device.type):
        return _kernel(x, weight).forward(x, weight, _geometry(*sizes))


def _grad_input(x: Tensor, weight: Tensor, gradient: Tensor, *sizes: Any) -> Tensor:
    with _exactly(x.device.type):
        return _kernel(x, weight).grad_input(x, weight, gradient, _geometry(*sizes))


def _grad_weight(x: Tensor, weight: Tensor, gradient: Tensor, *sizes: Any) -> Tensor:
    *sizes, sign = sizes  # type: ignore[assignment]
    with _exactly(x.device.type):
        found = _kernel(x, weight).grad_weight(x, weight, gradient, _geometry(*sizes), sign)
        return found.contiguous()


def _forward_shape(x: Tensor, weight: Tensor, *sizes: Any) -> Tensor:
    return _kernel(x, weight).empty(x, _geometry(*sizes).out_shape(x, weight))


def _grad_input_shape(x: Tensor, weight: Tensor, gradient: Tensor, *sizes: Any) -> Tensor:
    return _kernel(x, weight).empty(x, x.shape)


def _grad_weight_shape(x: Tensor, weight: Tensor, gradient: Tensor, *sizes: Any) -> Tensor:
    return weight.new_empty(weight.shape)


def _one_by_one(operator: Any) -> Any:
    """Return what `torch.func.vmap` does: run an operator for each entry of a batch in turn."""

    def rule(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        parts = [
            given.movedim(dim, 0) if isinstance(dim, int) else given
            for given, dim in zip(inputs, dims, strict=True)
        ]
        found = [
            operator(*(part[i] if isinstance(dim, int) else part for part, dim in zip(parts, dims)))
            for i in range(info.batch_size)
        ]
        return torch.stack(found), 0

    return rule


for _name, _compute, _shape in (
    ("adder_conv2d", _forward, _forward_shape),
    ("adder_grad_input", _grad_input, _grad_input_shape),
    ("adder_grad_weight", _grad_weight, _grad_weight_shape),
):
    _LIBRARY.impl(_name, _compute, "CompositeExplicitAutograd")
    torch.library.register_fake(f"pyhw::{_name}", _shape, lib=_LIBRARY)
    torch.library.register_vmap(
        f"pyhw::{_name}", _one_by_one(getattr(torch.ops.pyhw, _name)), lib=_LIBRARY
    )


class _Last(torch.autograd.Function):
    """A published gradient, of which there is no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "Adder layers cannot be differentiated twice: their published gradients are no "
            "derivatives"
        )


class _GradInput(_Last):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
        found: Tensor = torch.ops.pyhw.adder_grad_input(x, weight, gradient, *_sizes(geometry))
        return found


class _GradWeight(_Last):
    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, sign: bool
    ) -> Tensor:
        found: Tensor = torch.ops.pyhw.adder_grad_weight(
            x, weight, gradient, *_sizes(geometry), sign
        )
        return found


class Adder(torch.autograd.Function):
    """The adder convolution with the published gradients.

    ``Adder.apply(x, weight, geometry, eta, sign)``: `x` (N, C, H, W) and `weight`
    (O, C / groups, KH, KW) of one type, `geometry` a `Geometry`, `eta` a float or None, `sign`
    whether the weight gradient is that of signs; see `pyhw.nn.functional.adder_conv2d`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, geometry: Geometry, eta: float | None, sign: bool
    ) -> Tensor:
        """Return the negative L1 distances, shape (N, O, H', W')."""
        found: Tensor = torch.ops.pyhw.adder_conv2d(x, weight, *_sizes(geometry))
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the gradients are made of."""
        x, weight, ctx.geometry, ctx.eta, ctx.sign = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the published gradients of input and weight."""
        x, weight = ctx.saved_tensors
        grad_x, grad_weight = None, None
        if ctx.needs_input_grad[0]:
            grad_x = _GradInput.apply(x, weight, gradients[0], ctx.geometry)
        if ctx.needs_input_grad[1]:
            grad_weight = _GradWeight.apply(x, weight, gradients[0], ctx.geometry, ctx.sign)
            if ctx.eta is not None:
                rescale_(grad_weight, ctx.eta)
        return grad_x, grad_weight, None, None, None


def _sizes(geometry: Geometry) -> Sizes:
    pairs = (list(pair) for pair in (geometry.stride, geometry.padding, geometry.dilation))
    return *pairs, geometry.groups  # type: ignore[return-value]
