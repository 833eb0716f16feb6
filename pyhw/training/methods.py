"""What differs between methods and data sets: the published recipes, as tables."""

from typing import Any

__all__ = ["DATA_DEFAULTS", "EPOCHS", "METHOD_DEFAULTS", "OPTIMIZERS", "SCHEDULES", "USED_BY",
           "defaults"]

OPTIMIZERS = ("sgd", "adamw", "radam")
SCHEDULES = ("cosine", "steps", "ramp")

DATA_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "batch": 64},
    "mnist": {"epochs": 30, "batch": 256},
    "cifar10": {"batch": 256, "shift": 4, "turn": 0.0, "zoom": 0.0, "flip": True},
}
"""The small set needs more passes and smaller steps; colour pictures are cropped and mirrored."""

EPOCHS = {"adder": 400, "conv": 400, "shift-ps": 200, "shift-q": 200, "shiftadd": 160, "pemn": 100}
"""Published number of epochs on CIFAR-10."""

METHOD_DEFAULTS: dict[str, dict[str, Any]] = {
    # AdderNet (CVPR 2020), section 4.1; the CNN is trained alike, to compare.
    "adder": {},
    "conv": {},
    # DeepShift (CVPRW 2021): PS does not train with plain SGD. The published rate, 0.01, is for
    # 200 epochs: after six on MNIST it is behind 0.1 by 0.7 points (Q) and more (PS).
    "shift-ps": {"optimizer": "radam", "weight_decay": 1e-4},
    "shift-q": {"weight_decay": 1e-4},
    # ShiftAddNet (NeurIPS 2020) trains with SGD and steps at 80 and 120 of 160 epochs. Its shift
    # layers are DeepShift-PS's, and want what those want: after six epochs on MNIST 98.8 % instead
    # of 95.9 %.
    "shiftadd": {"optimizer": "radam", "weight_decay": 1e-4},
    # PEMN (NeurIPS 2022), its authors' README command.
    "pemn": {"optimizer": "adamw", "lr": 0.05, "weight_decay": 0.005, "schedule": "ramp"},
}
"""What a method's recipe changes of `pyhw.training.recipe.Recipe`, whose values are AdderNet's."""

_SHIFTS = ("shift-ps", "shift-q", "shiftadd")
USED_BY: dict[str, tuple[str, ...]] = {
    "gradient": ("adder", "shiftadd"),
    "eta": ("adder", "shiftadd"),
    "increase": ("adder", "shiftadd"),
    "bits": _SHIFTS,
    "terms": _SHIFTS,
    "frozen": ("shiftadd",),
    "prune": ("shiftadd",),
    "sharing": ("pemn",),
    "fraction": ("pemn",),
    "sparsity": ("pemn",),
    "teacher": ("adder",),
}
"""Which kinds of layers read an option; given with another kind it is refused."""


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
    found = {**DATA_DEFAULTS.get(data, {}), **METHOD_DEFAULTS.get(ops, {})}
    if data == "cifar10":
        found["epochs"] = EPOCHS.get(ops, 200)
    return found
