"""The integer graph as an ONNX model of standard operators that ONNX Runtime runs bit for bit.

Windows are gathered and terms are summed in integers. A right shift is a floor in double
precision, exact because every number stays below 2**53 (ONNX's integer ``Div`` truncates and its
``BitShift`` is unsigned).
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pyhw.hdl.formats import terms_value

from .infer import types
from .ops import Graph, Windowed
from .post import Post, Step
from .verify import verify
from .windows import window_index

__all__ = ["OnnxBuilder", "onnx_model", "save_onnx"]

OPSET = 17
"""Operator set of the exported model."""
IR_VERSION = 8
"""ONNX file version that goes with it."""


def onnx_model(graph: Graph, *, layers: bool = False) -> onnx.ModelProto:
    """Return a graph as an ONNX model.

    The input takes uint8 or int8 images (N, H, W, C), N free, by the input's name; outputs are
    int64 (N, H', W', C') by their values' names.

    Parameters
    ----------
    graph : Graph
        A graph that keeps the rules.
    layers : bool
        Whether every value is an output, in order, rather than the last one alone.

    Raises
    ------
    ValueError
        If the graph breaks a rule.
    """
    builder = OnnxBuilder(verify(graph))
    names = [op.name for op in graph.ops[1:]] if layers else [graph.output]
    image = helper.make_tensor_value_info(
        graph.input.name,
        TensorProto.INT8 if graph.input.fmt.signed else TensorProto.UINT8,
        ["N", *graph.input.shape],
    )
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["N", *builder.types[name].shape])
        for name in names
    ]
    body = helper.make_graph(builder.nodes, graph.name, [image], outputs, builder.constants)
    model = helper.make_model(
        body, producer_name="pyhw", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def save_onnx(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph as an ``.onnx`` file."""
    onnx.save_model(onnx_model(graph), os.fspath(path))


class OnnxBuilder:
    """Nodes and constants of the model; inner tensors are named ``<value>/<number>``."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.types = types(graph)
        # The input's name is taken by the images in their own type.
        self.tensors: dict[str, str] = {}
        for op in graph.ops:
            self.value = op.name
            read = [self.tensors[name] for name in op.operands] or [graph.input.name]
            result = op.onnx_nodes(self, *read)
            for post in op.posts:
                result = self.post(post, result)
            self.tensors[op.name] = result
            if op.operands or op.constant:
                self.nodes.append(helper.make_node("Identity", [result], [op.name]))

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        name = f"{self.value}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Any, dtype: type = np.int64) -> str:
        """Add a constant; return its name."""
        name = f"{self.value}/constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def reshape(self, tensor: str, *shape: int) -> str:
        """Reshape to (N, *shape)."""
        return self.node("Reshape", [tensor, self.constant([0, *shape])])

    def cast(self, tensor: str, kind: str) -> str:
        """Cast to a type of ONNX by its name: INT32, INT64, DOUBLE."""
        return self.node("Cast", [tensor], to=TensorProto.DataType.Value(kind))

    def windows(self, op: Windowed, tensor: str) -> tuple[str, int, int]:
        """Unfold a map to (N, P * T, C); return the tensor, P and T."""
        height, width, channels = self.types[op.input].shape
        index = window_index(op, (height, width, channels))
        tokens = self.reshape(tensor, height * width, channels)
        if (index == height * width).any():
            # One more position, 0 so far, to which its pad value is added.
            tokens = self.node("Pad", [tokens, self.constant([0, 0, 0, 0, 1, 0])])
            border = np.zeros((1, height * width + 1, channels), np.int64)
            border[0, -1] = op.border_values(channels, self.types[op.input].fmt)
            tokens = self.node("Add", [tokens, self.constant(border)])
        taps = self.node("Gather", [tokens, self.constant(index.reshape(-1))], axis=1)
        return taps, *index.shape

    def post(self, post: Post, acc: str) -> str:
        """First step, table, second step."""
        if post.token is None:
            value = self.step(post.first, acc, post.residual)
        else:
            value = self.token_step(post.first, acc, post.token)
        if post.table is not None:
            index = self.node("Mod", [value, self.constant(256)])  # u & 0xff, for negative u too
            value = self.node("Gather", [self.constant(post.table), index], axis=0)
        if post.second is not None:
            value = self.step(post.second, value, post.residual2)
        return value

    def step(self, step: Step, value: str, residual: str | None) -> str:
        """Scale, add, round and clamp."""
        # In double precision, exactly: accumulators have 32 bits, m at most 4 terms of 2**16 and
        # residuals 16 bits, so every number is an integer below 2**51 until it is scaled by a
        # power of two. (In int64, ONNX Runtime's Clip, Min and Max go wrong beyond 32 bits.)
        scale = np.int64(1) << step.shift.astype(np.int64)
        m = self.constant(terms_value(step.m), float)
        total = self.node("Mul", [self.cast(value, "DOUBLE"), m])
        total = self.node("Add", [total, self.constant(step.bias + scale // 2, float)])
        if residual is not None:
            r = self.constant(terms_value(step.r), float)
            added = self.node("Mul", [self.cast(self.tensors[residual], "DOUBLE"), r])
            total = self.node("Add", [total, added])
        total = self.node("Mul", [total, self.constant(1.0 / scale, float)])
        limits = [self.constant(step.fmt.min, float), self.constant(step.fmt.max, float)]
        total = self.node("Clip", [self.node("Floor", [total]), *limits])
        return self.cast(total, "INT64")

    def token_step(self, step: Step, value: str, token: str) -> str:
        """Scale, add, round and clamp with m, B and S of each token and head; as `step`."""
        known, (height, width, channels) = self.types[token].records, self.types[self.value].shape
        assert known is not None
        heads = known.heads
        records = self.reshape(self.tensors[token], height * width, heads, known.FIELDS)
        m, bias, shift = (
            self.node("Slice", [records, *(self.constant([v]) for v in (low, low + 1, 3))])
            for low in range(known.FIELDS)
        )  # each (N, P, heads, 1)
        powers = 2.0 ** np.arange(known.shift + 1)
        unit, scale = (
            self.node("Gather", [self.constant(table, float), shift], axis=0)
            for table in (np.floor(powers / 2), 1 / powers)
        )
        blocks = self.reshape(value, height * width, heads, channels // heads)
        total = self.node("Mul", [self.cast(blocks, "DOUBLE"), self.cast(m, "DOUBLE")])
        total = self.node("Add", [total, self.cast(bias, "DOUBLE")])
        total = self.node("Add", [total, unit])
        total = self.node("Floor", [self.node("Mul", [total, scale])])
        limits = [self.constant(step.fmt.min, float), self.constant(step.fmt.max, float)]
        made = self.cast(self.node("Clip", [total, *limits]), "INT64")
        return self.reshape(made, height, width, channels)
