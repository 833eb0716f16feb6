"""What operations with post-processing, and among them those over windows, share."""

import numpy as np

from pyhw.hdl.formats import Format

from ..post import Post
from ..rules import MAX_KERNEL, require
from .base import MapType, Operation, Shape

__all__ = ["Processed", "Windowed", "check_narrow"]


class Processed(Operation):
    """An operation of one operand, `input`, that ends in a `Post`."""

    input: str
    post: Post

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input, then residuals and records of tokens."""
        return (self.input, *self.post.reads)

    @property
    def operands(self) -> tuple[str, ...]:
        """The input."""
        return (self.input,)

    @property
    def posts(self) -> tuple[Post, ...]:
        """The post-processing."""
        return (self.post,)

    def stores(self, *shape: int) -> MapType:
        """Return a map of a shape (H, W, C) as the post-processing stores it."""
        height, width, channels = shape
        return MapType((height, width, channels), self.post.format, self.post.values)


class Windowed(Processed):
    """An operation over the windows of a kernel: every position reads its taps."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad_value: np.ndarray | None
    dilation: tuple[int, int] = (1, 1)

    def border_values(self, channels: int, fmt: Format) -> np.ndarray:
        """Return what padded taps read, int64 (C,)."""
        if self.pad_value is None:
            return np.zeros(channels, np.int64)
        return self.pad_value.astype(np.int64)

    def positions(self, shape: Shape) -> tuple[int, int]:
        """Return the rows and columns of windows over a map.

        Raises
        ------
        ValueError
            If the kernel is larger than the padded map.
        """
        top, left, bottom, right = self.padding
        sides = []
        for size, kernel, stride, step in zip(
            (shape[0] + top + bottom, shape[1] + left + right),
            self.kernel, self.stride, self.dilation,
        ):  # fmt: skip
            reach = step * (kernel - 1) + 1
            if reach > size:
                raise ValueError(
                    f"Operation {self.name!r} must have a kernel that fits the padded map: "
                    f"{reach} does not fit {size}"
                )
            sides.append((size - reach) // stride + 1)
        return sides[0], sides[1]

    def check_fields(self, *operands: MapType) -> None:
        """Check kernel, stride and padding."""
        for name, low in (("kernel", 1), ("stride", 1), ("padding", 0)):
            require(
                self,
                all(low <= v <= MAX_KERNEL for v in getattr(self, name)),
                f"{name} must be from {low} to {MAX_KERNEL}, not {getattr(self, name)}",
            )

    def check_pad_values(self, x: MapType) -> None:
        """Check that padded taps read a value of the input's format in each channel."""
        if self.pad_value is None:
            return
        require(
            self,
            self.pad_value.shape == (x.channels,),
            f"pad_value must have {x.channels} channels, not {self.pad_value.shape[0]}",
        )
        low, high = int(self.pad_value.min()), int(self.pad_value.max())
        require(
            self,
            x.fmt.min <= low and high <= x.fmt.max,
            f"pad values must be in the input's format {x.fmt}, not {low} to {high}",
        )

    def describe_windows(self) -> list[str]:
        """Return kernel, stride and padding for people."""
        parts = [f"{self.kernel[0]}x{self.kernel[1]}"]
        if self.stride != (1, 1):
            parts.append(f"stride {self.stride[0]},{self.stride[1]}")
        if any(self.padding):
            parts.append("pad " + ",".join(map(str, self.padding)))
        return parts


def check_narrow(op: Operation, x: MapType, most: int = 8) -> None:
    """Require an operand of 2 to `most` bits."""
    require(
        op, 2 <= x.fmt.width <= most, f"input must be 2 to {most} bits wide, not {x.fmt}"
    )
