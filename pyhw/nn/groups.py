"""Parameters for an optimiser, apart by whether weight decay makes sense for them."""

from typing import Any

from torch import nn

from pyhw.nn.kinds import layer_class_of
from pyhw.nn.tokens import ClassToken, Coefficient, PositionEmbedding

__all__ = ["parameter_groups"]

UNDECAYED = (nn.LayerNorm, ClassToken, Coefficient, PositionEmbedding)
"""Modules whose parameters do not decay, as in the published recipes of transformers."""


def parameter_groups(
    model: nn.Module, weight_decay: float, increase: float = 1.0
) -> list[dict[str, Any]]:
    """Return a model's trained parameters as groups for an optimiser of `torch.optim`.

    The latents `shift` and `sign` of shift layers decay not at all: it would pull exponents to 0,
    which is to weights of 1, and signs to 0. Nor do those of layer norms, residual scales and
    position embeddings.

    Parameters
    ----------
    model : torch.nn.Module
        Of any layers; frozen parameters are left out.
    weight_decay : float
        Of all other parameters.
    increase : float
        Learning rate of adder layers' weights over that of the other parameters.

    Returns
    -------
    list of dict
        Those of parameters, adder weights (if their rate is another one) and undecayed ones that
        there are; ``increase`` of each is the factor of its learning rate.

    Source
    ------
    DeepShift (CVPR workshops 2021), its authors' code; AdderNet (CVPR 2020), section 4.4, for the
    increased learning rate.
    """
    layers = [
        (known, layer)
        for layer in model.modules()
        if (known := layer_class_of(layer)) is not None
    ]
    undecayed = {
        id(parameter)
        for known, layer in layers
        for parameter in known.latents(layer)
    }
    undecayed |= {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, UNDECAYED)
        for parameter in layer.parameters(recurse=False)
    }
    adders = {
        id(parameter)
        for known, layer in layers
        if increase != 1
        for parameter in known.increased(layer)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    others = [p for p in trained if id(p) not in undecayed | adders]
    groups = [
        {"params": others, "weight_decay": weight_decay, "increase": 1.0},
        {"params": [p for p in trained if id(p) in adders], "weight_decay": weight_decay,
         "increase": increase},
        {"params": [p for p in trained if id(p) in undecayed], "weight_decay": 0.0,
         "increase": 1.0},
    ]  # fmt: skip
    return [group for group in groups if group["params"]]
