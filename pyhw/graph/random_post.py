"""Random post-processing whose multipliers, biases and shifts fit what a layer really computes."""

from dataclasses import dataclass

import numpy as np

from pyhw.hdl.formats import BIAS_WIDTH, MAX_SHIFT, Format, apply_terms, requantise
from pyhw.hdl.signed_digits import nearest_terms

from .post import Post, Step

__all__ = ["PostChoice", "draw_format", "fit_post", "fit_step"]

BIAS_LIMIT = (1 << (BIAS_WIDTH - 1)) - 1


@dataclass(frozen=True, kw_only=True)
class PostChoice:
    """What a random post-processing consists of; see `Post`."""

    fmt: Format
    """Format of the stored value."""
    terms: int = 3
    """Signed powers of two per multiplier."""
    table: bool = False
    """Put a function table after the first step."""
    second: bool = False
    """Add a second step."""
    residual: str | None = None
    """Value added in the first step."""
    residual2: str | None = None
    """Value added in the second step."""


def draw_format(rng: np.random.Generator, widths: tuple[int, ...]) -> Format:
    """Return a random format; half of them have the largest width."""
    width = max(widths) if rng.random() < 0.5 else int(rng.choice(widths))
    return Format(width, bool(rng.integers(2)))


def fit_post(
    rng: np.random.Generator, acc: np.ndarray, choice: PostChoice, values: dict[str, np.ndarray]
) -> Post:
    """Draw post-processing that spreads accumulators over the format.

    Parameters
    ----------
    rng : numpy Generator
        Source of randomness.
    acc : int64 array (N, H, W, C)
        Accumulators.
    choice : PostChoice
        What it consists of.
    values : dict of str to int64 array (N, H, W, C)
        At least the residuals.
    """
    flat = acc.reshape(-1, acc.shape[-1])

    def residual(name: str | None) -> np.ndarray | None:
        return None if name is None else values[name].reshape(flat.shape)

    table, table_format = None, None
    inner = choice.fmt
    if choice.second or choice.table:
        inner = draw_format(rng, (6, 7, 8))
    first_format = inner
    if choice.table:
        first_format = draw_format(rng, (7, 8))
        table_format = inner if choice.second else choice.fmt
        table = _draw_table(rng, first_format, table_format)
    first = fit_step(rng, flat, first_format, choice.terms, residual(choice.residual))
    second = None
    if choice.second:
        y = _apply(first, flat, residual(choice.residual))
        if table is not None:
            y = table[y & 0xFF].astype(np.int64)
        second = fit_step(rng, y, choice.fmt, choice.terms, residual(choice.residual2))
    return Post(first, table, table_format, second, choice.residual, choice.residual2)


def fit_step(
    rng: np.random.Generator,
    value: np.ndarray,
    fmt: Format,
    terms: int,
    residual: np.ndarray | None = None,
) -> Step:
    """Draw a step that brings each channel's values to the middle and most of a format.

    A fifth of the multipliers are negative, a few are zero; B is made from the quantised m, so
    that what is rounded off in m acts only on the deviation from the mean.

    Parameters
    ----------
    rng : numpy Generator
        Source of randomness.
    value : int64 array (P, C)
        What the step reads.
    fmt : Format
        Format of its result.
    terms : int
        Signed powers of two per multiplier.
    residual : int64 array (P, C), optional
        What it adds.
    """
    channels = value.shape[1]
    share = 1.0 if residual is None else rng.uniform(0.3, 0.7)
    gain = share * _gain(rng, value, fmt)
    other = np.zeros(channels) if residual is None else (1 - share) * _gain(rng, residual, fmt)
    zero = (rng.random(channels) < 0.1) & (channels >= 4)
    columns = []
    for c in range(channels):
        added = None if residual is None else residual[:, c]
        columns.append(
            _fit_channel(rng, value[:, c], added, gain[c], other[c], fmt, terms, zero[c])
        )
    m, r, bias, shift = (np.array(part) for part in zip(*columns))  # m, r: (C, T, 2)
    kept = [] if residual is None else [r[..., 0].T, r[..., 1].T]
    return Step(m[..., 0].T, m[..., 1].T, bias, shift, fmt, *kept)


def _apply(step: Step, value: np.ndarray, residual: np.ndarray | None) -> np.ndarray:
    shift = step.shift.astype(np.int64)
    if residual is None:
        return np.asarray(requantise(value, step.m, step.bias, shift, step.fmt))
    return np.asarray(requantise(value, step.m, step.bias, shift, step.fmt, residual, step.r))


def _gain(rng: np.random.Generator, value: np.ndarray, fmt: Format) -> np.ndarray:
    """Real multiplier per channel that spreads values over most of a format."""
    low, high = np.percentile(value, [4, 96], axis=0)
    ends = value.max(axis=0) - value.min(axis=0)
    spread = np.where(high > low, high - low, np.maximum(ends, 1))
    wanted = (fmt.max - fmt.min) * rng.uniform(0.75, 1.0, value.shape[1])
    sign = np.where(rng.random(value.shape[1]) < 0.2, -1, 1)
    # Formats of more than 16 bits are for logits, which are not stretched to fill them.
    most = 2.0**16 if fmt.width <= 16 else 2 ** rng.uniform(0, 8)
    return sign * np.minimum(wanted / spread, most)


def _fit_channel(
    rng: np.random.Generator,
    value: np.ndarray,
    residual: np.ndarray | None,
    gain: float,
    other: float,
    fmt: Format,
    terms: int,
    zero: np.bool_,
) -> tuple:
    """Terms of m and r, B and S of one channel."""
    largest = max(abs(gain), abs(other))
    bits = rng.integers(3, 13)  # precision of the multiplier
    shift = int(np.clip(np.floor(bits - np.log2(largest)), 0, MAX_SHIFT))
    middle = (fmt.min + fmt.max) / 2 + rng.uniform(-0.05, 0.05) * (fmt.max - fmt.min)
    if fmt.width > 16:
        middle = rng.uniform(-1000, 1000)
    while True:
        m = nearest_terms(0.0 if zero else gain * 2.0**shift, terms)
        r = nearest_terms(other * 2.0**shift, terms)
        total = apply_terms(value, m)
        if residual is not None:
            total = total + apply_terms(residual, r)
        bias = round(middle * 2.0**shift - float(total.mean()))
        if abs(bias) <= BIAS_LIMIT or shift == 0:
            return m, r, bias, shift
        shift -= 1


def _draw_table(rng: np.random.Generator, read: Format, made: Format) -> np.ndarray:
    """Random function from one format to another as 256 entries by ``u & 0xff``."""
    u = np.arange(read.min, read.max + 1)
    x = 6.0 * (u - read.min) / (read.max - read.min) - (3.0 if read.signed else 0.0)
    functions = (
        lambda: np.maximum(x, 0.0) if read.signed else x,
        lambda: x * np.clip(x + 3, 0, 6) / 6,
        lambda: x / (1 + np.exp(-1.7 * x)),
        lambda: np.tanh(x),
        lambda: rng.permutation(len(u)).astype(float),
    )
    f = functions[rng.integers(len(functions))]()
    scaled = (f - f.min()) / (f.max() - f.min()) * (made.max - made.min) + made.min
    table = rng.integers(made.min, made.max + 1, 256)  # entries that no u reaches
    table[u & 0xFF] = np.rint(scaled)
    return table.astype(np.int16)
