"""PEMN: masks on fixed random powers of two."""

from pyhw.nn.masked import MaskedConv2d, MaskedLinear
from pyhw.nn.prototypes import share_prototypes

from .base import Kind, LayerClass, Source, kind, layer_class, with_options
from .shifts import coded_counts

__all__: list[str] = []

layer_class(LayerClass(
    classes=(MaskedConv2d, MaskedLinear), form="coded", subclasses=True, counts=coded_counts,
    weight=lambda layer: layer.effective_weight(), prototype=lambda layer: layer.prototype,
))  # fmt: skip
# PEMN (NeurIPS 2022), its authors' README command.
kind(Kind(
    name="pemn", epochs=100, conv=with_options(MaskedConv2d, "sparsity", "bits"),
    linear=with_options(MaskedLinear, "sparsity", "bits"),
    recipe={"optimizer": "adamw", "lr": 0.05, "weight_decay": 0.005, "schedule": "ramp"},
    options=("sharing", "fraction", "sparsity"),
    finish=lambda model, options: share_prototypes(model, options.sharing, options.fraction),
    sources={"pemn": Source(
        ops="pemn",
        refused="its networks have GELU before each batch norm and random floats for weights, "
        "pyhw's ReLU after it and random powers of two, so they do not compute the same; "
        "train one with `pyhw train convmixer-256-6 --ops pemn`",
    )},
))  # fmt: skip
