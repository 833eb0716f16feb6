"""What is known of a network that was trained elsewhere: classes, and how images were scaled."""

import math
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.inputs import scaling
from pyhw.nn.models import MODELS

__all__ = ["MOST_CLASSES", "Origin"]

MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights of an imported checkpoint come from.

    Attributes
    ----------
    source : str
        Reference implementation, a key of `pyhw.training.keys.sources()`.
    classes : int
        Outputs of the network, from 2.
    mean, deviation : tuple of float
        What the training took off pixels / 255 and divided by, one for each channel; empty if
        the network sees pixels / 255.

    Raises
    ------
    UserError
        If a value is out of its range.
    """

    source: str
    classes: int
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.classes, int) or not 2 <= self.classes <= MOST_CLASSES:
            raise UserError(
                f"classes must be a whole number from 2 to {MOST_CLASSES}, not {self.classes!r}"
            )
        numbers = (*self.mean, *self.deviation)
        right = len(self.mean) == len(self.deviation) and all(
            isinstance(number, float) and math.isfinite(number) for number in numbers
        )
        if not right or not all(number > 0 for number in self.deviation):
            raise UserError(
                "mean and deviation must be one finite number for each channel, deviations above "
                f"0, not {list(self.mean)} and {list(self.deviation)}"
            )

    @classmethod
    def from_saved(cls, saved: Any) -> "Origin":
        """Return what a checkpoint holds.

        Raises
        ------
        UserError
            If entries are foreign or missing, or a value is out of range.
        """
        if not isinstance(saved, dict) or set(saved) != {"source", "classes", "mean", "deviation"}:
            raise UserError("its origin must have source, classes, mean and deviation")
        for name in ("mean", "deviation"):
            if not isinstance(saved[name], list):
                raise UserError(f"{name} must be a list of numbers, not {saved[name]!r}")
        return cls(**saved | {name: tuple(saved[name]) for name in ("mean", "deviation")})

    def check(self, model: str) -> None:
        """Refuse a normalisation of other channels than a network of `MODELS` has."""
        channels = MODELS[model].input_shape[0]
        if len(self.mean) not in (0, channels):
            raise UserError(
                f"mean and deviation must have {channels} number(s) for {model}, "
                f"not {len(self.mean)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, texts and lists."""
        return asdict(self) | {"mean": list(self.mean), "deviation": list(self.deviation)}

    @property
    def normalise(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and deviation as `pyhw.quantizer.model.quantize_model` takes them."""
        return (np.array(self.mean), np.array(self.deviation)) if self.mean else None

    @property
    def scaling(self) -> str:
        """What the network sees of an image, in words."""
        return scaling(self.mean, self.deviation)

    def on_pixels(self, model: nn.Module) -> nn.Module:
        """Return a model in evaluation that takes pixels / 255 and normalises them itself."""
        if not self.mean:
            return model
        norm = nn.BatchNorm2d(len(self.mean), eps=0.0, affine=False)
        norm.running_mean = torch.tensor(self.mean)
        norm.running_var = torch.tensor(self.deviation, dtype=torch.float64).square().float()
        return nn.Sequential(OrderedDict(normalise=norm, network=model)).eval()
