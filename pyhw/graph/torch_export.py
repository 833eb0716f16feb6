"""The integer graph as a torch module with integer buffers: the quantised torch export.

It gives the golden executor's integers by another way: windows are gathered by index tables,
multipliers are multiplied. ``.pt2`` files are written for other tools and never read here.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyhw.hdl.formats import Format, terms_value

from .infer import formats, pad_values, shapes
from .ops import Concat, Conv, Graph, Input, Permute, Pool
from .post import Post, Step
from .verify import verify
from .windows import output_blocks, window_index

__all__ = ["IntegerModule", "export_torch", "save_torch"]


class IntegerModule(nn.Module):
    """A graph as a torch module.

    Maps integer images (N, H, W, C) to the int64 output (N, H', W', C') of
    `pyhw.graph.execute.run`, value for value. All state is integer buffers.

    Parameters
    ----------
    graph : Graph
        A graph that keeps the rules.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = verify(graph)
        size, types = shapes(graph), formats(graph)
        self.steps = nn.ModuleList()
        for op in graph.ops:
            if isinstance(op, (Input, Concat)):
                step: nn.Module = nn.Identity()
            elif isinstance(op, Permute):
                step = _Index(op.index)
            elif isinstance(op, (Conv, Pool)):
                windows = _Windows(op, size[op.input], types[op.input])
                step = nn.Sequential(windows, _reduction(op), _Unflatten(size[op.name]))
            else:
                step = nn.Identity()
            self.steps.append(step)
        self.posts = nn.ModuleList(
            _Post(op.post) if hasattr(op, "post") else nn.Identity() for op in graph.ops
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the graph's output."""
        return self.layers(images)[self.graph.output]

    def layers(self, images: Tensor) -> dict[str, Tensor]:
        """Return every value by name, as `pyhw.graph.execute.run_layers`."""
        values: dict[str, Tensor] = {}
        for op, step, post in zip(self.graph.ops, self.steps, self.posts):
            if isinstance(op, Input):
                value = images.to(torch.int64)
            elif isinstance(op, Concat):
                value = torch.cat([values[name] for name in op.inputs], dim=3)
            else:
                value = step(values[op.input])
            if isinstance(post, _Post):
                first, second = (
                    None if name is None else values[name]
                    for name in (post.residual, post.residual2)
                )
                value = post(value, first, second)
            values[op.name] = value
        return values


def export_torch(graph: Graph) -> torch.export.ExportedProgram:
    """Return the exported program of a graph, with a batch of any size.

    Raises
    ------
    ValueError
        If the graph breaks a rule.
    """
    module = IntegerModule(graph).eval()
    example = torch.zeros(2, *graph.input.shape, dtype=torch.int64)
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))


def save_torch(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph as a ``.pt2`` file for `torch.export.load` in other tools."""
    torch.export.save(export_torch(graph), path)


def _buffer(array: Any, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.from_numpy(np.array(array, np.int64, order="C")).to(dtype)


class _Index(nn.Module):
    """Rearranges positions."""

    index: Tensor

    def __init__(self, index: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("index", _buffer(index))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)  # (N, H * W, C)
        return tokens.index_select(1, self.index).reshape(x.shape)


class _Windows(nn.Module):
    """Unfolds a map: (N, H, W, C) to (N, P, KH * KW, C), border included."""

    index: Tensor
    pad: Tensor

    def __init__(self, op: Conv | Pool, shape: tuple[int, int, int], fmt: Format) -> None:
        super().__init__()
        index = window_index(op, shape)
        self.positions, self.taps = index.shape
        self.register_buffer("index", _buffer(index.reshape(-1)))
        self.register_buffer("pad", _buffer(pad_values(op, shape[2], fmt)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)  # (N, H * W, C)
        border = self.pad.expand(x.shape[0], 1, -1)
        taps = torch.cat([tokens, border], dim=1).index_select(1, self.index)
        return taps.unflatten(1, (self.positions, self.taps))


class _Unflatten(nn.Module):
    """Turns (N, P, ...) into (N, H', W', C')."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.shape)


class _L1(nn.Module):
    """Sums of ``-|(x << ex) - (w << ew)|`` over windows, in blocks of output channels."""

    weight: Tensor

    def __init__(self, op: Conv) -> None:
        super().__init__()
        self.groups, self.ex = op.groups, op.ex
        weight = op.weight_values.reshape(op.groups, op.out_channels // op.groups, -1)
        self.register_buffer("weight", _buffer(weight, torch.int32))  # (G, O / G, KH * KW * c)
        self.op = op

    def forward(self, windows: Tensor) -> Tensor:
        x = _by_group(windows, self.groups).to(torch.int32) << self.ex  # (N, P, G, K)
        sums = [
            (x[:, :, :, None] - self.weight[:, block]).abs().sum(-1, dtype=torch.int64)
            for block in output_blocks(self.op, windows.shape[1])
        ]  # each (N, P, G, o)
        return -torch.cat(sums, dim=3)


class _Shift(nn.Module):
    """Sums of shifted activations over windows, as integer matrix products."""

    weight: Tensor

    def __init__(self, op: Conv) -> None:
        super().__init__()
        self.groups = op.groups
        weight = op.weight_values.reshape(op.groups, op.out_channels // op.groups, -1)
        self.register_buffer("weight", _buffer(weight.transpose(0, 2, 1)))  # (G, K, O / G)

    def forward(self, windows: Tensor) -> Tensor:
        x = _by_group(windows, self.groups).transpose(1, 2)  # (N, G, P, K)
        return torch.matmul(x, self.weight).transpose(1, 2)  # (N, P, G, O / G)


def _reduction(op: Conv | Pool) -> nn.Module:
    """Module that sums terms over windows."""
    if isinstance(op, Pool):
        return _Pool(op)
    return _L1(op) if op.term == "l1" else _Shift(op)


def _by_group(windows: Tensor, groups: int) -> Tensor:
    """(N, P, KH * KW, C) to (N, P, G, KH * KW * C / G)."""
    return windows.unflatten(3, (groups, -1)).transpose(2, 3).flatten(3, 4)


class _Pool(nn.Module):
    """Sum or maximum over windows."""

    def __init__(self, op: Pool) -> None:
        super().__init__()
        self.maximum = op.kind == "max"

    def forward(self, windows: Tensor) -> Tensor:
        return windows.amax(2) if self.maximum else windows.sum(2)


class _Step(nn.Module):
    """Scale, add, round and clamp, with multiplications in place of the terms."""

    m: Tensor
    r: Tensor
    offset: Tensor
    shift: Tensor

    def __init__(self, step: Step) -> None:
        super().__init__()
        shift = step.shift.astype(np.int64)
        self.register_buffer("m", _buffer(terms_value(step.m)))
        self.register_buffer("r", _buffer(terms_value(step.r) if step.r else 0))
        self.register_buffer("offset", _buffer(step.bias + (1 << shift) // 2))
        self.register_buffer("shift", _buffer(shift))
        self.low, self.high = step.fmt.min, step.fmt.max

    def forward(self, value: Tensor, residual: Tensor | None) -> Tensor:
        total = value * self.m + self.offset
        if residual is not None:
            total = total + residual * self.r
        return torch.bitwise_right_shift(total, self.shift).clamp(self.low, self.high)


class _Post(nn.Module):
    """First step, table, second step."""

    table: Tensor | None

    def __init__(self, post: Post) -> None:
        super().__init__()
        self.residual, self.residual2 = post.residual, post.residual2
        self.first = _Step(post.first)
        self.register_buffer("table", None if post.table is None else _buffer(post.table))
        self.second = None if post.second is None else _Step(post.second)

    def forward(self, acc: Tensor, residual: Tensor | None, residual2: Tensor | None) -> Tensor:
        value = self.first(acc, residual)
        if self.table is not None:
            value = self.table[torch.bitwise_and(value, 255)]
        if self.second is not None:
            value = self.second(value, residual2)
        return value
