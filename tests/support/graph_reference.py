"""The contract of ``docs/numerics.md`` as plain loops over Python integers.

Shares nothing with the executor or with `pyhw.hdl.formats`: an independent reading of the formulas.
"""

import math

from pyhw.graph.ops import (
    Concat,
    Constant,
    Conv,
    Experts,
    Input,
    MatMul,
    Permute,
    Pool,
    Route,
    Slice,
    Stats,
    Transpose,
)
from pyhw.hdl.tokens import layer_record, max_record, sum_record


def clamp(value, fmt):
    low = -(2 ** (fmt.width - 1)) if fmt.signed else 0
    high = 2 ** (fmt.width - 1) - 1 if fmt.signed else 2**fmt.width - 1
    return max(low, min(high, value))


def scaled(value, sign, exponent, channel):
    return sum(
        int(sign[t, channel]) * value * 2 ** int(exponent[t, channel]) for t in range(len(sign))
    )


def step(record, channel, value, residual):
    total = scaled(value, record.m_sign, record.m_exponent, channel) + int(record.bias[channel])
    if residual is not None:
        total += scaled(residual, record.r_sign, record.r_exponent, channel)
    # Round half up: floor(total / 2^S + 1/2).
    scale = 2 ** int(record.shift[channel])
    return clamp((2 * total + scale) // (2 * scale), record.fmt)


def by_token(record, channels, channel, acc, at, shape, values, shapes):
    _, width, fields = shapes[record.token]
    position = at[0] * shape[1] + at[1]
    head = channel // (channels // (fields // 3))
    m, bias, shift = (values[record.token][position // width, position % width, 3 * head + i]
                      for i in range(3))
    return clamp((2 * (m * acc + bias) + 2**shift) // (2 * 2**shift), record.first.fmt)


def post(record, channel, acc, at, values, shape=None, shapes=None):
    def residual(name):
        return None if name is None else values[name][(*at, channel)]

    if record.token is None:
        u = step(record.first, channel, acc, residual(record.residual))
    else:
        u = by_token(record, shape[2], channel, acc, at, shape, values, shapes)
    y = u if record.table is None else int(record.table[u % 256])
    if record.second is None:
        return y
    return step(record.second, channel, y, residual(record.residual2))


def read(op, values, shape, fmt, row, column, channel):
    if 0 <= row < shape[0] and 0 <= column < shape[1]:
        return values[op.input][row, column, channel]
    if isinstance(op, Pool) and op.kind == "max":
        return clamp(-math.inf, fmt)
    return 0 if op.pad_value is None else int(op.pad_value[channel])


def accumulator(op, values, shape, fmt, at, channel):
    if isinstance(op, Pool):
        taps = [
            read(
                op,
                values,
                shape,
                fmt,
                at[0] * op.stride[0] + ky - op.padding[0],
                at[1] * op.stride[1] + kx - op.padding[1],
                channel,
            )
            for ky in range(op.kernel[0])
            for kx in range(op.kernel[1])
        ]
        return sum(taps) if op.kind == "sum" else max(taps)
    if not isinstance(op, Conv):
        return values[op.input][(*at, channel)]
    out, kernel_rows, kernel_columns, in_group = op.weight_shape
    first = channel // (out // op.groups) * in_group
    total = 0
    for ky in range(kernel_rows):
        for kx in range(kernel_columns):
            row = at[0] * op.stride[0] + ky * op.dilation[0] - op.padding[0]
            column = at[1] * op.stride[1] + kx * op.dilation[1] - op.padding[1]
            for c in range(in_group):
                x = read(op, values, shape, fmt, row, column, first + c)
                if op.term == "l1":
                    w = int(op.weight[channel, ky, kx, c])
                    total -= abs(x * 2**op.ex - w * 2**op.ew)
                else:
                    for k in range(op.digits):
                        digit = 2 ** int(op.exponent[k, channel, ky, kx, c])
                        total += int(op.sign[k, channel, ky, kx, c]) * x * digit
    return total


def row_of(values, name, shape, position, head, heads):
    """Return the channels of a head at a position."""
    _, width, channels = shape
    size = channels // heads
    y, x = divmod(position, width)
    return [values[name][y, x, c] for c in range(head * size, (head + 1) * size)]


def product(op, values, shapes, at, channel):
    """Return the accumulator of a product of maps: the sums of the table in `MatMul`."""
    (ah, aw, ac), (bh, bw, bc) = shapes[op.a], shapes[op.b]
    tokens_a, tokens_b = ah * aw // op.slices, bh * bw // op.slices
    dim_a, dim_b = ac // op.heads, bc // op.heads

    def a(part, i, head, c):
        return row_of(values, op.a, shapes[op.a], part * tokens_a + i, head, op.heads)[c]

    def b(part, i, head, c):
        return row_of(values, op.b, shapes[op.b], part * tokens_b + i, head, op.heads)[c]

    if op.form == "tn":
        part, row = at
        head, column = divmod(channel, dim_b)
        pairs = [(a(part, i, head, row), b(part, i, head, column)) for i in range(tokens_a)]
    else:
        part, row = divmod(at[0] * aw + at[1], tokens_a)
        if op.form == "nt":
            head, column = divmod(channel, tokens_b)
            pairs = [(a(part, row, head, c), b(part, column, head, c)) for c in range(dim_a)]
        else:
            head, column = divmod(channel, dim_b)
            pairs = [(a(part, row, head, j), b(part, j, head, column)) for j in range(tokens_b)]
    return sum(x * y if op.term == "shift" else -abs(x - y) for x, y in pairs)


def record(op, row):
    """Return m, B and S of a row."""
    made = {
        "layer": lambda: layer_record(row, op.fraction, op.floor, op.terms),
        "l2": lambda: layer_record(row, op.fraction, op.floor, op.terms, centred=False),
        "max": lambda: max_record(row, op.fraction),
        "sum": lambda: sum_record(row, op.fraction, op.floor, op.terms),
    }[op.kind]()
    return made.m, made.bias, made.shift


def token_value(op, values, shapes, at, channel):
    """Return a value of an operation without post-processing that works on tokens."""
    y, x = at
    if isinstance(op, Constant):
        return int(op.values[y, x, channel])
    if isinstance(op, Slice):
        return values[op.input][y + op.start[0], x + op.start[1], channel + op.start[2]]
    if isinstance(op, Experts):
        return values[op.branches[values[op.route][y, x, 0]]][y, x, channel]
    width = shapes[op.input][1]
    if isinstance(op, Transpose):
        return values[op.input][channel // width, channel % width, x]
    position = y * width + x
    if isinstance(op, Route):
        logits = row_of(values, op.input, shapes[op.input], position, 0, 1)
        return logits.index(max(logits))
    head, field = divmod(channel, 3)
    return record(op, row_of(values, op.input, shapes[op.input], position, head, op.heads))[field]


def evaluate(graph, image, shapes, formats):
    """Return every value of one image as a dict of (row, column, channel) -> int, by name."""
    values = {}
    for op in graph.ops:
        height, width, channels = shapes[op.name]
        places = [(y, x, c) for y in range(height) for x in range(width) for c in range(channels)]
        made = {}
        for y, x, c in places:
            if isinstance(op, Input):
                made[y, x, c] = int(image[y, x, c])
            elif isinstance(op, Concat):
                left, source = c, iter(op.inputs)
                name = next(source)
                while left >= shapes[name][2]:
                    left -= shapes[name][2]
                    name = next(source)
                made[y, x, c] = values[name][y, x, left]
            elif isinstance(op, Permute):
                position = int(op.index[y * width + x])
                made[y, x, c] = values[op.input][position // width, position % width, c]
            elif isinstance(op, (Constant, Experts, Route, Slice, Stats, Transpose)):
                made[y, x, c] = token_value(op, values, shapes, (y, x), c)
            else:
                if isinstance(op, MatMul):
                    acc = product(op, values, shapes, (y, x), c)
                else:
                    acc = accumulator(op, values, shapes[op.input], formats[op.input], (y, x), c)
                made[y, x, c] = post(op.post, c, acc, (y, x), values, shapes[op.name], shapes)
        values[op.name] = made
    return values
