"""Adder layers and the networks built of them, in PyTorch."""

from pyhw.nn.adaptive import adaptive_step
from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.functional import adder_conv2d
from pyhw.nn.models import LeNet5, build_model

__all__ = ["AdderConv2d", "AdderLinear", "LeNet5", "adaptive_step", "adder_conv2d", "build_model"]
