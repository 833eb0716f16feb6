"""Adder convolutions to try: shapes, operands whose sums are exact, and the kernels."""

from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from pyhw.nn import compiled, plain
from pyhw.nn.geometry import Geometry

KERNELS = ("compiled", "plain")


class Case(NamedTuple):
    images: int
    channels: int
    size: tuple[int, int]
    outputs: int
    kernel: tuple[int, int]
    geometry: Geometry


def _square(images, channels, height, width, outputs, kernel, stride, padding):
    geometry = Geometry((stride, stride), (padding, padding))
    return Case(images, channels, (height, width), outputs, (kernel, kernel), geometry)


CASES = [
    _square(1, 1, 1, 1, 1, 1, 1, 0),
    _square(3, 2, 7, 6, 5, 3, 2, 1),  # odd and even rows, one left over by the stride
    _square(2, 5, 8, 9, 17, 1, 2, 0),  # one lane past a vector, pixels skipped
    _square(9, 16, 5, 5, 33, 5, 1, 0),  # one position an image, images that do not fill a tile
    _square(2, 1, 3, 4, 2, 5, 1, 2),  # kernel larger than the image
    _square(1, 7, 4, 4, 3, 2, 3, 2),  # whole windows of padding
    _square(19, 20, 1, 1, 12, 1, 1, 0),
    Case(2, 3, (6, 7), 4, (1, 3), Geometry((1, 2), (0, 2), (1, 2))),  # rectangles of every kind
    Case(2, 2, (9, 6), 3, (3, 2), Geometry((2, 1), (3, 1), (3, 1))),
    Case(2, 6, (5, 5), 4, (3, 3), Geometry(padding=(1, 1), groups=2)),
    Case(3, 19, (6, 5), 19, (3, 3), Geometry((2, 1), (1, 1), groups=19)),  # depthwise
    Case(2, 5, (4, 4), 15, (2, 2), Geometry(groups=5)),  # depthwise, three outputs each
    Case(2, 34, (4, 5), 51, (2, 1), Geometry(dilation=(2, 1), groups=17)),
]


def random_case(random: np.random.Generator) -> Case:
    """Return any combination of sizes, steps, borders, spreads and groups."""

    def two(low, high):
        return tuple(int(n) for n in random.integers(low, high, 2))

    groups = int(random.choice([1, 1, 2, 3, 16, 33]))
    most = (20, 40) if groups == 1 else (5, 5)
    channels, outputs = (groups * int(n) for n in random.integers(1, most))
    kernel, stride, padding, dilation = two(1, 5), two(1, 4), two(0, 4), two(1, 4)
    size = tuple(
        max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a] + int(random.integers(0, 6)))
        for a in (0, 1)
    )
    geometry = Geometry(stride, padding, dilation, groups)
    return Case(int(random.integers(1, 10)), channels, size, outputs, kernel, geometry)


def operands(case: Case, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return input, weight and upstream gradient: quarters, so that every float sum is exact."""
    generator = torch.Generator().manual_seed(case.channels + case.outputs)

    def draw(*size):
        return (torch.randint(-12, 13, size, generator=generator) / 4).to(dtype)

    x = draw(case.images, case.channels, *case.size)
    weight = draw(case.outputs, case.channels // case.geometry.groups, *case.kernel)
    return x, weight, draw(*case.geometry.out_shape(x, weight))


def kernel_of(name: str) -> ModuleType:
    """Return a kernel's module; skip where it cannot be had."""
    if name == "plain":
        return plain
    if compiled.status() != "compiled":
        pytest.skip(f"compiled kernel: {compiled.status()}")
    return compiled
