"""Layer norm as a record of tokens; gamma and beta in the next layer, or in a second step."""

from dataclasses import replace

import numpy as np

from pyhw.graph.ops import Pointwise, Stats
from pyhw.graph.post import Post, token_step
from pyhw.hdl.formats import Format

from ..choice import Choice
from ..forms import form_of
from ..layer import Made
from ..operation import Value
from ..report import report_of
from ..stage import Stage
from ..steps import applied, fitted
from ..token_kinds import Chain, Context, TokenKind, kind_of, token_kind

__all__ = ["LayerNorm", "fold_norms", "nearest_places"]

PLACES = range(2, 7)
"""Binary places of normalised values that are tried: a signed byte spans 32 to 2 deviations."""
LARGEST_FLOOR = (1 << 31) - 1


def nearest_places(normal: np.ndarray, fmt: Format) -> int:
    """Return the binary places with which a format holds normalised values best."""
    # Narrow formats span fewer steps: their errors say so.
    errors = [
        np.mean((fmt.clamp(np.rint(normal * 2**places)) / 2**places - normal) ** 2)
        for places in PLACES
    ]
    return PLACES[int(np.argmin(errors))]


@token_kind
class LayerNorm(TokenKind):
    """``(x - mean) / deviation`` of each token; `options` hold `eps`.

    What gamma and beta are left stand in the stage's second step.
    """

    name = "norm"

    def compute(self, stage: Stage, reads: list[np.ndarray], images: int) -> np.ndarray:
        """Normalise."""
        x = reads[0] - reads[0].mean(axis=3, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=3, keepdims=True) + stage.options["eps"])

    def quantise(self, stage: Stage, context: Context) -> Made:
        """Choose the binary places with the least error."""
        read, real = context.values[stage.source], context.reals[stage.path]
        fmt = Format(context.settings.bits, True)
        places = nearest_places(real.z if real.a is None else real.a, fmt)
        count = stage.channels
        floor = round(stage.options["eps"] * count * count / read.scale**2)
        stats = Stats(
            name=context.part("stats"), input=read.name, kind="layer", fraction=places,
            terms=context.settings.token_terms, floor=min(max(floor, 1), LARGEST_FLOOR),
        )  # fmt: skip
        post = Post(token_step(count, fmt), token=stats.name)
        point = Pointwise(name=context.name, input=read.name, post=post)
        chain = Chain((read,))
        chain.add(stats)
        x, scale, beyond = chain.add(point), 2.0**-places, 0.0
        if stage.second is not None:
            choice = context.chooser.stored(stage)
            assert real.a is not None
            mean = real.a.reshape(-1, count).mean(axis=0)
            step = fitted(stage, stage.second, x, np.full(count, scale), mean,
                            dict(context.values), context.reals, Choice(choice.fmt, choice.scale),
                            context.settings)  # fmt: skip
            x, beyond = applied(step, x, None)
            point = replace(point, post=replace(post, second=step))
            fmt, scale = choice.fmt, choice.scale
        value = Value(context.name, fmt, scale, x)
        return Made(point, value, report_of(stage, value, real, None, 0, beyond), (stats,))


def fold_norms(stages: list[Stage]) -> list[Stage]:
    """Fold gamma and beta into the linear layers that read a norm, exactly.

    A norm keeps them where something else reads it, or a layer whose weights are codes.
    """
    by_path = {stage.path: stage for stage in stages}
    for norm in stages:
        if norm.kind != LayerNorm.name or norm.second is None or norm.second.norm is None:
            continue
        found = _readers(norm.path, stages)
        if not found or not all(_takes(stage) for stage in found):
            continue
        gamma, beta = norm.second.norm.scale, norm.second.norm.shift
        for one in found:
            stage = by_path[one.path]
            assert stage.weight is not None
            constant = (stage.weight * beta).sum(axis=(1, 2, 3))
            bias = constant if stage.bias is None else stage.bias + constant
            by_path[one.path] = replace(stage, weight=stage.weight * gamma, bias=bias)
        by_path[norm.path] = replace(norm, second=None)
    return [by_path[stage.path] for stage in stages]


def _readers(path: str, stages: list[Stage]) -> list[Stage]:
    """Return the stages that read a value, those of moved copies among them."""
    found: list[Stage] = []
    for stage in stages:
        if path not in stage.reads:
            continue
        kind = kind_of(stage)
        found += _readers(stage.path, stages) if kind is not None and kind.moves else [stage]
    return found


def _takes(stage: Stage) -> bool:
    return (stage.weight is not None and form_of(stage).linear and stage.kernel == (1, 1)
            and stage.groups == 1 and not any(stage.padding))  # fmt: skip
