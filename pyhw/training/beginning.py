"""What a training begins with: a trained teacher, and the weights of another network."""

from torch import nn

from pyhw.errors import UserError
from pyhw.nn.models import MODELS
from pyhw.nn.transfer import transfer
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.recipe import Recipe

__all__ = ["load_teacher", "start_from"]


def load_teacher(recipe: Recipe) -> nn.Module | None:
    """Return the teacher that a recipe names, None without one.

    Raises
    ------
    UserError
        If its checkpoint cannot be read, or it is not for the same images.
    """
    if not recipe.learn_from:
        return None
    teacher, meta = load_checkpoint(recipe.learn_from)
    theirs, ours = MODELS[meta.recipe.model], MODELS[recipe.model]
    classes = theirs.classes if meta.origin is None else meta.origin.classes
    if (theirs.input_shape, classes) != (ours.input_shape, ours.classes):
        raise UserError(
            f"learn_from: {recipe.learn_from} is {meta.recipe.model}, for other images or classes "
            f"than {recipe.model}: name a teacher trained on {recipe.data}"
        )
    if meta.recipe.data != recipe.data:
        raise UserError(
            f"learn_from: {recipe.learn_from} was trained on {meta.recipe.data}, not on "
            f"{recipe.data}: name a teacher trained on {recipe.data}"
        )
    if meta.origin is not None and meta.origin.mean:
        raise UserError(
            f"learn_from: {recipe.learn_from} was trained on images scaled in another way than "
            "pyhw's: train a teacher with `pyhw train`"
        )
    return teacher.requires_grad_(False)


def start_from(recipe: Recipe, model: nn.Module) -> None:
    """Give a fresh network the weights that its recipe starts from, if it does.

    Raises
    ------
    UserError
        If the checkpoint cannot be read or is of another network.
    """
    if not recipe.start:
        return
    old, meta = load_checkpoint(recipe.start)
    if meta.recipe.model != recipe.model:
        raise UserError(
            f"start: {recipe.start} is {meta.recipe.model}, not {recipe.model}: name a checkpoint "
            "of the same network in any form"
        )
    transfer(model, old)
