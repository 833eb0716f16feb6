"""``pyhw emulate``: a simulated accelerator as a serial port, for want of a board."""

from typing import Annotated

import typer

from pyhw.cli.options import ConfigFile, Initial, Preset, Set


def emulate(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Set = None,
    divisor: Annotated[int, typer.Option(min=4, help="Clock cycles of a bit of the line.")] = 8,
    program: Initial = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when the port has been opened and closed.")
    ] = False,
) -> None:
    """Simulate an accelerator on a serial line, as a port that `pyhw infer` opens like a board's.

    The port is a pseudo-terminal; its name is printed as soon as it can be opened. Every bit on
    the line is simulated (Verilator), so it is thousands of times slower than a board: give
    `pyhw infer` a --timeout of a minute. Ctrl-C ends it.

    Examples:

      pyhw emulate --preset tiny

      pyhw emulate --config accelerator.json --once

      pyhw emulate --program net.pyhwprog
    """
    import pyhw
    from pyhw.cli.options import choice
    from pyhw.cli.progress import simulation_bar
    from pyhw.configure import choose_config
    from pyhw.inputs import expect
    from pyhw.simulation.launch import find_simulator
    from pyhw.target import read_program

    find_simulator("verilator")
    chosen, held = choice(preset, config, set_), None
    if program is not None:
        expect(program, "program")
        held = read_program(program, chosen)
        chosen = held.known()
    config_ = chosen or choose_config()
    named = ""

    def opened(port: str) -> None:
        nonlocal named
        named = port
        print(f"{port}: configuration {config_.hash.hex()} ({config_.name})", flush=True)

    try:
        with simulation_bar("verilator") as show:
            pyhw.emulate(config_, opened, program=held, divisor=divisor, once=once, progress=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{named} is gone" if named else "") from None
