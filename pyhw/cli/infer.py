"""``pyhw infer``: a program on a board, images over its serial port."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import Ahead, Baud, BoardFile, ConfigFile, DataDir, Loaded, Port, Set, Timeout
from pyhw.errors import UserError


def infer(
    program: Annotated[Path, typer.Argument(help="Program (.pyhwprog) of pyhw compile.")],
    port: Port = None,
    board_file: BoardFile = None,
    baud: Baud = 1_000_000,
    preset: Annotated[
        str | None, typer.Option(help="What the program is for.", show_default="by its hash")
    ] = None,
    config: ConfigFile = None,
    set_: Set = None,
    graph: Annotated[
        Path | None, typer.Option(help="Graph (.pyhw) to hold every output against.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Images: digits, mnist, smooth, random, or a .npy file.")
    ] = "digits",
    seed: Annotated[int, typer.Option(min=0, help="Of smooth and random images.")] = 0,
    data_dir: DataDir = None,
    images: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Keep the outputs (.npz), batch by batch.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the images that --out holds.")
    ] = False,
    loaded: Loaded = False,
    ahead: Ahead = 2,
    timeout: Timeout = None,
) -> None:
    """Load a program into a board, send images and read the outputs back.

    The board is the serial port with the USB numbers of a known adapter; --port names another.
    Damaged frames are sent again. If the board is unplugged, what was answered stays in --out,
    and the same command with --resume goes on.

    Examples:

      pyhw infer lenet5.pyhwprog --data mnist --images 1000

      pyhw infer net.pyhwprog --port /dev/ttyUSB1 --data images.npy --out out.npz

      pyhw infer lenet5.pyhwprog --graph lenet5.pyhw --data digits

      pyhw infer lenet5.pyhwprog --loaded
    """
    from pyhw.bitstream.board_file import load_board
    from pyhw.cli.progress import bar
    from pyhw.configure import config_given
    from pyhw.graph.execute import run
    from pyhw.host.connect import config_of, connect
    from pyhw.host.link import DeviceError
    from pyhw.host.serial_port import PortError, require_pyserial
    from pyhw.inputs import input_graph, load_images, read_graph, read_program
    from pyhw.simulation.network import check_program, first_difference
    from pyhw.simulation.results import Results, kept_at_times

    require_pyserial()
    board = None if board_file is None else load_board(board_file)
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    compiled = read_program(program)
    given = config_given(program, compiled.config_hash, preset, config, set_ or ())
    chosen = config_of(compiled, given)
    network = None
    if graph is not None:
        network = read_graph(graph)
        check_program(compiled, network, chosen)
    pixels, labels = load_images(input_graph(compiled), data, images, data_dir, seed)
    results = Results.of(out, compiled.graph, compiled.output.shape, pixels, resume=resume)
    first, started = results.done, False
    try:
        if first < len(pixels):
            with (bar("checking the program" if loaded else "loading the program") as show,
                  connect(compiled, port, config=chosen, baud=baud, ahead=ahead,
                          timeout_s=timeout, progress=show, loaded=loaded,
                          board=board) as device):
                started, before = True, device.traffic
                show(first, len(pixels), "sending images")
                for done in kept_at_times(results, device.stream(pixels[first:])):
                    show(done, len(pixels))
                spent, count = device.traffic.since(before), results.done - first
            typer.echo(f"{count} images in {spent.started:.2f} s, "
                       f"{count / spent.started:,.1f} a second, {spent.retries} retries")
        else:
            typer.echo(f"{out} holds the outputs of all {first} images already")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(results.kept()) from None
    except (DeviceError, PortError) as error:
        if not started:
            raise
        raise UserError(f"{error}; {results.kept()}") from None
    guesses = results.outputs.reshape(len(pixels), -1).argmax(axis=1)
    if labels is not None:
        typer.echo(f"{(guesses == labels).sum()} of {len(labels)} images classified correctly")
    else:
        shown = " ".join(map(str, guesses[:16])) + (" ..." if len(guesses) > 16 else "")
        typer.echo(f"greatest output of each image: {shown}")
    if network is not None:
        difference = first_difference(network.output, run(network, pixels), results.outputs)
        if difference:
            raise UserError(f"the board differs from the golden executor: {difference}")
        typer.echo(f"{results.outputs.size:,} values equal the golden executor's")
