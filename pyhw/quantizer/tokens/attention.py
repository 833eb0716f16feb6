"""Softmax attention: scores in octaves, weights in base 2, the weighted sum."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pyhw.graph.ops import MatMul, Operation, Pointwise, Stats
from pyhw.graph.post import Post, Step, token_step
from pyhw.graph.terms import coded_term, distance_term
from pyhw.hdl.formats import Format, terms_value
from pyhw.hdl.signed_digits import nearest_terms

from ..affine import Line, affine_step
from ..layer import Made
from ..operation import Value
from ..report import report_of
from ..stage import Stage
from ..steps import applied
from ..token_kinds import Chain, Context, TokenKind, token_kind

__all__ = ["Scores", "Softmax", "Weighing", "exponential", "heads_of", "one_step", "together"]

S8, U8 = Format(8, True), Format(8)
WIDE = Format(16, True)
MOST_PLACES = 4
"""Steps of an octave are at most 2**4: a signed byte then spans the 8 octaves of a weight."""
LEAST_PLACES = 3
"""Coarser scores than this take 16 bits: an error of half a step changes a weight by 9 %."""
BEYOND = 1e-4
"""Share of scores that may be clamped."""
CODE_WIDTH = 5
VALUE_DIGITS = 4
"""Digits that write every signed byte."""


def heads_of(x: np.ndarray, slices: int, heads: int) -> np.ndarray:
    """Return (N, slices, heads, tokens, channels) of a map (N, H, W, C)."""
    return x.reshape(len(x), slices, -1, heads, x.shape[3] // heads).transpose(0, 1, 3, 2, 4)


def together(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the map (N, H, W, heads * channels) of parts as `heads_of` makes them."""
    return x.transpose(0, 1, 3, 2, 4).reshape(len(x), height, width, -1)


@token_kind
class Scores(TokenKind):
    """``scale * q k^T`` in a slice and head; `options` hold `heads`, `slices`, `scale`.

    With `distances` they are ``-scale * sum |q - k|``.
    """

    name = "scores"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Multiply, or sum distances."""
        q, k = (heads_of(x, stage.options["slices"], stage.options["heads"]) for x in reads)
        if stage.options.get("distances"):
            made = np.zeros((*q.shape[:-1], k.shape[-2]))
            for c in range(q.shape[-1]):
                made -= np.abs(q[..., :, None, c] - k[..., None, :, c])
        else:
            made = np.matmul(q, k.swapaxes(-1, -2))
        return together(stage.options["scale"] * made, *reads[0].shape[1:3])

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Let one octave be 2^F steps: a byte where it spans the scores, else 16 bits."""
        distances = bool(stage.options.get("distances"))
        q, k = (context.values[path] for path in stage.sources)
        before: tuple[Operation, ...] = ()
        if distances:
            q, k, before = _on_one_grid(q, k, context)
        real = context.reals[stage.path]
        octaves = np.abs(real.z) * np.log2(np.e)
        reach = float(np.quantile(octaves, 1 - BEYOND))
        fits = [places for places in range(MOST_PLACES, LEAST_PLACES - 1, -1)
                if reach * 2**places <= S8.max]  # fmt: skip
        places, fmt = (fits[0], S8) if fits else (MOST_PLACES, WIDE)
        scale = np.log(2) / 2**places

        def product(post: Post) -> MatMul:
            return MatMul(name=context.name, a=q.name, b=k.name, form="nt", post=post,
                          heads=stage.options["heads"], slices=stage.options["slices"],
                          term=distance_term() if distances else coded_term(),
                          digits=1 if distances else VALUE_DIGITS,
                          code_width=None if distances else CODE_WIDTH)  # fmt: skip

        # Their differences count, so that nothing may move some of them.
        slope = stage.options["scale"] * q.scale * (1.0 if distances else k.scale) / scale
        op, x, beyond = one_step(stage, context, product, (q, k), fmt, slope)
        value = Value(context.name, fmt, scale, x)
        return Made(op, value, report_of(stage, value, real, None, 0, beyond), before)


def one_step(
    stage: Stage, context: Context, product: Callable[[Post], MatMul],
    operands: tuple[Value, Value], fmt: Format, slope: float, mean: float | None = None,
) -> tuple[MatMul, np.ndarray, float]:  # fmt: skip
    """Fit one line for all values of a product.

    Parameters
    ----------
    stage, context
        As of `TokenKind.quantise`.
    product : callable
        Makes the operation with a post-processing.
    operands : (Value, Value)
    fmt : Format
        Of the result.
    slope : float
        Steps of the result for each of the accumulators.
    mean : float, optional
        What the mean accumulator is to become, in steps; without it 0 becomes 0.

    Returns
    -------
    operation : MatMul
    values : int64 array (N, H, W, C)
    beyond : float
        Share of values that were clamped.
    """
    known = Chain(operands).known
    acc = product(Post(token_step(stage.channels, fmt))).compute(
        tuple(value.x for value in operands), tuple(known[value.name] for value in operands))
    spread = float(acc.std()) or 1.0
    line = (Line(slope, 0.0, spread, 0.0) if mean is None
            else Line(slope, float(acc.mean()), spread, mean))  # fmt: skip
    step = affine_step([line], fmt, stage.path, allowed=context.settings.multipliers)
    step = widened(step, stage.channels)
    values, beyond = applied(step, acc, None)
    return product(Post(step)), values, beyond


def _on_one_grid(
    q: Value, k: Value, context: Context
) -> tuple[Value, Value, tuple[Operation, ...]]:
    """Return queries and keys with the coarser of both steps, and the operation that rounds."""
    common = max(q.scale, k.scale)
    made, ops = [], []
    for letter, value in (("q", q), ("k", k)):
        if value.scale == common:
            made.append(value)
            continue
        line = Line(value.scale / common, 0.0, float(value.x.std()) or 1.0, 0.0)
        step = affine_step([line], value.fmt, context.name, allowed=context.settings.multipliers)
        op = Pointwise(name=context.part(letter), input=value.name,
                       post=Post(widened(step, value.x.shape[3])))  # fmt: skip
        made.append(Value(op.name, value.fmt, common, Chain((value,)).add(op)))
        ops.append(op)
    return made[0], made[1], tuple(ops)


def widened(step: Step, channels: int) -> Step:
    """Return a step of one channel for many."""

    def many(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, channels, axis=-1)

    return replace(step, m_sign=many(step.m_sign), m_exponent=many(step.m_exponent),
                   bias=many(step.bias), shift=many(step.shift))  # fmt: skip


@token_kind
class Softmax(TokenKind):
    """Weights of the keys; the integer value lacks the division by its sum.

    `options` hold `heads`, and of a log2 softmax `octaves`.
    """

    name = "softmax"
    signed = False

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Normalise exponentials of each head, rounded to powers of two where there are octaves."""
        parts = reads[0].reshape(*reads[0].shape[:3], stage.options["heads"], -1)
        if (octaves := stage.options.get("octaves")) is not None:
            steps = parts * np.log2(np.e)
            steps = np.rint(steps - np.ceil(steps.max(axis=4, keepdims=True)))
            e = np.where(steps > -octaves, 2.0**steps, 0.0)
        else:
            e = np.exp(parts - parts.max(axis=4, keepdims=True))
        return (e / e.sum(axis=4, keepdims=True)).reshape(reads[0].shape)

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Take the maximum off and look exponentials up."""
        read, heads = context.values[stage.source], stage.options["heads"]
        places = round(np.log2(np.log(2) / read.scale))
        top = Stats(name=context.part("max"), input=read.name, kind="max", heads=heads,
                    terms=1, fraction=places)  # fmt: skip
        octaves = stage.options.get("octaves")
        if octaves is None:
            table = exponential(places, context.settings.softmax_digits)
        else:
            table = powers(places, octaves)
        point = Pointwise(name=context.name, input=read.name, post=Post(
            token_step(stage.channels, S8), table=table, table_format=U8, token=top.name))
        chain = Chain((read,))
        chain.add(top)
        value = Value(context.name, U8, 1.0, chain.add(point))
        parts = value.x.reshape(*value.x.shape[:3], heads, -1)
        shares = (parts / parts.sum(axis=4, keepdims=True)).reshape(value.x.shape)
        shown = Value(context.name, U8, 1.0, shares)
        report = report_of(stage, shown, context.reals[stage.path], None, 0, 0.0)
        return Made(point, value, report, (top,))


@token_kind
class Weighing(TokenKind):
    """The sum of values by weights; `options` hold `heads`, `slices`."""

    name = "weighing"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Multiply."""
        w, v = (heads_of(x, stage.options["slices"], stage.options["heads"]) for x in reads)
        return together(np.matmul(w, v), *reads[0].shape[1:3])

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Divide by the sums of the weights after the product, with as many places as fit."""
        w, v = (context.values[path] for path in stage.sources)
        real, heads = context.reals[stage.path], stage.options["heads"]
        fmt = Format(context.settings.bits, True)
        largest = float(np.abs(real.z).max()) or 1.0
        fits = [places for places in range(5) if largest * 2**places <= v.scale * fmt.max]
        places = fits[-1] if fits else 0
        total = Stats(name=context.part("sum"), input=w.name, kind="sum", heads=heads,
                      terms=context.settings.token_terms, fraction=places)  # fmt: skip
        op = MatMul(name=context.name, a=w.name, b=v.name, form="nn", heads=heads,
                    slices=stage.options["slices"], coded="a", code_width=CODE_WIDTH,
                    digits=stage.options.get("digits", context.settings.softmax_digits),
                    post=Post(token_step(stage.channels, fmt), token=total.name))  # fmt: skip
        chain = Chain((w, v))
        chain.add(total)
        value = Value(context.name, fmt, v.scale / 2**places, chain.add(op))
        return Made(op, value, report_of(stage, value, real, None, 0, 0.0), (total,))


def powers(places: int, octaves: int) -> np.ndarray:
    """Return ``128 * 2**round(t / 2**places)``, 0 from so many octaves down; as `exponential`."""
    table = np.zeros(256, np.int64)
    for t in range(S8.min + 1, 1):
        step = round(t / (1 << places))  # halves to even, as PyTorch rounds
        if step > -min(octaves, 8):
            table[t & 0xFF] = 128 >> -step
    return table


def exponential(places: int, digits: int) -> np.ndarray:
    """Return bytes near ``255 * 2**(t / 2**places)`` of signed bytes t up to 0, int64 (256,).

    Each of at most so many digits; with one, near ``128 * 2**(t / 2**places)``.
    """
    top = U8.max if digits > 1 else 128
    table = np.zeros(256, np.int64)
    for t in range(S8.min + 1, 1):
        terms = nearest_terms(top * 2.0 ** (t / (1 << places)), digits, 8)
        table[t & 0xFF] = terms_value(terms)
    return table  # t = -128 stands for all that lies further off: 0
