"""The command ``pyhw train``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyhw.cli.names import (
    OPS,
    Attention,
    Data,
    Device,
    Gradient,
    Mlp,
    Model,
    Optimizer,
    Precision,
    Schedule,
    Sharing,
)
from pyhw.cli.options import DataDir

_METHOD = "Options of methods"
_RECIPE = "Options of the recipe"


def train(
    model: Annotated[Model, typer.Argument(help="Network to train.")],
    ops: Annotated[
        str | None,
        typer.Option(
            metavar=f"[{'|'.join(OPS)}|...]",
            help="Inner layers: L1 distance, convolution, shifts (DeepShift PS or Q), shift then "
            "L1 (ShiftAddNet), masks on random weights (PEMN), or a kind of an extension.",
            show_default="adder, transformers conv",
        ),
    ] = None,
    data: Annotated[
        Data | None,
        typer.Option(
            help="scikit-learn's 1,797 digits, MNIST from its four IDX files, or CIFAR-10 from its "
            "JPEG copy.",
            show_default="digits",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="Take so many training images, and at most as many test images, drawn by the "
            "seed, for a trial; 0 for all.",
            show_default="0",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the data.", show_default="digits 60, mnist 30, cifar10 as published"
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images per step.", show_default="256, digits 64")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Highest learning rate.", show_default="of the method"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides everything random.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to write.", show_default="MODEL-OPS-DATA.pt"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint --out.")
    ] = False,
    data_dir: DataDir = None,
    device: Annotated[
        Device, typer.Option(help="Where to compute; auto takes a GPU if there is one.")
    ] = Device.CPU,
    log_dir: Annotated[Path | None, typer.Option(help="Folder of TensorBoard logs.")] = None,
    teacher: Annotated[
        bool | None,
        typer.Option(
            "--teacher/--no-teacher",
            help="Adder layers: learn from a CNN trained beside (PKKD).",
            show_default="no",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    gradient: Annotated[
        Gradient | None,
        typer.Option(
            help="Adder layers: full-precision weight gradient, or its sign.",
            show_default="full",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    eta: Annotated[
        float | None,
        typer.Option(
            help="Adder layers: size of the adaptive step; 0 for none.",
            show_default="0.2",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    increase: Annotated[
        float | None,
        typer.Option(
            help="Adder layers: learning rate over that of the others, instead of that step.",
            show_default="1",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            help="Shift layers: bits of a weight, 2 to 8.",
            show_default="5",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    terms: Annotated[
        int | None,
        typer.Option(
            help="Shift layers: powers of two per weight, 1 or 2.",
            show_default="1",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    low: Annotated[
        int | None,
        typer.Option(
            help="Shift layers: smallest exponent of a weight.",
            show_default="by --bits",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    frozen: Annotated[
        bool | None,
        typer.Option(
            "--frozen/--no-frozen",
            help="ShiftAddNet: shift layers keep their first weights.",
            show_default="no",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(
            help="ShiftAddNet: share of frozen shift weights that are 0.",
            show_default="0",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    sharing: Annotated[
        Sharing | None,
        typer.Option(
            help="PEMN: own random weights, or all from one layer, the largest, or a vector.",
            show_default="dense",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            help="PEMN, rp: the vector's length over the largest layer's.",
            show_default="1",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="PEMN: share of the weights that are masked out.",
            show_default="0.5",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(
            help="Transformers: softmax, without spatial reduction, with powers of two for "
            "weights, by L1 distances, of signs; linear, of signs; that with shift layers.",
            show_default="softmax",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    mlp: Annotated[
        Mlp | None,
        typer.Option(
            help="ShiftAddViT: MLPs of ordinary layers, shift layers, or mixtures of both.",
            show_default="dense",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    latency_ratio: Annotated[
        float | None,
        typer.Option(
            help="ShiftAddViT, moe: time of a token in multiplication over that in shift.",
            show_default="1.5",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    gate_scale: Annotated[
        bool | None,
        typer.Option(
            "--gate-scale/--no-gate-scale",
            help="ShiftAddViT, moe: scale an expert's answer by its probability.",
            show_default="yes",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    balance: Annotated[
        float | None,
        typer.Option(
            help="ShiftAddViT, moe: weight of the latency-aware loss.",
            show_default="0.01",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start from this checkpoint of the same network in any form.",
            show_default="fresh weights",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    learn_from: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint of a teacher whose answers take the place of the labels.",
            show_default="none",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="With --learn-from: divides the logits of both.",
            show_default="1",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    sliced: Annotated[
        bool | None,
        typer.Option(
            "--sliced/--no-sliced",
            help="SReT: tokens attend within slices.",
            show_default="yes",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    loops: Annotated[
        int | None,
        typer.Option(
            help="SReT: how often each block runs in a row, 1 to 4.",
            show_default="2",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    drop_path: Annotated[
        float | None,
        typer.Option(
            help="Transformers: share of the images that skip the last block in training.",
            show_default="0",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(
            help="What takes the steps.", show_default="of the method", rich_help_panel=_RECIPE
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help="Course of the learning rate.",
            show_default="of the method",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(
            help="Epochs in which the learning rate rises.",
            show_default="0, transformers 5",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    smoothing: Annotated[
        float | None,
        typer.Option(
            help="Share of a label that is spread over all classes.",
            show_default="0, transformers 0.1",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            help="Blend images and labels by shares of a beta distribution with this parameter; 0 "
            "for none.",
            show_default="0",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(help="Momentum of SGD.", show_default="0.9", rich_help_panel=_RECIPE),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Weight decay.", show_default="of the method", rich_help_panel=_RECIPE),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Of products in training.", show_default="float32", rich_help_panel=_RECIPE
        ),
    ] = None,
    shift: Annotated[
        int | None,
        typer.Option(
            help="Move training images by up to this many pixels.",
            show_default="2, cifar10 4",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    turn: Annotated[
        float | None,
        typer.Option(
            help="Turn every other one by up to this many degrees.",
            show_default="10, cifar10 0",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    zoom: Annotated[
        float | None,
        typer.Option(
            help="Scale them by up to this fraction.",
            show_default="0.1, cifar10 0",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror every other image.",
            show_default="cifar10 only",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="With a teacher: weight of the labels.", show_default="1", rich_help_panel=_RECIPE
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="With a teacher: weight of its features.",
            show_default="0.03",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
) -> None:
    """Train a multiplier-free network and save its checkpoint.

    The checkpoint is saved after each epoch. Ctrl-C keeps the last one; `--resume` goes on from
    it and ends with the same weights as a training that was never interrupted. Several processes
    share each batch when `torchrun --nproc-per-node N -m pyhw train ...` starts them.

    Examples:
    pyhw train lenet5

    pyhw train lenet5 --data mnist --data-dir ~/mnist --out mnist.pt

    pyhw train lenet5 --resume --out mnist.pt

    pyhw train lenet5 --ops adder --teacher --data mnist

    pyhw train lenet5 --ops shiftadd --frozen --prune 0.5 --low -7

    pyhw train lenet5 --ops pemn --sharing rp --fraction 0.01

    pyhw train shiftaddvit-mnist --attention linear --start vit.pt --out linear.pt
    """
    given: dict[str, Any] = dict(locals())
    from pyhw.tools import require_torch

    require_torch()
    from pyhw.training.report import train_with_progress

    options: dict[str, Any] = {
        name: str(value) if isinstance(value, str) else value for name, value in given.items()
    }
    train_with_progress(**options)
