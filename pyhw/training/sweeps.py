"""Named tables of results, row by row: what a sweep trains."""

from pathlib import Path
from typing import Any

__all__ = ["SWEEPS", "checkpoint", "options_of", "slug"]

_OTHERS = ("start", "learn_from")
"""Options that name another row of the table, whose checkpoint is meant."""


def _every_method(data: str) -> dict[str, dict[str, Any]]:
    """Return LeNet-5 by every method and the ablation of AdderNet.

    20 epochs each, 30 where a target of the table needs them, 10 for the ablation.
    """
    rows: dict[str, dict[str, Any]] = {"CNN": {"ops": "conv"}}
    for name, teacher in (("AdderNet", None), ("AdderNet + PKKD", True)):
        for seed in range(3):
            rows[f"{name}, seed {seed}"] = {
                "ops": "adder", "seed": seed, "teacher": teacher, "epochs": 30 if teacher else 20,
            }  # fmt: skip
    for mode in ("ps", "q"):
        for bits in (5, 4, 3):
            rows[f"DeepShift-{mode.upper()}, {bits} bits"] = {"ops": f"shift-{mode}", "bits": bits}
    rows["ShiftAddNet"] = {"ops": "shiftadd"}
    rows["ShiftAddNet, frozen"] = {"ops": "shiftadd", "frozen": True, "prune": 0.5, "low": -7}
    rows["PEMN, mask"] = {"ops": "pemn", "sharing": "dense"}
    rows["PEMN, one-layer"] = {"ops": "pemn", "sharing": "one-layer"}
    rows["PEMN, MP"] = {"ops": "pemn", "sharing": "mp"}
    for fraction in (1e-1, 1e-2, 1e-3):
        rows[f"PEMN, RP {fraction:g}"] = {"ops": "pemn", "sharing": "rp", "fraction": fraction}
    for options in rows.values():
        options.setdefault("epochs", 20)
    for gradient in ("full", "sign"):
        for step, eta, increase in (("adaptive", 0.2, 1.0), ("increased", 0, 10.0)):
            rows[f"AdderNet, {gradient} gradient, {step} step"] = {
                "ops": "adder", "gradient": gradient, "eta": eta, "increase": increase,
                "epochs": 10, "shift": 0, "turn": 0.0, "zoom": 0.0,
            }  # fmt: skip
    return {name: {"model": "lenet5", "data": data} | options for name, options in rows.items()}


CIFAR: dict[str, dict[str, Any]] = {
    "ResNet-20 AdderNet": {"model": "resnet20", "ops": "adder"},
    "ResNet-20 ShiftAddNet": {"model": "resnet20", "ops": "shiftadd"},
    "ResNet-8 AdderNet": {"model": "resnet8", "ops": "adder"},
    "ConvMixer-256/6 PEMN, RP 0.01": {
        "model": "convmixer-256-6", "ops": "pemn", "sharing": "rp", "fraction": 0.01,
    },
}  # fmt: skip


def _on_cifar(**common: Any) -> dict[str, dict[str, Any]]:
    return {name: {"data": "cifar10"} | options | common for name, options in CIFAR.items()}


def _transformers(kind: str, data: str, teacher: str, **common: Any) -> dict[str, dict[str, Any]]:
    """Return SReT with what it is compared with, and the steps of ShiftAddViT."""
    epochs = {"mnist": 15, "cifar10": 100}[data]
    later: dict[str, Any] = {"epochs": epochs // 3, "lr": 1e-3}
    rows: dict[str, dict[str, Any]] = {
        "Teacher": {"model": teacher, "ops": "conv", "epochs": epochs},
        "SReT": {},
        "SReT, distilled": {"learn_from": "Teacher"},
        "SReT, one loop": {"loops": 1},
        "SReT, no slices": {"sliced": False},
        "SReT, log2 softmax": {"attention": "log2", "start": "SReT", **later},
        "SReT, Adder attention": {"attention": "adder"},
        "SReT, signs": {"attention": "binary"},
    }
    shiftadd: dict[str, dict[str, Any]] = {
        "ShiftAddViT 1, softmax": {},
        "ShiftAddViT 2, linear and binary": {"attention": "linear"},
        "ShiftAddViT 3, shift in attention": {"attention": "shiftadd"},
        "ShiftAddViT 4, shift in MLPs": {"attention": "shiftadd", "mlp": "shift"},
        "ShiftAddViT 4, mixture": {"attention": "shiftadd", "mlp": "moe"},
    }
    names = list(shiftadd)
    before = {names[1]: names[0], names[2]: names[1], names[3]: names[2], names[4]: names[2]}
    for name, options in rows.items():
        if name != "Teacher":
            options |= {"model": f"sret-{kind}", **common}
        options.setdefault("epochs", epochs)
    for name, options in shiftadd.items():
        options |= {"model": f"shiftaddvit-{kind}", "epochs": epochs, **common}
        if name in before:
            options |= {"start": before[name], **later}
    return {name: {"data": data} | options for name, options in (rows | shiftadd).items()}


SWEEPS = {
    "mnist": _every_method("mnist"),
    "digits": _every_method("digits"),
    "cifar10": _on_cifar(),
    "cifar10-trial": _on_cifar(images=1000, epochs=4, batch=50),
    "vit-mnist": _transformers("mnist", "mnist", "lenet5"),
    "vit-cifar10": _transformers("cifar", "cifar10", "resnet8", precision="bfloat16"),
}
"""By name of the table: the options of `pyhw.training.recipe.make_recipe` by name of the row; where
one is a checkpoint, it is the name of the row that makes it.

Source of the ablation: AdderNet (CVPR 2020), section 4.4; images as they are, because a network
trained with signs depends on their distortion.
"""


def slug(name: str) -> str:
    """Return a row's name as one that a file can have."""
    words = "".join(letter if letter.isalnum() or letter in ".-" else " " for letter in name)
    return "-".join(words.lower().split())


def checkpoint(table: str, name: str, folder: Path) -> Path:
    """Return the checkpoint of a row in a folder."""
    return folder / f"{table}-{slug(name)}.pt"


def options_of(table: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return a table with the checkpoints of rows in a folder in place of their names."""
    return {
        row: {
            option: str(checkpoint(table, value, folder)) if option in _OTHERS else value
            for option, value in options.items()
        }
        for row, options in SWEEPS[table].items()
    }
