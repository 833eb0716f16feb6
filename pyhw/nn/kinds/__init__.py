# ruff: noqa: I001  (kinds are listed in the order in which they are registered)
"""The kinds of layers that a network can be built of, one module each."""

from . import adders, multiplied, shifts, cascades, masks
from .base import (
    KINDS,
    LAYER_CLASSES,
    Counts,
    Kind,
    LayerClass,
    Rename,
    Source,
    kind,
    layer_class,
    layer_class_of,
    plain,
    with_options,
)
from .layers import Layers, asked_kinds

__all__ = [
    "KINDS", "LAYER_CLASSES", "OPS", "Counts", "Kind", "LayerClass", "Layers", "Rename", "Source",
    "adders",
    "asked_kinds", "cascades", "kind", "layer_class", "layer_class_of", "masks", "multiplied",
    "plain", "shifts", "with_options",
]  # fmt: skip

OPS = asked_kinds()
"""The built-in kinds that a user can ask for; `asked_kinds` names those of extensions, too."""
