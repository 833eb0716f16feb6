"""What to use instead of a layer that cannot be quantised."""

__all__ = ["SUPPORTED", "advise"]

SUPPORTED = (
    "Conv2d, Linear, AdderConv2d, AdderLinear, coded layers, BatchNorm1d/2d, ReLU, ReLU6, GELU, "
    "SiLU, Hardswish, Sigmoid, Tanh, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten, "
    "Dropout, Identity, + and torch.cat"
)
"""What the quantiser knows."""

_INSTEAD = {
    "use ReLU": (
        "CELU ELU Hardtanh LeakyReLU LogSigmoid Mish PReLU RReLU SELU Softplus Softsign Threshold"
    ),
    "use BatchNorm2d": (
        "GroupNorm InstanceNorm1d InstanceNorm2d LayerNorm LocalResponseNorm RMSNorm SyncBatchNorm"
    ),
    "use AvgPool2d with the map's size as its kernel": "AdaptiveAvgPool1d AdaptiveAvgPool3d",
    "use MaxPool2d with the map's size as its kernel": "AdaptiveMaxPool1d AdaptiveMaxPool2d",
    "use AvgPool2d or MaxPool2d": "FractionalMaxPool2d LPPool2d AvgPool1d MaxPool1d",
    "leave it out: the largest output is the same": "LogSoftmax Softmax Softmax2d Softmin",
    "use Conv2d with a kernel of height 1": "Conv1d",
    "use Conv2d with a larger map": "ConvTranspose2d Upsample",
    "use the padding of the layer after it": "ConstantPad2d ReflectionPad2d ZeroPad2d",
    "use Dropout, which does nothing at inference": "AlphaDropout FeatureAlphaDropout",
}


def advise(layer: object) -> str:
    """Return what to use instead of a layer, one phrase.

    Parameters
    ----------
    layer : torch.nn.Module
        Of a type that is not supported.
    """
    name = type(layer).__name__
    for phrase, names in _INSTEAD.items():
        if name in names.split():
            return phrase
    return f"use {SUPPORTED}"
