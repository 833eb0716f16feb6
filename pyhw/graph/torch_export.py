"""The integer graph as a torch module with integer buffers: the quantised torch export.

It gives the golden executor's integers by another way: windows are gathered by index tables,
multipliers are multiplied. Each operation says how in its module (`torch_forward`).
``.pt2`` files are written for other tools and never read here.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyhw.hdl.formats import terms_value

from .infer import operand_types, types
from .ops import Graph, MapType, Operation
from .ops.base import RecordType
from .post import Post, Step
from .verify import verify

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
        known = types(graph)
        self.steps = nn.ModuleList(_Operation(op, operand_types(op, known)) for op in graph.ops)
        self.posts = nn.ModuleList(
            nn.ModuleList(_Post(post) for post in op.posts) for op in graph.ops
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the graph's output."""
        return self.layers(images)[self.graph.output]

    def layers(self, images: Tensor) -> dict[str, Tensor]:
        """Return every value by name, as `pyhw.graph.execute.run_layers`."""
        values: dict[str, Tensor] = {}
        for op, step, post in zip(self.graph.ops, self.steps, self.posts):
            value = step(*(values[name] for name in op.operands) if op.operands else (images,))
            for one in post:  # type: ignore[attr-defined]
                first, second = (
                    None if name is None else values[name]
                    for name in (one.residual, one.residual2)
                )
                token = None if one.token is None else values[one.token]
                value = one(value, first, second, token)
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


def _buffer(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.int64, order="C"))


class _Operation(nn.Module):
    """An operation with its arrays as buffers, before its post-processing."""

    def __init__(self, op: Operation, operands: tuple[MapType, ...]) -> None:
        super().__init__()
        self.op = op
        for name, array in op.torch_buffers(*operands).items():
            self.register_buffer(name, torch.from_numpy(np.array(array, order="C")))

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.op.torch_forward(tensors, dict(self.named_buffers()))


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
        self.residual, self.residual2, self.token = post.residual, post.residual2, post.token
        self.first = _Step(post.first)
        self.register_buffer("table", None if post.table is None else _buffer(post.table))
        self.second = None if post.second is None else _Step(post.second)

    def forward(
        self, acc: Tensor, residual: Tensor | None, residual2: Tensor | None, token: Tensor | None
    ) -> Tensor:
        value = self.first(acc, residual) if token is None else self._by_token(acc, token)
        if self.table is not None:
            value = self.table[torch.bitwise_and(value, 255)]
        if self.second is not None:
            value = self.second(value, residual2)
        return value

    def _by_token(self, acc: Tensor, token: Tensor) -> Tensor:
        """Take the first step with m, B and S of each token and head."""
        heads = token.shape[3] // RecordType.FIELDS
        m, bias, shift = token.flatten(1, 2).unflatten(2, (heads, -1)).unsqueeze(3).unbind(4)
        value = acc.flatten(1, 2).unflatten(2, (heads, -1))  # (N, P, heads, C / heads)
        total = value * m + bias + torch.bitwise_left_shift(torch.ones_like(shift), shift) // 2
        made = torch.bitwise_right_shift(total, shift).clamp(self.first.low, self.first.high)
        return made.reshape(acc.shape)
