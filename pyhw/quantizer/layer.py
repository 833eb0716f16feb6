"""One stage: its operation with post-processing, and the value that it stores."""

from dataclasses import dataclass

import numpy as np

from pyhw.graph.execute import accumulators
from pyhw.graph.ops import Concat, Operation
from pyhw.graph.post import Post, Step
from pyhw.hdl.formats import Format, apply_terms, round_shift, terms_value

from .activations import RELU, ends_signed, make_table
from .affine import Line, affine_step, identity_step, snap
from .choice import INNER_BITS, Choice, Chooser
from .operation import Value, draft
from .reference import Real, Reals
from .scales import activation_scale, output_scale
from .settings import Settings
from .signs import is_signed
from .stage import Affine, Stage

__all__ = ["LayerReport", "Made", "concatenate", "quantise_stage"]

WIDEST_SECOND = 16
"""Bits that a second step can store."""


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What became of one layer.

    Attributes
    ----------
    name, kind : str
        Operation; the form of its weights (``adder``, ``conv``, ``coded``), or ``max``, ``sum``,
        ``point`` or ``concat``.
    shape : (int, int, int)
        Height, width and channels of its result.
    fmt : str
        Format of its result.
    scale : float
        What one step of the result stands for.
    weight_bits : int or None
        Of a layer with weights.
    digits : int
        Digits of every weight of a 'conv'; 0 for others.
    saturated : float
        Share of the calibration's results beyond the format (below 0 after a ReLU not counted).
    error : float
        Root mean square of the result's error in calibration, over that of the real result.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    fmt: str
    scale: float
    weight_bits: int | None
    digits: int
    saturated: float
    error: float


@dataclass(frozen=True, eq=False)
class Made:
    """A quantised stage: its operation, its value in calibration, its report."""

    op: Operation
    value: Value
    report: LayerReport


def concatenate(stage: Stage, name: str, values: dict[str, Value], real: Real) -> Made:
    """Join values of one format and step.

    Parameters
    ----------
    stage : Stage
        Of kind 'concat'.
    name : str
        Of the operation.
    values : dict of str to Value
        By path.
    real : Real
        The stage's real values.
    """
    read = [values[path] for path in stage.sources]
    x = np.concatenate([value.x for value in read], axis=3)
    value = Value(name, read[0].fmt, read[0].scale, x)
    op = Concat(name=name, inputs=tuple(value.name for value in read))
    return Made(op, value, _report(stage, value, real, None, 0, 0.0))


def quantise_stage(
    stage: Stage,
    name: str,
    values: dict[str, Value],
    reals: Reals,
    chooser: Chooser,
    settings: Settings,
    bits: int,
    last: bool,
) -> Made:
    """Quantise a stage.

    Parameters
    ----------
    stage : Stage
        What to quantise, of any kind but 'concat'.
    name : str
        Of its operation.
    values : dict of str to Value
        What it reads, by path.
    reals : Reals
        Real values of the network.
    chooser : Chooser
        Formats and steps of stored values.
    settings : Settings
        Of the whole quantisation.
    bits : int
        Of its weights.
    last : bool
        Whether its result is the network's.
    """
    read, real = values[stage.source], reals[stage.path]
    if chooser.keeps(stage) and not (last and stage.kind == "sum"):
        return _pooled(stage, name, read, real, settings)
    table = stage.activation not in (None, RELU)
    one_step = not table and stage.second is None  # makes the stored value
    wide = last and (one_step or stage.second is not None)
    if wide:
        # The step of outputs is a power of two, which weights need not know.
        width = settings.output_width if one_step else min(settings.output_width, WIDEST_SECOND)
        stored = Choice(Format(width, is_signed(stage.path, chooser.stages)), 1.0)
    else:
        stored = chooser.stored(stage)
        free = stage.path not in chooser.ties
        stored = _snapped(stored, stage.second or stage.first, values, settings) if free else stored
    if one_step:
        inner = stored
        table = stage.activation is not None and stored.fmt.signed  # no clamp at 0 does it
    else:
        inner = _snapped(chooser.inner(stage), stage.first, values, settings)
    made = draft(stage, name, read, inner.scale, bits, settings)
    identity = Post(identity_step(stage.channels, inner.fmt))
    acc = accumulators(made.build(identity), read.x, read.fmt)
    if wide and one_step:
        unit = np.abs(stage.first.gain(stage.channels) * made.slope).max()
        scale = output_scale(real.z, stored.fmt, float(unit), settings.exponent)
        stored = inner = Choice(stored.fmt, scale)
    first = _fit(stage, stage.first, acc, made.slope, real.y_mean, values, reals, inner, settings)
    x, beyond = _apply(first, acc, _added(stage.first, values))
    entries, second, between = None, None, inner
    if table:
        assert stage.activation is not None
        between = stored
        if stage.second is not None:
            assert real.a is not None
            fmt = Format(INNER_BITS, ends_signed(stage.activation))
            between = Choice(fmt, activation_scale(real.a, fmt))
        entries = make_table(stage.activation, inner.fmt, inner.scale, between.fmt, between.scale)
        x = entries[x & 0xFF]
    if stage.second is not None:
        assert real.a is not None
        slope = np.full(stage.channels, between.scale)
        if wide:
            unit = np.abs(stage.second.gain(stage.channels) * slope).max()
            scale = output_scale(real.z, stored.fmt, float(unit), settings.exponent)
            stored = Choice(stored.fmt, scale)
        mean = real.a.reshape(-1, stage.channels).mean(axis=0)
        second = _fit(stage, stage.second, x, slope, mean, values, reals, stored, settings)
        x, beyond = _apply(second, x, _added(stage.second, values))
    post = Post(
        first,
        table=entries,
        table_format=between.fmt if table else None,
        second=second,
        residual=_residual_name(stage.first, values),
        residual2=None if stage.second is None else _residual_name(stage.second, values),
    )
    value = Value(name, stored.fmt, stored.scale, x)
    weight_bits = None if stage.weight is None else bits
    if stage.codes is not None:
        weight_bits = _code_bits(made.build(post))
    report = _report(stage, value, real, weight_bits, made.digits, beyond)
    return Made(made.build(post), value, report)


def _pooled(stage: Stage, name: str, read: Value, real: Real, settings: Settings) -> Made:
    """Pool and keep the format; an average's step takes what lacks to an exact division."""
    made = draft(stage, name, read, read.scale, 0, settings)
    divisor, scale = stage.divides_by, read.scale
    step = identity_step(stage.channels, read.fmt, divisor, settings.multipliers)
    scale /= divisor * int(terms_value(step.m)[0]) / (1 << int(step.shift[0]))
    op = made.build(Post(step))
    x, beyond = _apply(step, accumulators(op, read.x, read.fmt), None)
    value = Value(name, read.fmt, scale, x)
    return Made(op, value, _report(stage, value, real, None, 0, beyond))


def _snapped(
    choice: Choice, step: Affine, values: dict[str, Value], settings: Settings
) -> Choice:
    """Move a step a little, so that the multiplier of a plain residual is exact.

    With three terms by a few percent, with one by up to a third.
    """
    if step.residual is None or step.residual.gain is not None:
        return choice
    added = values[step.residual.path].scale
    return Choice(choice.fmt, added / snap(added / choice.scale, settings.residual_multipliers))


def _residual_name(step: Affine, values: dict[str, Value]) -> str | None:
    return None if step.residual is None else values[step.residual.path].name


def _added(step: Affine, values: dict[str, Value]) -> np.ndarray | None:
    return None if step.residual is None else values[step.residual.path].x


def _fit(
    stage: Stage,
    affine: Affine,
    v: np.ndarray,
    slope: np.ndarray,
    mean: np.ndarray,
    values: dict[str, Value],
    reals: Reals,
    result: Choice,
    settings: Settings,
) -> Step:
    """Return the integer step of an affine one.

    The line goes through the means over the calibration images: what rounding moved the integers
    by on average is corrected here.

    Parameters
    ----------
    stage, affine : Stage, Affine
        The step, and the stage that it belongs to.
    v : int64 array (N, H, W, O)
        What it is applied to.
    slope : float64 array (O,)
        What one step of v stands for.
    mean : float64 array (O,)
        Of the real values that v stands for.
    values, reals : dict of str to Value, Reals
        Of the residual.
    result : Choice
        Format and step of the result.
    settings : Settings
        Of the whole quantisation.
    """
    channels = stage.channels
    flat = v.reshape(-1, channels)
    parts = [affine.gain(channels) * slope / result.scale, flat.mean(axis=0), flat.std(axis=0)]
    if affine.residual is None:
        parts += [affine(mean) / result.scale]
    else:
        added = values[affine.residual.path]
        x = added.x.reshape(-1, channels)
        real = reals[affine.residual.path].z.reshape(-1, channels).mean(axis=0)
        parts += [
            affine(mean, real) / result.scale,
            affine.residual_gain(channels) * added.scale / result.scale,
            x.mean(axis=0),
            x.std(axis=0),
        ]
    lines = [Line(*(float(number) for number in numbers)) for numbers in zip(*parts)]
    return affine_step(
        lines, result.fmt, stage.path, affine.residual is not None,
        settings.multipliers, settings.residual_multipliers,
    )  # fmt: skip


def _apply(step: Step, v: np.ndarray, added: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Return the stored values, and the share that was clamped (at 0 by a ReLU not counted)."""
    u = apply_terms(v, step.m) + step.bias
    if added is not None:
        u = u + apply_terms(added, step.r)
    u = round_shift(u, step.shift.astype(np.int64))
    beyond = u > step.fmt.max
    if step.fmt.signed:
        beyond |= u < step.fmt.min
    return step.fmt.clamp(u), float(beyond.mean())


def _code_bits(op: Operation) -> int | None:
    return getattr(op, "code_width", None)


def _report(
    stage: Stage, value: Value, real: Real, bits: int | None, digits: int, saturated: float
) -> LayerReport:
    size = float(np.sqrt(np.mean(real.z**2))) or 1.0
    return LayerReport(
        name=value.name,
        kind=stage.kind,
        shape=(value.x.shape[1], value.x.shape[2], value.x.shape[3]),
        fmt=str(value.fmt),
        scale=value.scale,
        weight_bits=bits,
        digits=digits,
        saturated=saturated,
        error=float(np.sqrt(np.mean((value.x * value.scale - real.z) ** 2))) / size,
    )
