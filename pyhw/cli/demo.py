"""``pyhw demo``: the whole path on handwritten digits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyhw.cli.options import ConfigFile, Preset, Set
from pyhw.errors import UserError, writing
from pyhw.files import replacing

if TYPE_CHECKING:
    import numpy as np

    from pyhw.graph.ops import Graph
    from pyhw.target import Program
    from pyhw.target.design import Design

SHADES = " .:-=+*#%@"
BATCH = 8
"""Most images held at once; more are sent batch by batch."""


def demo(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    images: Annotated[int, typer.Option(min=1, max=64, help="Digits to simulate.")] = 4,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    keep: Annotated[
        Path | None, typer.Option(help="Keep graph, program and Verilog in this folder.")
    ] = None,
) -> None:
    """Show the whole path on handwritten digits, checked bit for bit.

    A LeNet-5 AdderNet, trained on scikit-learn's digits, is quantised to integers, compiled to a
    program, and run on an accelerator generated as Verilog; after every layer the map in its
    memory is compared with the golden integers and with the quantised torch module.

    Examples:

      pyhw demo

      pyhw demo --images 8 --set groups=4 --keep demo
    """
    import os
    import time

    import pyhw
    from pyhw.cli.compile import print_estimate
    from pyhw.cli.progress import bar, simulation_bar, spinner
    from pyhw.configure import choose_config
    from pyhw.graph.execute import run_layers
    from pyhw.inputs import load_images
    from pyhw.simulation.launch import find_simulator
    from pyhw.simulation.network import first_difference
    from pyhw.simulation.session import find_exports, run_torch_layers

    started = time.monotonic()
    chosen = choose_config(preset, config, set_ or ())
    find_simulator(simulator)
    find_exports(torch=True, onnx=False)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as for `pyhw train`
    checkpoint = pyhw.MODELS / "lenet5_adder_digits.pt"

    typer.echo("1. A trained AdderNet: LeNet-5 with L1 distances instead of products")
    from pyhw.quantizer.run import quantize_checkpoint

    with bar("quantising") as update:
        outcome = quantize_checkpoint(checkpoint, progress=update)
    graph = outcome.graph
    typer.echo(f"   {outcome.float_accuracy:.2f} % of {outcome.tested} held-out digits in "
               f"floating point\n2. Quantised to 8-bit integers: "
               f"{outcome.integer_accuracy:.2f} %")
    program = pyhw.compile(graph, chosen, batch=min(images, BATCH))
    typer.echo(f"3. Compiled for {chosen.name}: {len(program.layers)} layers, "
               f"{program.size:,} bytes")
    print_estimate(program)
    design = pyhw.generate(chosen)
    with spinner("generating Verilog"):
        verilog = design.verilog
    typer.echo(f"4. Generated {len(verilog.splitlines()):,} lines of Verilog, no multiplier")
    if keep is not None:
        _keep(keep, graph, program, design)
    pixels, labels = load_images(graph, "digits", images)
    with simulation_bar(simulator) as show:
        run = pyhw.simulate(graph, program, pixels, design=design, simulator=simulator,
                            debug=True, check=False, progress=show)
    typer.echo("5. Simulated through its byte port, every layer's memory read back")
    for line in run.lines():
        typer.echo(f"   {line}")
    golden, torch_values = run_layers(graph, pixels), run_torch_layers(graph, pixels)
    wrong = [first_difference(name, golden[name], value)
             for name, value in torch_values.items() if name in golden]
    difference = run.difference or next(filter(None, wrong), None)
    typer.echo(f"   quantised torch module: {'differs' if any(wrong) else 'equal'} in "
               f"{len(torch_values)} layers, every value")
    guesses = run.outputs.reshape(len(pixels), -1).argmax(axis=1)
    assert labels is not None
    _picture(pixels[0, :, :, 0], int(guesses[0]), int(labels[0]))
    typer.echo(f"{(guesses == labels).sum()} of {len(labels)} digits read correctly, "
               f"{time.monotonic() - started:.0f} s in all")
    if difference is not None:
        raise UserError(f"hardware and PyTorch differ: {difference}")
    typer.secho("Hardware, golden executor and PyTorch agree on every bit of every layer.",
                bold=True)


def _keep(folder: Path, graph: "Graph", program: "Program", design: "Design") -> None:
    """Write what the demonstration made, over nothing else."""
    import tempfile

    import pyhw

    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        pyhw.save(graph, made / "lenet5.pyhw")
        pyhw.save(program, made / "lenet5.pyhwprog")
        pyhw.save(design, made / "accelerator.v")
        files = {path.name: path.read_bytes() for path in made.iterdir()}
    for name, data in files.items():
        path = folder / name
        if path.exists() and not (path.is_file() and path.read_bytes() == data):
            raise UserError(f"{path} is there already and is another: keep in another folder")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with replacing(folder / name) as file:
                file.write(data)


def _picture(image: "np.ndarray", guess: int, label: int) -> None:
    """Print every second row of a digit, and what the accelerator read."""
    for row in image[::2]:
        typer.echo("   " + "".join(SHADES[int(v) * (len(SHADES) - 1) // 255] for v in row))
    typer.echo(f"   read as {guess}, labelled {label}")
