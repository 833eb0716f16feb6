"""What layers have in common whose weights are sums of signed powers of two."""

import abc
from typing import Any

import torch
from torch import Tensor

__all__ = ["CodedWeight", "apply"]


def apply(function: type[torch.autograd.Function], *inputs: Any) -> Tensor:
    """Call a function with a gradient of its own; files of ONNX have its forward pass alone."""
    computed = function.forward if torch.onnx.is_in_onnx_export() else function.apply
    found: Tensor = computed(*inputs)
    return found


class CodedWeight(abc.ABC):
    """A layer that multiplies by shifting: its weights are written in signed powers of two.

    Mix it into a layer that computes an ordinary convolution or linear map with
    `effective_weight`. The quantiser takes such a layer as it is, without rounding.
    """

    @abc.abstractmethod
    def effective_weight(self) -> Tensor:
        """Return the weights that `forward` computes with, float, gradients attached.

        Returns
        -------
        Tensor, shape (O, C / groups, KH, KW), or (O, I) of a linear layer
        """

    @abc.abstractmethod
    def codes(self) -> tuple[Tensor, Tensor]:
        """Return the weights as powers of two.

        Returns
        -------
        sign : Tensor, int8, shape (terms, *weight shape)
            -1, 0 or 1.
        exponent : Tensor, int8, same shape
            ``sum(sign * 2.0 ** exponent)`` over the terms is `effective_weight`, exactly;
            usually negative; 0 where the sign is 0.
        """
