"""Example networks: published topologies to simulate and profile before anything is trained.

Their weights are drawn from a seed with the published statistics, not trained, and the graph says
so (`WEIGHTS` in its meta). Cycles, memory and area do not depend on what the weights are; accuracy
does, and theirs is that of a guess. The LeNet-5s are trained.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyhw import MODELS
from pyhw.errors import UserError

__all__ = ["EXAMPLES", "WEIGHTS", "Example", "find_example"]

WEIGHTS = "drawn from seed {seed} with published statistics, not trained"
"""Entry ``weights`` of an example's meta."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example network.

    Attributes
    ----------
    summary : str
        What it is, in one line.
    model, ops : str
        Keys of `pyhw.nn.models.MODELS` and kind of the layers; empty for a trained one.
    layers : dict
        Fields of `pyhw.nn.options.LayerOptions`.
    settings : dict
        Fields of `pyhw.quantizer.settings.Settings` besides three digits and 8-bit weights.
    bundled : str or None
        File in ``pyhw/models`` (for drawn ones: of seed 0), if it comes with the package.
    """

    summary: str
    model: str = ""
    ops: str = "adder"
    layers: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, int] = field(default_factory=dict)
    bundled: str | None = None

    @property
    def trained(self) -> bool:
        """Whether its weights are trained ones."""
        return not self.model

    @property
    def path(self) -> Path | None:
        """The bundled file."""
        return None if self.bundled is None else MODELS / self.bundled


# Four-bit codes hold exponents 0..6; `bits=4` draws weights that span no more.
EXAMPLES = {
    "resnet20-adder": Example(
        summary="ResNet-20 AdderNet, 32x32x3 (CIFAR-10)",
        model="resnet20",
        bundled="resnet20_adder.pyhw",
    ),
    "resnet20-shiftadd": Example(
        summary="ResNet-20 ShiftAddNet, 32x32x3 (CIFAR-10)",
        model="resnet20",
        ops="shiftadd",
        layers={"bits": 4},
        bundled="resnet20_shiftadd.pyhw",
    ),
    "resnet8-adder": Example(
        summary="ResNet-8 AdderNet, 32x32x3 (MLPerf Tiny's image classification)",
        model="resnet8",
        bundled="resnet8_adder.pyhw",
    ),
    "ds-cnn-adder": Example(
        summary="DS-CNN, 10x49x1 (MLPerf Tiny's keywords): one power of two, then adder layers",
        model="ds-cnn",
        settings={"terms": 2, "exponent": 7},
        bundled="ds_cnn_adder.pyhw",
    ),
    "vgg-small-adder": Example(
        summary="VGG-small AdderNet, 32x32x3 (CIFAR-10): 4.6 M weights",
        model="vgg-small",
    ),
    "convmixer-256-6-pemn": Example(
        summary="ConvMixer-256/6 PEMN, 32x32x3: half of one vector's powers of two, masked",
        model="convmixer-256-6",
        ops="pemn",
        layers={"bits": 4, "sharing": "rp", "fraction": 0.01, "sparsity": 0.5},
        bundled="convmixer_256_6_pemn.pyhw",
    ),
    "lenet1-adder-mnist": Example(
        summary="LeNet-1 AdderNet, trained on MNIST: for the smallest devices",
        bundled="lenet1_adder_mnist.pyhw",
    ),
    "lenet5-adder-digits": Example(
        summary="LeNet-5 AdderNet, trained on scikit-learn's digits",
        bundled="lenet5_adder_digits.pyhw",
    ),
    "lenet5-adder-mnist": Example(
        summary="LeNet-5 AdderNet, trained on MNIST", bundled="lenet5_adder_mnist.pyhw"
    ),
    "lenet5-conv-mnist": Example(
        summary="LeNet-5, ordinary weights as sums of powers of two, trained on MNIST",
        bundled="lenet5_conv_mnist.pyhw",
    ),
}
"""Every example by name."""


def find_example(name: str) -> Example:
    """Return an example.

    Raises
    ------
    UserError
        If there is none of that name.
    """
    if name not in EXAMPLES:
        raise UserError(f"example must be one of {', '.join(EXAMPLES)}, not {name!r}")
    return EXAMPLES[name]
