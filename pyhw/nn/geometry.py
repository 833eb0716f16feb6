"""Where the windows of a convolution lie: the sizes that every adder kernel is given."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Geometry", "pair"]

Shape = tuple[int, int, int, int]


def pair(name: str, value: Any, smallest: int) -> tuple[int, int]:
    """Return a size, given once or per direction, as (rows, columns).

    Parameters
    ----------
    name : str
        What it is called in errors.
    value : int or (int, int)
        At least `smallest`.
    smallest : int

    Returns
    -------
    (int, int)

    Raises
    ------
    TypeError, ValueError
        If it is not an integer or two, or too small.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise TypeError(f"{name} must be an int or a pair of ints, not {value!r}")
    if len(values) != 2 or min(values) < smallest:
        raise ValueError(f"{name} must be an int of at least {smallest}, or two, not {value!r}")
    return values


@dataclass(frozen=True)
class Geometry:
    """Step, border, spread and groups of a convolution; pairs are (rows, columns).

    Attributes
    ----------
    stride, padding, dilation : (int, int)
        As in ``torch.nn.Conv2d``; padding adds zeros at both ends.
    groups : int
        Divides the channels of input and output.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @classmethod
    def of(cls, stride: Any, padding: Any, dilation: Any, groups: Any) -> "Geometry":
        """Return a geometry of sizes given once or per direction.

        Raises
        ------
        TypeError, ValueError
            For sizes that are not integers or are out of range.
        """
        return cls(
            pair("stride", stride, 1),
            pair("padding", padding, 0),
            pair("dilation", dilation, 1),
            pair("groups", groups, 1)[0],
        )

    def out_shape(self, x: Tensor, weight: Tensor) -> Shape:
        """Return the shape of the output, leftover rows and columns cut.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
        weight : Tensor, shape (O, C / groups, KH, KW)

        Returns
        -------
        (N, O, H', W')
            ``H' = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``.

        Raises
        ------
        ValueError
            If the shapes do not fit each other.
        """
        outputs, channels = weight.shape[:2]
        if outputs % self.groups:
            raise ValueError(f"groups must divide the {outputs} output channels, not {self.groups}")
        if x.dim() != 4 or x.shape[1] != channels * self.groups:
            raise ValueError(
                f"Input must have shape (images, {channels * self.groups}, height, width), "
                f"not {tuple(x.shape)}"
            )
        height, width = (self._places(x, weight, axis) for axis in (0, 1))
        return x.shape[0], outputs, height, width

    def _places(self, x: Tensor, weight: Tensor, axis: int) -> int:
        size, kernel, padding = x.shape[2 + axis], weight.shape[2 + axis], self.padding[axis]
        reach = self.dilation[axis] * (kernel - 1) + 1
        if size + 2 * padding < reach:
            raise ValueError(
                f"Input must be at least {max(1, reach - 2 * padding)} pixels "
                f"{('high', 'wide')[axis]} for a kernel that reaches over {reach} with padding "
                f"{padding}, not {size}"
            )
        return (size + 2 * padding - reach) // self.stride[axis] + 1
