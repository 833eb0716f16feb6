"""The adder convolution's loops for GPUs, in Triton; `pyhw.nn.fused` calls them.

Matrix products whose inner operation is another one, with windows found where they lie: nothing is
unfolded, and sums stay in registers. A program makes a tile of positions and outputs (or pixels and
channels); neighbouring threads read neighbouring pixels of a plane, and weights lie with their
outputs (or channels) side by side.
"""

import triton
import triton.language as tl

__all__ = ["forward_kernel", "grad_input_kernel"]


@triton.jit
def forward_kernel(
    x, weight, y, total, height, width, out_height, out_width, channels, outputs,
    stride_y, stride_x, top, left, dilation_y, dilation_x,
    in_group, out_group, kernel_y: tl.constexpr, kernel_x: tl.constexpr,
    positions: tl.constexpr, rows: tl.constexpr,
):  # fmt: skip
    """``y[t, o] = -sum |x[t, r] - w[o, r]|``; weights are (KH, KW, C / groups, O).

    Grid: tiles of `positions` of all images, times groups times tiles of `rows` outputs.
    """
    tiles = tl.cdiv(out_group, rows)
    group = tl.program_id(1) // tiles
    output = (tl.program_id(1) % tiles) * rows + tl.arange(0, rows)
    here = output < out_group
    output += group * out_group
    t = tl.program_id(0) * positions + tl.arange(0, positions)
    there = t < total
    plane = out_height * out_width
    image, place = t // plane, t % plane
    row, column = place // out_width * stride_y - top, place % out_width * stride_x - left
    base = x + (image * channels + group * in_group) * (height * width)
    sums = tl.zeros((positions, rows), tl.float32)
    for ky in range(kernel_y):
        for kx in range(kernel_x):
            iy, ix = row + ky * dilation_y, column + kx * dilation_x
            inside = there & (iy >= 0) & (iy < height) & (ix >= 0) & (ix < width)
            source = base + iy * width + ix
            codes = weight + (ky * kernel_x + kx) * in_group * outputs + output
            for channel in range(in_group):
                values = tl.load(source + channel * (height * width), mask=inside, other=0.0)
                weights = tl.load(codes + channel * outputs, mask=here, other=0.0)
                sums += tl.abs(values[:, None] - weights[None, :])
    target = y + (image * outputs * plane + place)[:, None] + (output * plane)[None, :]
    tl.store(target, -sums, mask=there[:, None] & here[None, :])


@triton.jit
def grad_input_kernel(
    x, weight, gradient, grad_x, total, height, width, out_height, out_width, channels, outputs,
    stride_y, stride_x, top, left, dilation_y, dilation_x,
    in_group, out_group, kernel_y: tl.constexpr, kernel_x: tl.constexpr,
    pixels: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """``gx[p, c] = sum clamp(w - x, -1, 1) g``; weights are (KH, KW, O, C / groups).

    Grid: tiles of `pixels` of all images, times groups times tiles of `columns` channels.
    """
    tiles = tl.cdiv(in_group, columns)
    group = tl.program_id(1) // tiles
    channel = (tl.program_id(1) % tiles) * columns + tl.arange(0, columns)
    here = channel < in_group
    p = tl.program_id(0) * pixels + tl.arange(0, pixels)
    there = p < total
    size, plane = height * width, out_height * out_width
    image, place = p // size, p % size
    row, column = place // width + top, place % width + left
    at = (image * channels + group * in_group) * size + place
    offsets = at[:, None] + (channel * size)[None, :]
    mask = there[:, None] & here[None, :]
    values = tl.load(x + offsets, mask=mask, other=0.0)
    base = gradient + (image * outputs + group * out_group) * plane
    sums = tl.zeros((pixels, columns), tl.float32)
    for ky in range(kernel_y):
        for kx in range(kernel_x):
            # Which position read this pixel with this tap, if any did.
            below, beside = row - ky * dilation_y, column - kx * dilation_x
            oy, ox = below // stride_y, beside // stride_x
            read = there & (below >= 0) & (beside >= 0) & (oy < out_height) & (ox < out_width)
            read = read & (oy * stride_y == below) & (ox * stride_x == beside)
            source = base + oy * out_width + ox
            codes = weight + ((ky * kernel_x + kx) * outputs + group * out_group) * in_group
            for output in range(out_group):
                upstream = tl.load(source + output * plane, mask=read, other=0.0)
                weights = tl.load(codes + output * in_group + channel, mask=here, other=0.0)
                difference = weights[None, :] - values
                # What is no number stays none: comparisons with it are false.
                clipped = tl.where(difference > 1.0, 1.0, difference)
                clipped = tl.where(clipped < -1.0, -1.0, clipped)
                sums += tl.where(read[:, None], clipped * upstream[:, None], 0.0)
    tl.store(grad_x + offsets, sums, mask=mask)
