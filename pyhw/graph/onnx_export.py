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

from pyhw.hdl.formats import Format, terms_value

from .infer import formats, pad_values, shapes
from .ops import Concat, Conv, Graph, Input, Permute, Pool
from .post import Post, Step
from .verify import verify
from .windows import output_blocks, window_index

__all__ = ["onnx_model", "save_onnx"]

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
    builder = _Builder(verify(graph))
    size = shapes(graph)
    names = [op.name for op in graph.ops[1:]] if layers else [graph.output]
    image = helper.make_tensor_value_info(
        graph.input.name,
        TensorProto.INT8 if graph.input.fmt.signed else TensorProto.UINT8,
        ["N", *graph.input.shape],
    )
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["N", *size[name]]) for name in names
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


class _Builder:
    """Nodes and constants of the model; inner tensors are named ``<value>/<number>``."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes, self.formats = shapes(graph), formats(graph)
        # The input's name is taken by the images in their own type.
        self.tensors: dict[str, str] = {}
        for op in graph.ops:
            self.value = op.name
            if isinstance(op, Input):
                result = self.node("Cast", [op.name], to=TensorProto.INT64)
            elif isinstance(op, Concat):
                result = self.node("Concat", [self.tensors[n] for n in op.inputs], axis=3)
            elif isinstance(op, Permute):
                result = self.permute(op)
            else:
                acc = self.tensors[op.input]
                if isinstance(op, Conv):
                    acc = self.conv(op)
                elif isinstance(op, Pool):
                    acc = self.pool(op)
                result = self.post(op.post, acc)
            self.tensors[op.name] = result
            if not isinstance(op, Input):
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

    def permute(self, op: Permute) -> str:
        """Rearrange positions."""
        height, width, channels = self.shapes[op.name]
        tokens = self.reshape(self.tensors[op.input], height * width, channels)
        found = self.node("Gather", [tokens, self.constant(op.index)], axis=1)
        return self.reshape(found, height, width, channels)

    def windows(self, op: Conv | Pool, fmt: Format) -> tuple[str, int, int]:
        """Unfold to (N, P * T, C); return the tensor, P and T."""
        height, width, channels = self.shapes[op.input]
        index = window_index(op, (height, width, channels))
        tokens = self.reshape(self.tensors[op.input], height * width, channels)
        if (index == height * width).any():
            # One more position, 0 so far, to which its pad value is added.
            tokens = self.node("Pad", [tokens, self.constant([0, 0, 0, 0, 1, 0])])
            border = np.zeros((1, height * width + 1, channels), np.int64)
            border[0, -1] = pad_values(op, channels, fmt)
            tokens = self.node("Add", [tokens, self.constant(border)])
        taps = self.node("Gather", [tokens, self.constant(index.reshape(-1))], axis=1)
        return taps, *index.shape

    def conv(self, op: Conv) -> str:
        """Accumulators of a convolution."""
        taps, positions, count = self.windows(op, self.formats[op.input])
        in_group, groups = op.weight_shape[3], op.groups
        parts = self.reshape(taps, positions, count, groups, in_group)
        parts = self.node("Transpose", [parts], perm=[0, 1, 3, 2, 4])
        weight = op.weight_values.reshape(groups, op.out_channels // groups, count * in_group)
        if op.term == "shift":
            x = self.reshape(parts, positions, groups, 1, count * in_group)
            # (N, P, G, 1, K) x (G, K, O / G)
            sums = self.node("MatMul", [x, self.constant(weight.transpose(0, 2, 1))])
        else:
            x = self.reshape(parts, positions, groups, 1, count * in_group)
            x = self.node("Mul", [x, self.constant(-1 << op.ex)])
            x = self.node("Cast", [x], to=TensorProto.INT32)
            # |-(x << ex) + (w << ew)| over (N, P, G, o, K)
            blocks = []
            for block in output_blocks(op, positions):
                near = self.node("Add", [x, self.constant(weight[:, block], np.int32)])
                near = self.node("Abs", [near])
                blocks.append(self.node("ReduceSum", [near, self.constant([-1])], keepdims=0))
            sums = self.node("Concat", blocks, axis=3)
            sums = self.node("Neg", [self.node("Cast", [sums], to=TensorProto.INT64)])
        return self.reshape(sums, *self.shapes[op.name])

    def pool(self, op: Pool) -> str:
        """Sums or maxima over windows."""
        taps, positions, count = self.windows(op, self.formats[op.input])
        parts = self.reshape(taps, positions, count, self.shapes[op.input][2])
        if op.kind == "max":
            made = self.node("ReduceMax", [parts], axes=[2], keepdims=0)
        else:
            made = self.node("ReduceSum", [parts, self.constant([2])], keepdims=0)
        return self.reshape(made, *self.shapes[op.name])

    def post(self, post: Post, acc: str) -> str:
        """First step, table, second step."""
        value = self.step(post.first, acc, post.residual)
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
        total = self.node("Mul", [self.double(value), self.constant(terms_value(step.m), float)])
        total = self.node("Add", [total, self.constant(step.bias + scale // 2, float)])
        if residual is not None:
            r = self.constant(terms_value(step.r), float)
            added = self.node("Mul", [self.double(self.tensors[residual]), r])
            total = self.node("Add", [total, added])
        total = self.node("Mul", [total, self.constant(1.0 / scale, float)])
        limits = [self.constant(step.fmt.min, float), self.constant(step.fmt.max, float)]
        total = self.node("Clip", [self.node("Floor", [total]), *limits])
        return self.node("Cast", [total], to=TensorProto.INT64)

    def double(self, tensor: str) -> str:
        """Cast to double."""
        return self.node("Cast", [tensor], to=TensorProto.DOUBLE)
