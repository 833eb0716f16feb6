"""The contract of ``docs/numerics.md`` as plain loops over Python integers.

Shares nothing with the executor or with `pyhw.hdl.formats`: an independent reading of the formulas.
"""

import math

from pyhw.graph.ops import Concat, Conv, Input, Permute, Pool


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


def post(record, channel, acc, at, values):
    def residual(name):
        return None if name is None else values[name][(*at, channel)]

    u = step(record.first, channel, acc, residual(record.residual))
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
            else:
                acc = accumulator(op, values, shapes[op.input], formats[op.input], (y, x), c)
                made[y, x, c] = post(op.post, c, acc, (y, x), values)
        values[op.name] = made
    return values
