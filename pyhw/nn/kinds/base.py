"""What there is to know of a kind of layers, and where kinds are found.

A new kind is one module with its layer classes, a `LayerClass` that says how the rest of pyhw
treats them, and a `Kind` that says how networks of them are made and trained:

    layer_class(LayerClass(classes=(TernaryConv2d, TernaryLinear), form="ternary", ...))
    kind(Kind(name="ternary", conv=plain(TernaryConv2d), linear=plain(TernaryLinear)))

Trainer, converter, quantiser, importer and tables of operations ask these and know no kind
themselves. How weights of a new form become integers is a `pyhw.quantizer.forms.WeightForm`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pyhw.hdl.registry import Registry
from pyhw.nn.options import LayerOptions

__all__ = ["KINDS", "LAYER_CLASSES", "NORMALISATION", "Counts", "Kind", "LayerClass", "Make",
           "Rename", "Source", "kind", "layer_class", "layer_class_of", "plain",
           "with_options"]  # fmt: skip

Make = Callable[..., nn.Module]
Regroup = Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], dict[str, str]]]

NORMALISATION: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation that usual training scripts take off pixels / 255, by data set."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a layer does for one image.

    Attributes
    ----------
    products, differences, shifts : int
        Pairs of weight and activation that are multiplied, or compared by L1 distance, or shifted
        (once for each power of two; masked weights and those that happen to be 0 count).
    additions : int
        Sums of pairs that are none of these, such as those of weights -1, 0 and 1.
    """

    products: int = 0
    differences: int = 0
    shifts: int = 0
    additions: int = 0


@dataclass(frozen=True, kw_only=True)
class LayerClass:
    """How the rest of pyhw treats layers of some classes, which hold weights.

    Attributes
    ----------
    classes : tuple of type
        The classes; an instance of a subclass that is not registered itself counts as one.
    form : str
        How the quantiser reads weights (`pyhw.quantizer.forms`): ``conv``, ``adder``, ``coded``,
        or that of an extension.
    weight : callable
        Takes the layer, returns the weights that activations meet: a tensor
        (O, C / groups, KH, KW), or (O, I) of a linear layer.
    counts : callable
        Takes the layer and the pairs of weight and activation for one image, returns `Counts`.
    subclasses : bool
        Whether the quantiser may take a subclass; without, it may compute something else.
    multiplies : bool
        Whether it has products of weights, and is what `pyhw.nn.convert` replaces.
    exact_sums : bool
        Whether it computes in float32 where the network computes in bfloat16.
    prototype : callable, optional
        Takes the layer, returns the vector of powers of two that its weights repeat; or None.
    take_over : callable, optional
        Takes the layer, the one that it replaces and `underflow` of `pyhw.nn.convert`; copies
        what it keeps and says what that is. By default it starts afresh.
    latents, increased : callable
        Take the layer, return parameters without weight decay, and those whose learning rate
        `Recipe.increase` multiplies.
    draw : callable, optional
        Takes the layer, draws weights as trained ones are distributed (`pyhw example`).
    """

    classes: tuple[type[nn.Module], ...]
    form: str
    weight: Callable[[Any], Tensor]
    counts: Callable[[Any, int], Counts]
    subclasses: bool = False
    multiplies: bool = False
    exact_sums: bool = False
    prototype: Callable[[Any], Tensor] | None = None
    take_over: Callable[[Any, Any, str], str] | None = None
    latents: Callable[[Any], tuple[nn.Parameter, ...]] = lambda layer: ()
    increased: Callable[[Any], tuple[nn.Parameter, ...]] = lambda layer: ()
    draw: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Rename:
    """One change of tensors' names.

    Attributes
    ----------
    pattern, to : str
        A regular expression, and what to put in its place.
    unless : str
        A regular expression; if a name of the file fulfils it, nothing is renamed.
    """

    pattern: str
    to: str
    unless: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A reference implementation: what it calls its tensors.

    Attributes
    ----------
    ops : str
        Kind of layers; another if a tensor says so, see `markers`.
    renames : tuple of Rename
        Applied in order to every name.
    ignored : tuple of str
        Regular expressions of tensors that pyhw has no use for.
    markers : tuple of (str, str, str)
        A regular expression that some name fulfils, the kind of layers it tells, and ``frozen`` or
        nothing.
    networks : tuple of (str, dict)
        A regular expression; if some name fulfils it, the networks of pyhw that the dict names
        are others in this implementation.
    normalised : tuple of str
        Keys of `NORMALISATION`: data sets whose images the training scripts normalise.
    regroup : callable, optional
        Takes the tensors by name; returns them as pyhw groups them, before `renames`, and for each
        what it was called. For tensors that are there twice, or in two parts.
    options : tuple of (str, dict)
        A regular expression; if some name fulfils it, the options that the dict holds are those of
        the network; later ones overwrite earlier ones.
    lossy : tuple of (str, str)
        A regular expression of tensors of parts that pyhw computes in another way, and what they
        are of; refused unless the user accepts that the network then needs training on.
    refused : str
        Why nothing can be imported, if so.
    """

    ops: str
    renames: tuple[Rename, ...] = ()
    ignored: tuple[str, ...] = ()
    markers: tuple[tuple[str, str, str], ...] = ()
    networks: tuple[tuple[str, Mapping[str, str]], ...] = ()
    normalised: tuple[str, ...] = ()
    regroup: Regroup | None = None
    options: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    lossy: tuple[tuple[str, str], ...] = ()
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to make and train the layers of a network.

    Attributes
    ----------
    name : str
        As users ask for it.
    conv, linear : callable
        Take the options, then the arguments of `torch.nn.Conv2d` and `Linear`.
    edge : str
        Kind of a network's first and last layer, as published; its own by default.
    asked : bool
        Whether users can ask for it; others serve as another kind's edge.
    epochs : int
        Published number of epochs on CIFAR-10.
    recipe : dict
        What its published recipe changes of `pyhw.training.recipe.Recipe`.
    options : tuple of str
        Options of the recipe that only some kinds read, this one among them.
    sources : dict of str to Source
        Reference implementations whose checkpoints are imported, by name.
    finish : callable, optional
        Takes a network of such layers and its options, does what concerns all layers at once.
    """

    name: str
    conv: Make
    linear: Make
    edge: str = ""
    asked: bool = True
    epochs: int = 200
    recipe: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    finish: Callable[[nn.Module, LayerOptions], None] | None = None


KINDS: Registry[str, Kind] = Registry("Kind name")
"""Every kind by name."""
LAYER_CLASSES: Registry[type, LayerClass] = Registry("Layer class")
"""How layers are treated, by their classes."""


def kind(new: Kind) -> Kind:
    """Register a kind.

    Raises
    ------
    ValueError
        If its name is taken.
    """
    return KINDS.add(new.name, new)


def layer_class(new: LayerClass) -> LayerClass:
    """Register classes of layers.

    Raises
    ------
    ValueError
        If one of them is registered.
    """
    for cls in new.classes:
        LAYER_CLASSES.add(cls, new)
    return new


def layer_class_of(layer: object) -> LayerClass | None:
    """Return how a layer is treated, None of one without weights that pyhw knows of."""
    found = [LAYER_CLASSES[cls] for cls in type(layer).__mro__ if cls in LAYER_CLASSES]
    # A coded layer of one's own may be one of torch's as well.
    return next((known for known in found if known.subclasses), found[0] if found else None)


def plain(layer: Make) -> Make:
    """Return a maker of layers that take no options."""
    return lambda options, *sizes, **named: layer(*sizes, **named)


def with_options(layer: Make, *names: str, **fixed: Any) -> Make:
    """Return a maker of layers that take some of `LayerOptions` by name, and fixed arguments."""

    def make(options: LayerOptions, *sizes: Any, **named: Any) -> nn.Module:
        return layer(*sizes, **named, **fixed, **{name: getattr(options, name) for name in names})

    return make
