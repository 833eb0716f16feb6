"""``pyhw bench``: how fast a board is, and how fast its line lets it be."""

from pathlib import Path
from typing import Annotated

import typer

from pyhw.cli.options import Ahead, Baud, BoardFile, ConfigFile, Loaded, Port, Set, Timeout
from pyhw.errors import UserError


def bench(
    program: Annotated[Path, typer.Argument(help="Program (.pyhwprog) of pyhw compile.")],
    port: Port = None,
    board_file: BoardFile = None,
    baud: Baud = 1_000_000,
    preset: Annotated[
        str | None, typer.Option(help="What the program is for.", show_default="by its hash")
    ] = None,
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
    from pyhw.bitstream.board_file import load_board
    from pyhw.cli.progress import bar
    from pyhw.configure import config_given
    from pyhw.host.connect import connect
    from pyhw.host.link import DeviceError
    from pyhw.host.measure import measure
    from pyhw.host.serial_port import PortError, require_pyserial
    from pyhw.inputs import input_graph, load_images, read_program

    require_pyserial()
    board = None if board_file is None else load_board(board_file)
    compiled = read_program(program)
    given = config_given(program, compiled.config_hash, preset, config, set_ or ())
    pixels, _ = load_images(input_graph(compiled), "random", images, None, seed)
    done = 0
    try:
        with bar("checking the program" if loaded else "loading the program") as show:
            with connect(compiled, port, config=given, baud=baud, ahead=ahead, timeout_s=timeout,
                         progress=show, loaded=loaded, board=board) as device:
                def count(images: int) -> None:
                    nonlocal done
                    done = images
                    show(done, len(pixels), "sending images")

                found = measure(device, compiled, pixels, baud, count)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{done} of {images} images were answered") from None
    except (DeviceError, PortError) as error:
        raise UserError(f"{error}; {done} of {images} images were answered") from None
    for line in found.lines():
        typer.echo(line)
