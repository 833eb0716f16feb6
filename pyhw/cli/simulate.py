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
    from pyhw.cli.progress import simulation_bar, spinner
    from pyhw.compiler import compile_graph
    from pyhw.configure import choose_config, read_config
    from pyhw.families import find_family
    from pyhw.fitter.memories import in_blocks
    from pyhw.inputs import load_images, read_file, read_graph, read_program
    from pyhw.simulation.launch import find_simulator
    from pyhw.simulation.network import check_program
    from pyhw.simulation.results import Results
    from pyhw.simulation.session import exports_agree, find_exports, simulate_chunks
    from pyhw.synthesis.netlist import netlist as make_netlist
    from pyhw.tools import find_yosys
    from pyhw.verilog import cached_verilog, first_line

    find_simulator(simulator)
    find_exports(torch=torch, onnx=onnx)
    if netlist is not None:
        find_family(netlist)
        find_yosys()
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    network = read_graph(graph)
    if verilog is not None:
        if preset or config or set_:
            raise UserError("the configuration lies beside --verilog; leave out --preset, "
                            "--config and --set")
        beside = verilog.with_suffix(".json")
        if not beside.exists():
            raise UserError(f"{verilog} needs its configuration {beside}, which pyhw generate "
                            "writes beside it")
        chosen = read_config(beside)
        text = read_file(verilog, lambda path: path.read_text("utf-8", "replace"))
        if not text.startswith(first_line(chosen)):
            raise UserError(f"{verilog} is not the Verilog of the configuration {beside}: write "
                            "both again with pyhw generate")
    else:
        chosen = choose_config(preset, config, set_ or ())
        if netlist is not None:  # as `pyhw synth`
            chosen = in_blocks(chosen, netlist)
    if program is not None and (batch is not None or double_buffer):
        raise UserError("the program says how many images it takes and how many buffers it has; "
                        "leave out --batch and --double-buffer")
    if program is None:
        compiled = compile_graph(network, chosen, batch or 8, double_buffer=double_buffer)
    else:
        compiled = read_program(program)
    check_program(compiled, network, chosen)
    pixels, labels = load_images(network, data, images, data_dir, seed)
    results = Results.open(out, network, pixels, resume=resume)
    if verilog is None:
        with spinner("generating Verilog"):
            text = cached_verilog(chosen)
    if netlist is not None:
        with spinner(f"synthesising for {netlist}"):
            text = make_netlist(text, "top", netlist)
    with simulation_bar(simulator) as show:
        report = simulate_chunks(network, compiled, chosen, pixels, results, verilog=text,
                                 simulator=simulator, debug=debug, stalls=stalls, chunk=chunk,
                                 on_progress=show)
    for line in report.lines():
        typer.echo(line)
    if labels is not None and results.done == len(labels):
        guesses = results.outputs.reshape(len(labels), -1).argmax(axis=1)
        typer.echo(f"{(guesses == labels).sum()} of {len(labels)} images classified correctly")
    same = exports_agree(network, pixels[:results.done], results.outputs, torch=torch, onnx=onnx)
    for name, difference in same.items():
        typer.echo(f"{name}: {difference or 'equal, every output bit'}")
    if report.difference or any(same.values()):
        raise UserError(str(report.difference or next(d for d in same.values() if d)))
