"""The network of a recipe, and whether it fits the data."""

from torch import nn

from pyhw.errors import UserError
from pyhw.nn.models import MODELS, build_model
from pyhw.training.data import Dataset
from pyhw.training.recipe import Recipe

__all__ = ["build", "check_fit", "input_shape"]


def input_shape(name: str) -> tuple[int, int, int]:
    """Return channels, height and width of a network's input."""
    return MODELS[name].input_shape


def build(recipe: Recipe, classes: int | None = None) -> nn.Module:
    """Build a recipe's network with fresh weights from PyTorch's global random state.

    Parameters
    ----------
    recipe : Recipe
        Names the network and its layers.
    classes : int, optional
        Outputs, if not those of the data set that it was published for.

    Raises
    ------
    ValueError
        If the network or its kind of layers is not known.
    """
    return build_model(recipe.model, recipe.ops, classes, recipe.layers)


def check_fit(recipe: Recipe, dataset: Dataset, classes: int | None = None) -> None:
    """Refuse a network whose input or classes are not those of the data.

    Parameters
    ----------
    recipe : Recipe
        Names the network.
    dataset : Dataset
    classes : int, optional
        Of the network, if not those that it was published for.

    Raises
    ------
    UserError
        Naming both.
    """
    wanted, there = input_shape(recipe.model), dataset.shape
    if wanted != there:
        raise UserError(
            f"{recipe.model} takes images of {wanted[0]} channel(s), {wanted[1]}x{wanted[2]} "
            f"pixels, but {dataset.name} has {there[0]} of {there[1]}x{there[2]}: choose another "
            "network or other --data"
        )
    classes = MODELS[recipe.model].classes if classes is None else classes
    if classes != len(dataset.classes):
        raise UserError(
            f"{recipe.model} has {classes} classes, but {dataset.name} {len(dataset.classes)}"
        )
