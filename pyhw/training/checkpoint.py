"""Checkpoint files: written whole or not at all, and loaded without running anything in them.

A checkpoint is a ``torch.save`` file of plain containers, numbers, texts and tensors, so that
``torch.load(weights_only=True)`` reads it. ``docs/training.md`` lists its entries.
"""

import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyhw.errors import UserError, writing
from pyhw.files import is_special, replacing
from pyhw.nn.models import MODELS
from pyhw.training.loop import EpochRecord
from pyhw.training.networks import build
from pyhw.training.origin import Origin
from pyhw.training.recipe import Recipe, make_recipe

FORMAT = "pyhw-checkpoint"
VERSION = 1
IMPORTED_VERSION = 2
"""Of checkpoints with an origin, which an older pyhw would leave out."""
LARGEST = 1 << 30
"""Most bytes of a checkpoint file, and most bytes it may unpack to."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a checkpoint says about its weights.

    Attributes
    ----------
    recipe : Recipe
        How they were trained.
    history : tuple of EpochRecord
        One per epoch done.
    optimizer : dict or None
        State of the optimiser while the training is unfinished.
    distillation : dict or None
        State of the teacher, likewise, if there is one.
    origin : Origin or None
        Where they come from, if they were imported.
    """

    recipe: Recipe
    history: tuple[EpochRecord, ...]
    optimizer: dict[str, Any] | None
    distillation: dict[str, Any] | None = None
    origin: Origin | None = None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether the recipe's epochs are all done."""
        return self.epoch >= self.recipe.epochs

    @property
    def accuracy(self) -> float | None:
        """Test accuracy after the last epoch, percent; None before the first."""
        return self.history[-1].accuracy if self.history else None

    def on_pixels(self, model: nn.Module) -> nn.Module:
        """Return the model as one that takes pixels / 255, whatever its training took."""
        return model if self.origin is None else self.origin.on_pixels(model)


def save_checkpoint(
    path: str | os.PathLike,
    model: nn.Module,
    recipe: Recipe,
    history: Iterable[EpochRecord],
    optimizer: torch.optim.Optimizer | None = None,
    distillation: nn.Module | None = None,
    origin: Origin | None = None,
) -> None:
    """Write a checkpoint: under another name first, then renamed, so never half of one.

    Parameters
    ----------
    path : path-like
        File to write or replace; its folder is made if need be.
    model : torch.nn.Module
        Whose weights to save.
    recipe : Recipe
        How it is trained.
    history : iterable of EpochRecord
        One per epoch done.
    optimizer : torch.optim.Optimizer, optional
        Needed to resume; leave it out of a finished training, to halve the file.
    distillation : torch.nn.Module, optional
        Likewise.
    origin : Origin, optional
        Of an imported network.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION if origin is None else IMPORTED_VERSION,
        "recipe": recipe.to_dict(),
        "history": [asdict(record) for record in history],
        "model": _on_cpu(model),
        "optimizer": optimizer.state_dict() if optimizer else None,
    }
    if distillation is not None:
        content["distillation"] = _on_cpu(distillation)
    if origin is not None:
        content["origin"] = origin.to_dict()
    with writing(path):
        data = io.BytesIO()  # PyTorch's own writer does not tell a full disk from a defect
        torch.save(content, data)
        with replacing(path) as file:
            file.write(data.getbuffer())


def _on_cpu(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def read_content(path: str | os.PathLike, legacy: bool = False) -> Any:
    """Return the content of a file of `torch.save`, or refuse it in one line.

    Parameters
    ----------
    path : path-like
        The file; nothing in it is run.
    legacy : bool
        Read the form before PyTorch 1.6 too, which is no zip archive.
    """
    try:
        if is_special(Path(path)):
            raise UserError(f"{path} is no ordinary file")
        if Path(path).stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than the {LARGEST >> 20} MiB a checkpoint may have")
        if not legacy or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
                if unpacked > LARGEST:
                    raise UserError(
                        f"{path} unpacks to more than {LARGEST >> 20} MiB: it is damaged"
                    )
                if damaged := archive.testzip():  # PyTorch itself does not look
                    raise UserError(f"{path} is damaged: {damaged} does not match its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UserError(f"{path} is no checkpoint, or a truncated one") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no pyhw checkpoint: it holds Python objects, and loading them could run "
            "code; save a state_dict instead"
        ) from None
    except Exception as error:  # damaged bytes make the unpickler raise whatever it meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged ({reason})") from None


def _check_state(path: str | os.PathLike, state: Any, model: nn.Module) -> None:
    """Refuse weights that do not fit the network, naming the first tensor that does not."""
    expected = model.state_dict()
    if not isinstance(state, dict):
        raise UserError(f"{path} is damaged: its model is not a table of tensors")
    for name, tensor in expected.items():
        found = state.get(name)
        if not isinstance(found, torch.Tensor):
            raise UserError(f"{path} has no tensor {name!r}, which the network needs")
        if found.shape != tensor.shape:
            raise UserError(
                f"{path}: tensor {name!r} must have shape {tuple(tensor.shape)}, "
                f"not {tuple(found.shape)}"
            )
        if found.dtype != tensor.dtype:
            raise UserError(f"{path}: tensor {name!r} must be {tensor.dtype}, not {found.dtype}")
    for name in state:
        if name not in expected:
            raise UserError(f"{path} has a tensor {name!r}, which the network does not know")


def load_checkpoint(path: str | os.PathLike) -> tuple[nn.Module, Meta]:
    """Read a checkpoint and build its network.

    Parameters
    ----------
    path : path-like
        Written by `save_checkpoint`.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode, weights loaded.
    meta : Meta

    Raises
    ------
    UserError
        If the file is missing, truncated, foreign, damaged, from a newer pyhw, or does not fit
        the network it names. Values are not judged: NaN weights load.
    """
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no pyhw checkpoint; `pyhw train` makes one")
    version = content.get("version")
    if version not in (VERSION, IMPORTED_VERSION):
        newer = isinstance(version, int) and version > IMPORTED_VERSION
        advice = "update pyhw to read it" if newer else "train again"
        raise UserError(f"{path} has checkpoint version {version}, not {VERSION} or "
                        f"{IMPORTED_VERSION}: {advice}")  # fmt: skip
    try:
        recipe = make_recipe(saved=dict(content["recipe"]))
        history = tuple(EpochRecord(**record) for record in content["history"])
        state, optimizer = content["model"], content["optimizer"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: entry missing or misshapen ({error})") from None
    try:
        origin = Origin.from_saved(content["origin"]) if "origin" in content else None
        model = build(recipe, None if origin is None else origin.classes)
        if origin is not None:
            origin.check(recipe.model)
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    except ValueError:
        raise UserError(
            f"{path} names the network {recipe.model!r} with {recipe.ops!r} layers, which this "
            f"pyhw does not know; it knows {', '.join(MODELS)}"
        ) from None
    _check_state(path, state, model)
    model.load_state_dict(state)
    return model.eval(), Meta(
        recipe=recipe,
        history=history,
        optimizer=optimizer,
        distillation=content.get("distillation"),
        origin=origin,
    )
