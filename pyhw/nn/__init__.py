"""Multiplier-free layers and the networks built of them, in PyTorch."""

from pyhw.extensions import import_layers
from pyhw.nn.adaptive import adaptive_step
from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.coded import CodedWeight
from pyhw.nn.compact import CompactMasks, compact, restore
from pyhw.nn.convert import Conversion, convert
from pyhw.nn.functional import adder_conv2d
from pyhw.nn.groups import parameter_groups
from pyhw.nn.masked import MaskedConv2d, MaskedLinear
from pyhw.nn.models import MODELS, OPS, LeNet5, build_model
from pyhw.nn.options import LayerOptions
from pyhw.nn.prototypes import share_prototypes
from pyhw.nn.shift import ShiftConv2d, ShiftLinear
from pyhw.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear
from pyhw.nn.transfer import transfer
from pyhw.nn.vit import convert_vit

__all__ = [
    "AdderConv2d", "AdderLinear", "ShiftConv2d", "ShiftLinear", "ShiftAddConv2d",
    "ShiftAddLinear", "MaskedConv2d", "MaskedLinear", "CodedWeight", "LayerOptions",
    "share_prototypes", "CompactMasks", "compact", "restore",
    "LeNet5", "MODELS", "OPS", "build_model", "Conversion", "convert",
    "convert_vit", "transfer",
    "parameter_groups", "adaptive_step", "adder_conv2d",
]  # fmt: skip

import_layers()
