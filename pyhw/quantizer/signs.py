"""Which values can be negative."""

from collections.abc import Mapping

from .activations import ends_signed
from .stage import IMAGES, Stage
from .token_kinds import kind_of

__all__ = ["is_signed"]


def is_signed(path: str, stages: Mapping[str, Stage]) -> bool:
    """Return whether a stage's value can be negative.

    Parameters
    ----------
    path : str
        Of the stage, or `IMAGES`.
    stages : mapping of str to Stage
        The network by path.
    """
    if path == IMAGES:
        return False
    stage = stages[path]
    kind = kind_of(stage)
    if kind is not None and kind.signed is not None:
        return kind.signed
    if stage.second is not None:
        return not stage.relu2
    if stage.activation is not None:
        return ends_signed(stage.activation)
    if stage.weight is not None or not stage.first.empty:
        return True
    return any(is_signed(source, stages) for source in stage.sources)
