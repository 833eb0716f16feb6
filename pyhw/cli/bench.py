"""``pyhw bench``: how fast a board is, and how fast its line lets it be."""

from typing import Annotated

import typer

from pyhw.cli.options import (
    Ahead,
    Baud,
    BoardFile,
    ConfigFile,
    Loaded,
    Port,
    PresetOfProgram,
    ProgramFile,
    Set,
    Timeout,
)


def bench(
    program: ProgramFile,
    port: Port = None,
    board_file: BoardFile = None,
    baud: Baud = 1_000_000,
    preset: PresetOfProgram = None,
    config: ConfigFile = None,
    set_: Set = None,
    images: Annotated[int, typer.Option(min=1, help="How many.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the random images.")] = 0,
    loaded: Loaded = False,
    ahead: Ahead = 2,
    timeout: Timeout = None,
) -> None:
    """Measure images a second on a board, sending and reading included.

    The line's limit is what it would carry if no byte ever waited: the larger of what is sent and
    received per image, ten bits a byte.

    Examples:

      pyhw bench lenet5.pyhwprog

      pyhw bench lenet5.pyhwprog --port /dev/ttyUSB1 --images 10000 --ahead 4
    """
    import pyhw
    from pyhw.bitstream.board_file import load_board
    from pyhw.cli.options import choice
    from pyhw.cli.progress import bar
    from pyhw.host.ports import require_pyserial
    from pyhw.inputs import expect, load_images
    from pyhw.target import read_program

    require_pyserial()
    board = None if board_file is None else load_board(board_file)
    expect(program, "program")
    compiled = read_program(program, choice(preset, config, set_))
    compiled.known()
    pixels, _ = load_images(compiled.input_graph(), "random", images, None, seed)
    with bar("starting") as show:
        found = pyhw.bench(compiled, pixels, board=board, port=port, baud=baud, ahead=ahead,
                           timeout_s=timeout, loaded=loaded, progress=show)
    typer.echo("\n".join(found.lines()))
