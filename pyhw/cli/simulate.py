"""``pyhw simulate``: a program on the simulated accelerator, every output compared."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import ConfigFile, DataDir, DoubleBuffer, Preset, Set
from pyhw.errors import UserError


def simulate(
    graph: Annotated[Path, typer.Argument(help="Integer graph (.pyhw): what must come out.")],
    program: Annotated[
        Path | None,
        typer.Option(help="Program (.pyhwprog).", show_default="the graph, compiled now"),
    ] = None,
    verilog: Annotated[
        Path | None,
        typer.Option(help="Verilog, its configuration beside it.", show_default="generated now"),
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    data: Annotated[
        str, typer.Option(help="Test images: digits, mnist, smooth, random, or a .npy file.")
    ] = "digits",
    seed: Annotated[int, typer.Option(min=0, help="Of smooth and random images.")] = 0,
    data_dir: DataDir = None,
    images: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images at once, if compiled now.", show_default="8"),
    ] = None,
    double_buffer: DoubleBuffer = False,
    netlist: Annotated[
        str | None,
        typer.Option(help="Simulate what Yosys makes of it for a family: ecp5, ice40 ..."),
    ] = None,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    debug: Annotated[
        bool, typer.Option("--debug", help="Stop after every layer and compare its whole map.")
    ] = False,
    stalls: Annotated[
        float, typer.Option(min=0, max=0.95, help="Probability of gaps and stalls at the port.")
    ] = 0.0,
    torch: Annotated[
        bool, typer.Option("--torch", help="Hold the quantised torch module against it as well.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Hold ONNX Runtime against it as well.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Keep the outputs (.npz), chunk by chunk.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the images that --out holds.")
    ] = False,
    chunk: Annotated[int, typer.Option(min=1, help="Images per simulation.")] = 64,
) -> None:
    """Run a program on the simulated accelerator and compare every output bit for bit.

    The bench drives only the accelerator's byte port: it loads the program, sends images and
    reads results. The first difference is reported as layer, position, expected, got. With
    --netlist the accelerator is synthesised, and its cells are simulated (docs/proof.md).

    Examples:

      pyhw simulate lenet5.pyhw --data digits --images 16 --debug

      pyhw simulate net.pyhw --program net.pyhwprog --verilog default.v --torch

      pyhw simulate net.pyhw --data mnist --images 999 --out net.npz --resume

      pyhw simulate resnet8.pyhw --data smooth --seed 1 --images 4

      pyhw simulate lenet5.pyhw --images 32 --batch 8 --double-buffer

      pyhw simulate net.pyhw --netlist ecp5 --simulator icarus --images 1
    """
    import pyhw
    from pyhw.cli.progress import simulation_bar, spinner
    from pyhw.configure import choose_config
    from pyhw.inputs import expect, load_images, read_graph, scaling_of
    from pyhw.simulation.launch import find_simulator
    from pyhw.simulation.session import find_exports
    from pyhw.target import read_program
    from pyhw.target.design import read_design

    find_simulator(simulator)  # before the files are read
    find_exports(torch=torch, onnx=onnx)
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    network = read_graph(graph)
    if verilog is not None:
        if preset or config or set_:
            raise UserError("the configuration lies beside --verilog; leave out --preset, "
                            "--config and --set")
        design = read_design(verilog)
    else:
        design = pyhw.generate(choose_config(preset, config, set_ or ()), family=netlist)
    if program is None:
        compiled = pyhw.compile(network, design.config, batch=batch or 8,
                                double_buffer=double_buffer)
    elif batch is not None or double_buffer:
        raise UserError("the program says how many images it takes and how many buffers it has; "
                        "leave out --batch and --double-buffer")
    else:
        expect(program, "program")
        compiled = read_program(program, design.config)
    pixels, labels = load_images(network, data, images, data_dir, seed)
    if shown := scaling_of(network):
        typer.echo(f"images are pixels of 0 to 255; the graph takes in {shown}")
    with spinner("generating Verilog"):
        _ = design.verilog
    with simulation_bar(simulator) as show:
        run = pyhw.simulate(
            network, compiled, pixels, design=design, netlist=netlist, simulator=simulator,
            debug=debug, stalls=stalls, torch=torch, onnx=onnx, out=out, resume=resume,
            chunk=chunk, check=False, progress=show)
    for line in run.report.lines():
        typer.echo(line)
    if labels is not None and len(run.outputs) == len(labels):
        guesses = run.outputs.reshape(len(labels), -1).argmax(axis=1)
        typer.echo(f"{(guesses == labels).sum()} of {len(labels)} images classified correctly")
    for name, difference in run.others.items():
        typer.echo(f"{name}: {difference or 'equal, every output bit'}")
    if run.difference:
        raise UserError(str(run.difference))
