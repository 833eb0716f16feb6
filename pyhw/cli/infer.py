"""``pyhw infer``: a program on a board, images over its serial port."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import (
    Ahead,
    Baud,
    BoardFile,
    ConfigFile,
    DataDir,
    Loaded,
    Port,
    PresetOfProgram,
    ProgramFile,
    Set,
    Timeout,
)
from pyhw.errors import UserError


def infer(
    program: ProgramFile,
    port: Port = None,
    board_file: BoardFile = None,
    baud: Baud = 1_000_000,
    preset: PresetOfProgram = None,
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
    import pyhw
    from pyhw.bitstream.board_file import load_board
    from pyhw.cli.options import choice
    from pyhw.cli.progress import bar
    from pyhw.host.ports import require_pyserial
    from pyhw.inputs import expect, load_images, read_graph, scaling_of
    from pyhw.target import read_program

    require_pyserial()
    board = None if board_file is None else load_board(board_file)
    if resume and out is None:
        raise UserError("--resume needs --out, the file that holds the finished images")
    expect(program, "program")
    compiled = read_program(program, choice(preset, config, set_))
    compiled.known()
    network = None if graph is None else read_graph(graph)
    if network is not None and (shown := scaling_of(network)):
        typer.echo(f"images are pixels of 0 to 255; the graph takes in {shown}")
    pixels, labels = load_images(compiled.input_graph(), data, images, data_dir, seed)
    with bar("starting") as show:
        found = pyhw.infer(
            compiled, pixels, graph=network, board=board, port=port, baud=baud, ahead=ahead,
            timeout_s=timeout, loaded=loaded, out=out, resume=resume, check=False, progress=show)
    typer.echo("\n".join(found.lines()))
    guesses = found.outputs.reshape(len(pixels), -1).argmax(axis=1)
    if labels is not None:
        typer.echo(f"{(guesses == labels).sum()} of {len(labels)} images classified correctly")
    else:
        shown = " ".join(map(str, guesses[:16])) + (" ..." if len(guesses) > 16 else "")
        typer.echo(f"greatest output of each image: {shown}")
    if network is not None:
        if found.difference is not None:
            raise UserError(f"the board differs from the golden executor: {found.difference}")
        typer.echo(f"{found.outputs.size:,} values equal the golden executor's")
