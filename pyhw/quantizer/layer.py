"""One stage: its operation with post-processing, and the value that it stores."""

from dataclasses import dataclass

import numpy as np

from pyhw.graph.execute import accumulators
from pyhw.graph.ops import Concat, Operation
from pyhw.graph.post import Post
from pyhw.hdl.formats import Format, terms_value

from .activations import RELU, ends_signed, make_table
from .affine import identity_step
from .choice import INNER_BITS, Choice, Chooser
from .operation import Value, Weights, draft
from .reference import Real, Reals
from .report import LayerReport, report_of
from .scales import activation_scale, output_scale
from .settings import Settings
from .signs import is_signed
from .stage import Stage
from .steps import added_to, applied, fitted, residual_name, snapped

__all__ = ["Made", "concatenate", "quantise_stage"]

WIDEST_SECOND = 16
"""Bits that a second step can store."""


@dataclass(frozen=True, eq=False)
class Made:
    """A quantised stage: its operation, its value in calibration, its report."""

    op: Operation
    value: Value
    report: LayerReport
    before: tuple[Operation, ...] = ()
    """Operations that it needs before it: records of tokens."""


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
    return Made(op, value, report_of(stage, value, real, None, 0, 0.0))


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
        stored = snapped(stored, stage.second or stage.first, values, settings) if free else stored
    if one_step:
        inner = stored
        table = stage.activation is not None and stored.fmt.signed  # no clamp at 0 does it
    else:
        inner = snapped(chooser.inner(stage), stage.first, values, settings)
    made = draft(stage, name, read, inner.scale, bits, settings, chooser.weights)
    identity = Post(identity_step(stage.channels, inner.fmt))
    acc = accumulators(made.build(identity), read.x, read.fmt)
    if wide and one_step:
        unit = np.abs(stage.first.gain(stage.channels) * made.slope).max()
        scale = output_scale(real.z, stored.fmt, float(unit), settings.exponent)
        stored = inner = Choice(stored.fmt, scale)
    first = fitted(stage, stage.first, acc, made.slope, real.y_mean, values, reals, inner, settings)
    x, beyond = applied(first, acc, added_to(stage.first, values))
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
        second = fitted(stage, stage.second, x, slope, mean, values, reals, stored, settings)
        x, beyond = applied(second, x, added_to(stage.second, values))
    post = Post(
        first,
        table=entries,
        table_format=between.fmt if table else None,
        second=second,
        residual=residual_name(stage.first, values),
        residual2=None if stage.second is None else residual_name(stage.second, values),
    )
    value = Value(name, stored.fmt, stored.scale, x)
    weight_bits = None if stage.weight is None else bits
    if stage.codes is not None:
        weight_bits = getattr(made.build(post), "code_width", None)
    report = report_of(stage, value, real, weight_bits, made.digits, beyond)
    return Made(made.build(post), value, report)


def _pooled(stage: Stage, name: str, read: Value, real: Real, settings: Settings) -> Made:
    """Pool and keep the format; an average's step takes what lacks to an exact division."""
    made = draft(stage, name, read, read.scale, 0, settings, Weights())
    divisor, scale = stage.divides_by, read.scale
    step = identity_step(stage.channels, read.fmt, divisor, settings.multipliers)
    scale /= divisor * int(terms_value(step.m)[0]) / (1 << int(step.shift[0]))
    op = made.build(Post(step))
    x, beyond = applied(step, accumulators(op, read.x, read.fmt), None)
    value = Value(name, read.fmt, scale, x)
    return Made(op, value, report_of(stage, value, real, None, 0, beyond))
