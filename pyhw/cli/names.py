"""Names that the command line offers, written out so that help needs no PyTorch.

A test holds each to the list it repeats.
"""

from enum import StrEnum

__all__ = ["OPS", "SOURCES", "Attention", "Data", "Device", "Gradient", "Interface", "Mlp", "Model",
           "Optimizer", "Precision", "Schedule", "Sharing", "Sweep"]

OPS = ("adder", "conv", "shift-ps", "shift-q", "shiftadd", "pemn")
"""Kinds of inner layers that come with pyhw: `pyhw.nn.kinds.OPS`. Extensions may add some."""
SOURCES = ("addernet", "shiftaddnet", "deepshift", "pemn", "sret", "pvt", "shiftaddvit", "deit")
"""Reference implementations that come with pyhw: `pyhw.training.keys.sources()`."""


class Model(StrEnum):
    """Networks: `pyhw.nn.models.MODELS`."""

    LENET1 = "lenet1"
    LENET5 = "lenet5"
    VGG_SMALL = "vgg-small"
    RESNET8 = "resnet8"
    RESNET20 = "resnet20"
    RESNET32 = "resnet32"
    RESNET18 = "resnet18"
    RESNET50 = "resnet50"
    CONVMIXER_256_6 = "convmixer-256-6"
    CONVMIXER_256_8 = "convmixer-256-8"
    DS_CNN = "ds-cnn"
    SRET_T = "sret-t"
    SRET_LT = "sret-lt"
    SRET_S = "sret-s"
    SRET_CIFAR = "sret-cifar"
    SRET_MNIST = "sret-mnist"
    PVTV2_B0 = "pvtv2-b0"
    PVTV2_B1 = "pvtv2-b1"
    PVT_TINY = "pvt-tiny"
    SHIFTADDVIT_CIFAR = "shiftaddvit-cifar"
    SHIFTADDVIT_MNIST = "shiftaddvit-mnist"
    DEIT_TINY = "deit-tiny"
    MNIST_LINEAR = "mnist-linear"
    MNIST_CONV = "mnist-conv"
    VGG19_SMALL = "vgg19-small"
    RESNET20_A = "resnet20-a"
    RESNET32_A = "resnet32-a"
    RESNET44_A = "resnet44-a"
    RESNET56_A = "resnet56-a"
    RESNET18_A = "resnet18-a"
    RESNET18_FC = "resnet18-fc"
    RESNET50_FC = "resnet50-fc"
    RESNET18_1X1 = "resnet18-1x1"


class Data(StrEnum):
    """Data sets: `pyhw.training.data.DATASETS`."""

    DIGITS = "digits"
    MNIST = "mnist"
    CIFAR10 = "cifar10"


class Device(StrEnum):
    """Where to train: `pyhw.training.run.DEVICES`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Optimizer(StrEnum):
    """Optimisers: `pyhw.training.methods.OPTIMIZERS`."""

    SGD = "sgd"
    ADAMW = "adamw"
    RADAM = "radam"


class Schedule(StrEnum):
    """Courses of the learning rate: `pyhw.training.methods.SCHEDULES`."""

    COSINE = "cosine"
    STEPS = "steps"
    RAMP = "ramp"


class Precision(StrEnum):
    """Precision of products in training: `pyhw.training.recipe.PRECISIONS`."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Gradient(StrEnum):
    """Weight gradients of adder layers: `pyhw.training.recipe.GRADIENTS`."""

    FULL = "full"
    SIGN = "sign"


class Attention(StrEnum):
    """Forms of attention: `pyhw.training.recipe.ATTENTIONS`."""

    SOFTMAX = "softmax"
    LOG2 = "log2"
    ADDER = "adder"
    BINARY = "binary"
    MSA = "msa"
    LINEAR = "linear"
    SHIFTADD = "shiftadd"


class Mlp(StrEnum):
    """Layers of MLPs: `pyhw.training.recipe.MLPS`."""

    DENSE = "dense"
    SHIFT = "shift"
    MOE = "moe"


class Interface(StrEnum):
    """What stands around an accelerator: `pyhw.verilog.INTERFACES`."""

    BYTES = "bytes"
    SERIAL = "serial"
    AXI = "axi"


class Sharing(StrEnum):
    """Where PEMN takes weights from: `pyhw.training.recipe.SHARINGS`."""

    DENSE = "dense"
    ONE_LAYER = "one-layer"
    MP = "mp"
    RP = "rp"


class Sweep(StrEnum):
    """Tables of results: `pyhw.training.sweeps.SWEEPS`."""

    MNIST = "mnist"
    DIGITS = "digits"
    CIFAR10 = "cifar10"
    CIFAR10_TRIAL = "cifar10-trial"
    VIT_MNIST = "vit-mnist"
    VIT_CIFAR10 = "vit-cifar10"
