"""``pyhw quantize``: a checkpoint becomes an integer graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import DataDir

if TYPE_CHECKING:
    from pyhw.quantizer.run import Quantized


def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.pt) of `pyhw train`.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Graph to write.", show_default="CHECKPOINT.pyhw"),
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of activations, 4 to 8.")] = 8,
    weight_bits: Annotated[
        int | None,
        typer.Option(help="Bits of inner layers' weights, 2 to 8.", show_default="--bits"),
    ] = None,
    digits: Annotated[
        int,
        typer.Option(
            help="Most signed powers of two in an ordinary weight, 1 to 5; 5 is any 8-bit weight, "
            "each one less saves that share of the layer's cycles."
        ),
    ] = 5,
    terms: Annotated[
        int, typer.Option(help="Most powers of two in a channel's multiplier, 1 to 3.")
    ] = 3,
    exponent: Annotated[
        int,
        typer.Option(
            help="Largest exponent of one, 2 to 16: 7 makes a fitted accelerator's post-processor "
            "a third smaller."
        ),
    ] = 16,
    residual_terms: Annotated[
        int, typer.Option(help="Most powers of two in the multiplier of an added map, 1 to 3.")
    ] = 3,
    stream_bits: Annotated[
        int, typer.Option(help="Bits of a transformer's residual stream, 8 to 16.")
    ] = 16,
    softmax_digits: Annotated[
        int,
        typer.Option(help="Most powers of two in a softmax's weight, 1 to 4; 1: log2 softmax."),
    ] = 2,
    token_terms: Annotated[
        int, typer.Option(help="Most powers of two in a token's multiplier, 1 to 4.")
    ] = 3,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist or cifar10, to calibrate with and to test on; or images to "
            "calibrate with, a .npy file of bytes (N, H, W, C), without a test.",
            show_default="as it was trained",
        ),
    ] = None,
    calibration: Annotated[int, typer.Option(help="Training images to calibrate with.")] = 512,
    test_images: Annotated[
        int | None,
        typer.Option(min=0, help="Images to test on; 0 for no test.", show_default="all"),
    ] = None,
    data_dir: DataDir = None,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="Draw the error of every layer against floating point."),
    ] = False,
) -> None:
    """Turn a checkpoint into an integer graph, without retraining.

    Prints a line per layer and the accuracy over the test images: the model's in floating point,
    and the graph's in exact integers. The first and the last layer keep 8-bit weights.

    Examples:

      pyhw quantize lenet5.pt --out lenet5.pyhw

      pyhw quantize lenet5.pt --bits 5 --digits 3 --out lenet5-5bit.pyhw

      pyhw quantize sret-mnist.pt --softmax-digits 1 --errors

      pyhw quantize mnist.pt --data mnist --data-dir ~/mnist --calibration 1024 --test-images 500

      pyhw quantize resnet50-shiftaddnet.pt --data images.npy
    """
    from pyhw.tools import require_torch

    require_torch()
    import pyhw
    from pyhw.cli.progress import bar
    from pyhw.inputs import check_output, expect
    from pyhw.quantizer.settings import Settings

    settings = Settings(
        bits=bits, weight_bits=weight_bits, digits=digits, terms=terms, exponent=exponent,
        residual_terms=residual_terms, stream_bits=stream_bits, softmax_digits=softmax_digits,
        token_terms=token_terms,
    )  # fmt: skip
    expect(checkpoint, "checkpoint")
    path = out or checkpoint.with_suffix(".pyhw")
    check_output(path, "graph")
    with bar("reading") as update:
        found = pyhw.quantize_checkpoint(checkpoint, settings=settings, data=data,
                                         data_dir=data_dir, calibration=calibration,
                                         test_images=test_images, progress=update)
    pyhw.save(found.graph, path)
    _print(found)
    if errors:
        from pyhw.quantizer.report import error_chart

        typer.echo(error_chart(found.layers))
    typer.echo(f"{path}: {path.stat().st_size:,} bytes")


def _print(found: "Quantized") -> None:
    from rich.console import Console
    from rich.table import Table

    from pyhw.inputs import notes_of, scaling_of
    from pyhw.quantizer.run import LEFT

    head, *rows = found.rows()
    table = Table(title=found.graph.name)
    for column, name in enumerate(head):
        table.add_column(name, justify="left" if column < LEFT else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if shown := scaling_of(found.graph):
        typer.echo(f"images are pixels of 0 to 255; the graph takes in {shown}")
    typer.echo(found.accuracy)
    for note in notes_of(found.graph):
        typer.echo(f"note: {note}")
