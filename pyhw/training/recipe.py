"""The training recipe: one frozen record of everything that decides the trained weights."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from pyhw.errors import UserError

DEFAULTS: dict[str, dict[str, Any]] = {
    "mnist": {"epochs": 30, "batch": 256},
    "digits": {"epochs": 60, "batch": 64},
}
"""What differs between the data sets: the small one needs more passes and smaller steps."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: the published recipe unless said otherwise.

    Attributes
    ----------
    model : str
        Name of the network, a key of `pyhw.nn.models.MODELS`.
    ops : str
        Kind of its inner layers, ``adder`` or ``conv``.
    data : str
        Name of the data set, ``digits`` or ``mnist``.
    epochs : int
        Passes over the training images, 1..10000.
    batch : int
        Images per step, 2..65536 (batch norm needs two).
    lr : float
        Learning rate of the first epoch; it falls to nearly 0 along half a cosine.
    seed : int
        Decides initial weights, order and distortions, 0..2**31 - 1.
    momentum, weight_decay : float
        Of SGD, on every parameter.
    shift : int
        Training images are moved by up to this many whole pixels either way, 0..8.
    turn : float
        Half of them are also turned by up to this many degrees either way, below 45,
    zoom : float
        and enlarged or shrunk by up to this fraction, below 0.5.

    Raises
    ------
    UserError
        If a value is out of its range.

    Source
    ------
    AdderNet (CVPR 2020), section 4.1, and its authors' code; the distortion is this project's.
    """

    model: str = "lenet5"
    ops: str = "adder"
    data: str = "digits"
    epochs: int = 60
    batch: int = 64
    lr: float = 0.1
    seed: int = 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift: int = 2
    turn: float = 10.0
    zoom: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10000),
            ("batch", 2, 65536),
            ("seed", 0, 2**31 - 1),
            ("shift", 0, 8),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise UserError(f"{name} must be a whole number from {low} to {high}, not {value}")
        if not 0 < self.lr <= 10:
            raise UserError(f"lr must be above 0 and at most 10, not {self.lr}")
        for name, end in (("momentum", 1), ("weight_decay", 1), ("turn", 45), ("zoom", 0.5)):
            if not 0 <= getattr(self, name) < end:
                raise UserError(
                    f"{name} must be at least 0 and below {end}, not {getattr(self, name)}"
                )

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0: half a cosine."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers and texts."""
        return asdict(self)


def make_recipe(saved: dict[str, Any] | None = None, **options: Any) -> Recipe:
    """Fill in what the user left open: from a saved recipe, or from the data set's defaults.

    Parameters
    ----------
    saved : dict, optional
        Fields of the recipe that a training to be resumed began with.
    **options
        Fields of `Recipe`; None where the user left one open.

    Returns
    -------
    Recipe

    Raises
    ------
    UserError
        If a value is out of range, or differs from the saved one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if saved is None:
        data = given.get("data", Recipe.data)
        return Recipe(**{**DEFAULTS.get(data, {}), **given})
    unknown = set(saved) ^ {field.name for field in fields(Recipe)}
    if unknown:
        raise UserError(f"The checkpoint's recipe has foreign or missing fields: {min(unknown)}")
    for name, value in given.items():
        if value != saved[name]:
            raise UserError(
                f"{name} is {saved[name]} in the training to be resumed, not {value}: "
                "leave the option out, or start anew with another --out"
            )
    return Recipe(**saved)
