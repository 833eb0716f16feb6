"""What to use instead of a layer that cannot be quantised."""

__all__ = ["SUPPORTED", "advise"]

SUPPORTED = (
    "Conv2d, Linear, AdderConv2d, AdderLinear, coded layers, BatchNorm1d/2d, ReLU and the other "
    "activations, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, ZeroPad2d, Flatten, Dropout, Identity, "
    "+, arithmetic with constants, and torch.cat; of transformers LayerNorm, Softmax and what is "
    "in pyhw.nn.attention and pyhw.nn.tokens"
)
"""What the quantiser knows."""

_INSTEAD = {
    "mixtures are not quantised yet: train on from the network before its mixture": (
        "Combine Router"
    ),
    "use a 3x3 depthwise convolution of the map, `BinaryLinearAttention(side=...)`": (
        "TokenConvolution"
    ),
    "leave the class token out and average the map": "ClassToken",
    "use BatchNorm2d": (
        "GroupNorm InstanceNorm1d InstanceNorm2d LocalResponseNorm RMSNorm SyncBatchNorm"
    ),
    "use AdaptiveAvgPool2d of a map": "AdaptiveAvgPool1d AdaptiveAvgPool3d",
    "use AdaptiveMaxPool2d of a map": "AdaptiveMaxPool1d AdaptiveMaxPool3d",
    "use AvgPool2d or MaxPool2d": "FractionalMaxPool2d LPPool2d AvgPool1d MaxPool1d",
    "negate what it reads (-x) and leave it out: the largest output is the same": "Softmin",
    "use Conv2d with a kernel of height 1": "Conv1d",
    "use Conv2d with a larger map": "ConvTranspose2d Upsample",
    "use ZeroPad2d and train again": "ConstantPad2d ReflectionPad2d ReplicationPad2d CircularPad2d",
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
