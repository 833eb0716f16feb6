"""From PyTorch to the integer graph."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.errors import UserError
from pyhw.tools import require_torch

if TYPE_CHECKING:
    import numpy as np

    from pyhw.graph.ops import Graph
    from pyhw.nn.convert import Conversion
    from pyhw.quantizer.run import Quantized
    from pyhw.quantizer.settings import Settings
    from pyhw.training.loop import EpochRecord

__all__ = ["convert", "example", "quantize", "quantize_checkpoint", "train"]


def train(
    model: str,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    progress: "Callable[[EpochRecord], None] | None" = None,
    **options: Any,
) -> Path:
    """Train a network of the package, and save its checkpoint after each epoch.

    Parameters
    ----------
    model : str
        A key of `pyhw.nn.models.MODELS`: ``lenet5``, ``resnet20`` ...
    out : path-like, optional
        Checkpoint to write; MODEL-OPS-DATA.pt by default.
    resume : bool
        Go on from the checkpoint `out`.
    data_dir : path-like, optional
        Folder of the data files; the environment's ``PYHW_DATA`` by default.
    device : {'cpu', 'cuda', 'auto'}
    progress : callable, optional
        Called after each epoch with its record: `epoch`, `loss`, `accuracy`, `seconds`.
    **options
        As of ``pyhw train``: `ops`, `data`, `epochs`, `batch`, `lr`, `seed`, `images` ...

    Returns
    -------
    Path
        The checkpoint, which `load`, `quantize` and `quantize_checkpoint` take.

    Raises
    ------
    UserError
        If an option is out of range, data are missing, the checkpoint exists, or the training
        diverges.
    KeyboardInterrupt
        After Ctrl-C; the text says what is kept.

    Examples
    --------
    >>> import pyhw
    >>> checkpoint = pyhw.train("lenet5", ops="adder", data="digits", epochs=1, images=64)
    >>> checkpoint.name
    'lenet5-adder-digits.pt'
    """
    require_torch()
    from pyhw.training.run import choose_device, prepare, run

    trainer, path = prepare(out, resume, data_dir, device=choose_device(device), model=model,
                            **options)
    run(trainer, path, on_epoch=progress)
    return path


def convert(model: Any, ops: str, *, exempt: Sequence[str] | None = None
            ) -> "list[Conversion]":
    """Replace the convolutions and linear layers of a PyTorch model, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Any with `torch.nn.Conv2d` and `torch.nn.Linear` in it.
    ops : {'adder', 'shift-ps', 'shift-q', 'shiftadd', 'pemn'}
        Kind of the new layers (``docs/methods.md``).
    exempt : sequence of str, optional
        Patterns of the paths of layers that stay; the first and the last by default.

    Returns
    -------
    list of Conversion
        What became of each layer: `path`, `before`, `after`, `note`.

    Raises
    ------
    UserError
        If a layer that multiplies has no counterpart, or nothing would be replaced.

    Examples
    --------
    >>> import pyhw, torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(),
    ...                             torch.nn.Conv2d(4, 4, 3))
    >>> [one.after for one in pyhw.convert(model, "shift-q", exempt=[])]
    ['ShiftConv2d', 'ShiftConv2d']
    """
    require_torch()
    from pyhw.nn.convert import convert

    return convert(model, ops, exempt)


def quantize(
    model: Any,
    images: "np.ndarray | None" = None,
    *,
    bits: int = 8,
    weight_bits: int | None = None,
    digits: int = 5,
    terms: int = 3,
    exponent: int = 16,
    residual_terms: int = 3,
    name: str = "network",
    normalise: "tuple[np.ndarray, np.ndarray] | None" = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> "Graph":
    """Turn a trained PyTorch model into an integer graph, without retraining.

    Parameters
    ----------
    model : torch.nn.Module or path-like
        A model in evaluation, which sees pixels / 255; or a checkpoint of ``pyhw train``, whose
        own data set calibrates and tests it.
    images : uint8 array (N, H, W) or (N, H, W, C), optional
        Calibration images for a module: a few hundred of the training set.
    bits : int
        Of activations, 4 to 8.
    weight_bits : int, optional
        Of the weights of inner layers, 2 to 8; `bits` by default.
    digits : int
        Most signed powers of two in an ordinary weight, 1 to 5.
    terms, residual_terms : int
        Most powers of two in the multiplier of a channel and of an added map, 1 to 3.
    exponent : int
        Largest exponent in the multiplier of a channel, 2 to 16.
    name : str
        Of the graph; a checkpoint's has the network's.
    normalise : (array (C,), array (C,)), optional
        Mean and deviation that the data loader took off pixels / 255, if it did.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    Graph
        `meta` holds scales and settings and, of a checkpoint, the accuracy.

    Raises
    ------
    UserError
        If a layer is not supported: which one, and what to use instead; if settings are out of
        range; if images are missing or not what the model takes.

    Examples
    --------
    >>> import numpy as np, pyhw, torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).eval()
    >>> images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    >>> graph = pyhw.quantize(model, images)
    >>> graph.input.shape, len(graph.ops)
    ((8, 8, 1), 2)
    """
    require_torch()
    from pyhw.quantizer.settings import Settings

    settings = Settings(bits=bits, weight_bits=weight_bits, digits=digits, terms=terms,
                        exponent=exponent, residual_terms=residual_terms)
    if isinstance(model, str | os.PathLike):
        if images is not None or normalise is not None:
            raise UserError("images and normalise belong to a module; a checkpoint is calibrated "
                            "with the data it was trained on")
        return quantize_checkpoint(model, settings=settings, progress=progress).graph
    if images is None:
        raise UserError("images must be calibration images for the model, uint8 (N, H, W, C)")
    from pyhw.quantizer.model import quantize_model

    return quantize_model(model, images, settings, name=name, normalise=normalise,
                          progress=progress).graph


def quantize_checkpoint(
    checkpoint: str | os.PathLike[str],
    *,
    settings: "Settings | None" = None,
    data: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    calibration: int = 512,
    test_images: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> "Quantized":
    """Quantise a checkpoint of ``pyhw train``, and measure the graph beside the model.

    Equal inputs give equal graphs.

    Parameters
    ----------
    checkpoint : path-like
    settings : pyhw.quantizer.settings.Settings, optional
        Bits and digits, as the arguments of `quantize`.
    data : str, optional
        ``digits``, ``mnist`` or ``cifar10``, to calibrate with and to test on; the one it was
        trained with by default. Or a ``.npy`` file of images to calibrate with, without a test.
    data_dir : path-like, optional
        Folder of the data files; the environment's ``PYHW_DATA`` by default.
    calibration : int
        Training images to calibrate with, 1 to 4,096.
    test_images : int, optional
        How many to test on, spread evenly over all of them, which is the default; 0 for no test.
    progress : callable, optional
        Called with what is done, the total, and what it is.

    Returns
    -------
    Quantized
        `graph`; `layers`, each with its share of clamped values and its error; `float_accuracy`
        and `integer_accuracy` over the test images, per cent, None without a test.

    Raises
    ------
    UserError
        If the file is no checkpoint, the data are not there, or a layer is not supported.

    Examples
    --------
    >>> import pyhw
    >>> found = pyhw.quantize_checkpoint(pyhw.MODELS / "lenet5_adder_digits.pt")
    >>> f"{found.integer_accuracy:.2f} % of {found.tested} test images"
    '99.83 % of 599 test images'
    """
    require_torch()
    from pyhw.inputs import expect
    from pyhw.quantizer.run import quantize_checkpoint

    path = Path(checkpoint)
    expect(path, "checkpoint")
    return quantize_checkpoint(path, settings, data=data,
                               data_dir=None if data_dir is None else Path(data_dir),
                               calibration=calibration, test_images=test_images,
                               progress=progress)


def example(
    name: str,
    seed: int = 0,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: int,
) -> "Graph":
    """Return an example network: a published one in its published size, or a trained one.

    Where the weights are drawn from a seed, cycles, memory and area are those of the trained
    network, and its answers are guesses.

    Parameters
    ----------
    name : str
        A key of `pyhw.examples.EXAMPLES`: ``lenet5-adder-digits`` is trained, ``resnet20-adder``
        is drawn ...
    seed : int
        Of weights that are drawn, not negative.
    progress : callable, optional
        Called with what is done, the total, and what it is.
    **settings : int
        `weight_bits`, `digits`, `terms`, `exponent` or `residual_terms` of drawn weights, as of
        `quantize`.

    Returns
    -------
    Graph
        `meta["weights"]` says how they were drawn.

    Raises
    ------
    UserError
        If there is no such example, or settings are given for trained weights.
    MissingTool
        If PyTorch, which draws, is missing.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.example("resnet8-adder").input.shape
    (32, 32, 3)
    """
    from pyhw.examples import find_example

    chosen = find_example(name)
    changed = seed != 0 or bool(settings)
    if changed and chosen.trained:
        raise UserError(f"the weights of {name} are trained; leave out all options but --out, or "
                        "quantise its checkpoint with `pyhw quantize`")
    if chosen.path is not None and not changed:
        from pyhw.inputs import read_graph

        return read_graph(chosen.path)
    require_torch(f"it draws {name}")
    from pyhw.examples.draw import draw_example

    return draw_example(name, seed, settings, progress=progress)
