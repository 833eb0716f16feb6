"""The integer steps of a stage: fitted to the real ones on the calibration images, and applied."""

import numpy as np

from pyhw.graph.post import Step
from pyhw.hdl.formats import apply_terms, round_shift

from .affine import Line, affine_step, snap
from .choice import Choice
from .operation import Value
from .reference import Reals
from .settings import Settings
from .stage import Affine, Stage

__all__ = ["added_to", "applied", "fitted", "residual_name", "snapped"]


def snapped(
    choice: Choice, step: Affine, values: dict[str, Value], settings: Settings
) -> Choice:
    """Move a step a little, so that a residual's multiplier is exact if channels share it.

    With three terms by a few percent, with one by up to a third.
    """
    if step.residual is None:
        return choice
    added, gain = values[step.residual.path].scale, step.residual.gain
    if gain is not None:
        if not gain.all() or np.ptp(gain) > 0:
            return choice
        added *= float(abs(gain[0]))
    return Choice(choice.fmt, added / snap(added / choice.scale, settings.residual_multipliers))


def residual_name(step: Affine, values: dict[str, Value]) -> str | None:
    """Return the operation whose value a step adds, None if it adds none."""
    return None if step.residual is None else values[step.residual.path].name


def added_to(step: Affine, values: dict[str, Value]) -> np.ndarray | None:
    """Return the value that a step adds, int64 (N, H, W, O), None if it adds none."""
    return None if step.residual is None else values[step.residual.path].x


def fitted(
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


def applied(step: Step, v: np.ndarray, added: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Return the stored values, and the share that was clamped (at 0 by a ReLU not counted)."""
    u = apply_terms(v, step.m) + step.bias
    if added is not None:
        u = u + apply_terms(added, step.r)
    u = round_shift(u, step.shift.astype(np.int64))
    beyond = u > step.fmt.max
    if step.fmt.signed:
        beyond |= u < step.fmt.min
    return step.fmt.clamp(u), float(beyond.mean())
