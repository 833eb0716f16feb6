"""Parameters for an optimiser, apart by whether weight decay makes sense for them."""

from typing import Any

from torch import nn

from pyhw.nn.shift import ShiftConv2d, ShiftLinear

__all__ = ["parameter_groups"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return a model's trained parameters as groups for an optimiser of `torch.optim`.

    The latents `shift` and `sign` of shift layers decay not at all: it would pull exponents to 0,
    which is to weights of 1, and signs to 0.

    Parameters
    ----------
    model : torch.nn.Module
        Of any layers; frozen parameters are left out.
    weight_decay : float
        Of all other parameters.

    Returns
    -------
    list of dict
        One group, or a second one with the latents.

    Source
    ------
    DeepShift (CVPR workshops 2021), its authors' code.
    """
    latents = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, (ShiftConv2d, ShiftLinear)) and layer.mode == "ps"
        for parameter in (layer.shift, layer.sign)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in latents], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in latents], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
