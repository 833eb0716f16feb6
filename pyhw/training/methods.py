"""What differs between methods and data sets: the published recipes, as tables."""

from typing import Any

from pyhw.nn.kinds import KINDS

__all__ = ["DATA_DEFAULTS", "OPTIMIZERS", "SCHEDULES", "defaults", "used_by"]

OPTIMIZERS = ("sgd", "adamw", "radam")
SCHEDULES = ("cosine", "steps", "ramp")

DATA_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "batch": 64},
    "mnist": {"epochs": 30, "batch": 256},
    "cifar10": {"batch": 256, "shift": 4, "turn": 0.0, "zoom": 0.0, "flip": True},
}
"""The small set needs more passes and smaller steps; colour pictures are cropped and mirrored."""


def used_by() -> dict[str, tuple[str, ...]]:
    """Return which kinds of layers read an option of theirs; with another kind it is refused."""
    options = dict.fromkeys(option for kind in KINDS.values() for option in kind.options)
    return {
        option: tuple(name for name, kind in KINDS.items() if option in kind.options)
        for option in options
    }


def defaults(data: str, ops: str) -> dict[str, Any]:
    """Return what is not `Recipe`'s own default for a data set and a kind of layers.

    Parameters
    ----------
    data, ops : str
        Names; unknown ones change nothing.

    Returns
    -------
    dict
        Fields of `pyhw.training.recipe.Recipe`.
    """
    kind = KINDS.get(ops)
    found = {**DATA_DEFAULTS.get(data, {}), **(kind.recipe if kind else {})}
    if data == "cifar10":
        found["epochs"] = kind.epochs if kind else 200
    return found
