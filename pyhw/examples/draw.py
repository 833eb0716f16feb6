"""Draw an example network: weights from a seed, batch norms calibrated, quantised to a graph."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from pyhw import __version__
from pyhw.errors import UserError
from pyhw.examples import WEIGHTS, find_example
from pyhw.graph.ops import Graph
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.models import MODELS, build_model
from pyhw.nn.options import LayerOptions
from pyhw.nn.shiftadd import ShiftAddConv2d
from pyhw.quantizer.model import quantize_model
from pyhw.quantizer.report import unsaid
from pyhw.quantizer.settings import Settings
from pyhw.synthetic import smooth_images

__all__ = ["draw_example", "draw_model"]

CALIBRATION = 256
"""Images that the batch norms and the quantiser see."""
BATCH = 64
GAMMA, BETA = (0.5, 1.0), (0.75, 1.75)
"""Scales and offsets of batch norms, uniform: ReLU then leaves most values above 0, so that a
comparison of maps compares something, and channels differ."""

Progress = Callable[[int, int, str], None]


def draw_model(name: str, seed: int = 0) -> nn.Module:
    """Build an example with drawn weights and batch norms that fit them, in evaluation mode.

    Adder weights are Laplacian, ordinary ones Gaussian with deviation ``sqrt(2 / fan_in)``; shift
    and masked layers start as published; batch norms get `GAMMA` and `BETA`. PyTorch's global
    random state is left as it was.

    Parameters
    ----------
    name : str
        A drawn example.
    seed : int
        Not negative.

    Raises
    ------
    UserError
        If there is no such example, or it is a trained one.

    Source
    ------
    AdderNet (CVPR 2020), section 4.4: trained adder weights are Laplacian, those of a CNN
    Gaussian; the range -7..6 is from its authors' answers (issue 55 of the code).
    """
    example = find_example(name)
    if example.trained:
        raise UserError(f"the weights of {name} are trained; it cannot be drawn from a seed")
    if not 0 <= seed < 1 << 63:
        raise UserError(f"seed must be a whole number from 0 to {(1 << 63) - 1}, not {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = LayerOptions(**example.layers)
        model = build_model(example.model, example.ops, layers=options)
        _draw(model)
    channels, height, width = MODELS[example.model].input_shape
    _settle(model, smooth_images((height, width, channels), CALIBRATION, seed))
    return model.eval()


@torch.no_grad()
def _draw(model: nn.Module) -> None:
    cascaded = {module[0] for module in model.modules() if isinstance(module, ShiftAddConv2d)}
    for module in model.modules():
        known = layer_class_of(module)
        if known is not None and known.draw is not None and module not in cascaded:
            known.draw(module)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.weight.uniform_(*GAMMA)
            module.bias.uniform_(*BETA)


@torch.no_grad()
def _settle(model: nn.Module, images: np.ndarray) -> None:
    """Take the batch norms' statistics from images, (N, H, W, C) bytes."""
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain averages over all batches
    model.train()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255  # (N, C, H, W)
    for batch in pixels.split(BATCH):
        model(batch.contiguous())


def draw_example(
    name: str,
    seed: int = 0,
    options: Mapping[str, int] | None = None,
    *,
    progress: Progress | None = None,
) -> Graph:
    """Return the integer graph of a drawn example, with 8-bit activations.

    Parameters
    ----------
    name : str
        A drawn example.
    seed : int
        Not negative; equal seeds give equal graphs on one machine.
    options : mapping, optional
        Fields of `pyhw.quantizer.settings.Settings` that are not the example's own.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Raises
    ------
    UserError
        If there is no such example, it is a trained one, or a number is out of range.
    """
    example = find_example(name)
    options = options or {}
    settings = Settings(**{"digits": 3, "weight_bits": 8, **example.settings, **options})
    show = progress or (lambda done, total, text: None)
    show(0, 1, "calibrating")
    model = draw_model(name, seed)
    channels, height, width = MODELS[example.model].input_shape
    with unsaid():  # nothing was trained that could be lost
        quantised = quantize_model(
            model,
            smooth_images((height, width, channels), CALIBRATION, seed),
            settings,
            name=name.replace("-", "_"),
            progress=lambda done, total, layer: show(done, total, f"quantising {layer}"),
        )
    command = f"pyhw example {name} --seed {seed}"
    command += "".join(f" --{name.replace('_', '-')} {n}" for name, n in options.items())
    meta = dict(quantised.graph.meta) | {
        "weights": WEIGHTS.format(seed=seed),
        "command": command,
        "pyhw": __version__,
    }
    return replace(quantised.graph, meta=meta)
