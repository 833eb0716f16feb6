"""The golden executor: the one meaning of every operation of the integer graph.

Everything else (torch and ONNX exports, simulated hardware, netlist, board) is compared with what
these functions return. Arithmetic comes from `pyhw.hdl.formats`, in numpy. Compiled kernels
(`pyhw.graph.compiled`) take its place where they can, bit for bit, batches side by side.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pyhw.hdl.formats import Format, requantise

from .compiled import Kernels, kernels
from .infer import operand_types, types
from .ops import Graph, MapType, Operation
from .ops.base import RecordType
from .post import Post, Step
from .verify import verify

__all__ = ["accumulators", "check_images", "predict", "run", "run_layers", "split_records",
           "value_of"]  # fmt: skip

Values = dict[str, np.ndarray]
Progress = Callable[[int, int], None]

BATCH = 256
"""Images taken through the whole graph at a time, which bounds memory."""
COMPILED_BATCH = 16
"""The same for a thread that runs compiled kernels: their maps stay in the cache."""
POST_BLOCK = 32768
"""Values post-processed at a time, so that 64-bit temporaries stay in the cache."""


def run(
    graph: Graph,
    images: np.ndarray,
    *,
    batch: int | None = None,
    progress: Progress | None = None,
    compiled: bool = True,
) -> np.ndarray:
    """Return the graph's output for every image.

    Parameters
    ----------
    graph : Graph
        A graph that keeps the rules of `pyhw.graph.verify`.
    images : integer array (N, H, W, C)
        Values in the format of the graph's input.
    batch : int, optional
        Images worked on at a time, from 1; no result depends on it.
    progress : callable, optional
        Called with the images done and the images in all after every batch.
    compiled : bool
        Whether compiled kernels may run, on all cores; no result depends on it.

    Returns
    -------
    int64 array (N, H', W', C')
        Values in the format of the output.

    Raises
    ------
    TypeError
        If the images are not integers.
    ValueError
        If they have another shape or range than the input, or the graph breaks a rule.
    """
    verify(graph)
    check_images(graph, images)
    fast, known = kernels() if compiled else None, types(graph)
    size = batch or (COMPILED_BATCH if fast else BATCH)
    last = {name: op.name for op in graph.ops for name in op.inputs}

    def output(first: int) -> np.ndarray:
        values: Values = {}
        for name, value in _execute(graph, known, images[first : first + size], values, fast):
            values[name] = value
            for read in [n for n in values if last.get(n) == name and n != graph.output]:
                del values[read]
        return values[graph.output]

    results = []
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(threads if fast else 1) as pool:
        for result in pool.map(output, range(0, len(images), size)):
            results.append(result)
            if progress is not None:
                progress(min(len(results) * size, len(images)), len(images))
    return np.concatenate(results)


def run_layers(graph: Graph, images: np.ndarray, *, compiled: bool = True) -> Values:
    """Return every value of the graph, the images included, as `run` does the output."""
    verify(graph)
    check_images(graph, images)
    values: Values = {}
    fast = kernels() if compiled else None
    for name, value in _execute(graph, types(graph), images, values, fast):
        values[name] = value
    return values


def predict(
    graph: Graph, images: np.ndarray, *, batch: int | None = None, progress: Progress | None = None
) -> np.ndarray:
    """Return the index of the greatest output per image, the lowest one of a tie: int64 (N,)."""
    output = run(graph, images, batch=batch, progress=progress)
    return output.reshape(len(output), -1).argmax(axis=1)


def check_images(graph: Graph, images: np.ndarray) -> None:
    """Refuse images that are not what the graph's input declares, in one clear line.

    Raises
    ------
    TypeError
        If they are not an integer array.
    ValueError
        If shape or range is wrong, or there are none.
    """
    shape, fmt = graph.input.shape, graph.input.fmt
    wanted = "x".join(map(str, shape))
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "iu":
        found = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"Images must be an integer array, not {found}")
    if images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(
            f"Images must have shape (N, {', '.join(map(str, shape))}) "
            f"for the {wanted} input of {graph.name!r}, not {images.shape}"
        )
    if not len(images):
        raise ValueError("Images must be at least one, not an empty array")
    low, high = int(images.min()), int(images.max())
    if low < fmt.min or high > fmt.max:
        raise ValueError(
            f"Images must hold values from {fmt.min} to {fmt.max} ({fmt}), not {low} to {high}"
        )


def _execute(
    graph: Graph, known: Mapping[str, MapType], images: np.ndarray, values: Values,
    fast: Kernels | None,
) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
    """Yield each value in order; the caller keeps what is still to be read in `values`."""
    for op in graph.ops:
        yield op.name, value_of(op, values, operand_types(op, known), images, fast)


def value_of(
    op: Operation, values: Values, operands: tuple[MapType, ...], images: np.ndarray,
    fast: Kernels | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the value of one operation, of the values that it reads.

    Parameters
    ----------
    op : Operation
    values : dict of str to int64 array (N, H, W, C)
        At least what it reads.
    operands : MapType
        What is known of its operands.
    images : integer array (N, H, W, C)
        What the input reads, and a constant counts.
    fast : Kernels, optional
        Compiled kernels; numpy without them.

    Returns
    -------
    int64 array (N, H', W', C')
    """
    read = tuple(values[name] for name in op.operands) or (images,)
    value = op.compute_with(fast, read, operands) if fast else op.compute(read, operands)
    for post in op.posts:
        value = _post(post, value, values, fast)
    return value


def accumulators(op: Operation, x: np.ndarray, fmt: Format) -> np.ndarray:
    """Return what an operation of one operand hands to its post-processing.

    Parameters
    ----------
    op : Operation
        One that has a `Post`.
    x : integer array (N, H, W, C)
        Stored values of its operand.
    fmt : Format
        Their format.

    Returns
    -------
    int64 array (N, H', W', C')
    """
    _, height, width, channels = x.shape
    return op.compute((x,), (MapType((height, width, channels), fmt),))


def _post(post: Post, acc: np.ndarray, values: Values, fast: Kernels | None) -> np.ndarray:
    first, second = (
        None if name is None else values[name] for name in (post.residual, post.residual2)
    )
    if fast is not None and post.token is None:
        return fast.post(post, acc, first, second)
    shape = acc.shape

    def flat(value: np.ndarray | None) -> np.ndarray | None:
        return None if value is None else value.reshape(-1, shape[-1])

    acc, first, second = acc.reshape(-1, shape[-1]), flat(first), flat(second)
    out = np.empty(acc.shape, np.int64)
    rows = max(1, POST_BLOCK // shape[-1])
    for low in range(0, len(acc), rows):
        part = slice(low, low + rows)
        if post.token is None:
            y = _step(post.first, acc[part], None if first is None else first[part])
        else:
            y = _token_step(post.first, acc[part], values[post.token], part)
        if post.table is not None:
            y = post.table[y & 0xFF].astype(np.int64)
        if post.second is not None:
            y = _step(post.second, y, None if second is None else second[part])
        out[part] = y
    return out.reshape(shape)


def _step(step: Step, value: np.ndarray, residual: np.ndarray | None) -> np.ndarray:
    shift = step.shift.astype(np.int64)
    if residual is None:
        return requantise(value, step.m, step.bias, shift, step.fmt)
    return requantise(value, step.m, step.bias, shift, step.fmt, residual, step.r)


def _token_step(step: Step, value: np.ndarray, records: np.ndarray, part: slice) -> np.ndarray:
    """Return the first step of some positions, with m, B and S of their tokens and heads."""
    m, bias, shift = np.moveaxis(split_records(records)[part], 2, 0)[..., None]  # (P, heads, 1)
    blocks = value.reshape(len(value), m.shape[1], -1)  # (P, heads, C / heads)
    made = blocks * m
    made += bias + ((np.int64(1) << shift) >> 1)
    made >>= shift
    return np.asarray(step.fmt.clamp(made)).reshape(value.shape)


def split_records(records: np.ndarray) -> np.ndarray:
    """Return a value of records of tokens as (positions, heads, fields)."""
    return records.reshape(-1, records.shape[-1] // RecordType.FIELDS, RecordType.FIELDS)
