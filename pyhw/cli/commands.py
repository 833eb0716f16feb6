"""The list of commands, and how the command line speaks and ends.

The list is all that ``pyhw --help`` needs, so neither typer nor a command is imported for it.
"""

import os
import sys

#: Every command in the order of the walk through the tool, with its line in ``pyhw --help``.
COMMANDS = {
    "demo": "Show the whole path on handwritten digits, checked bit for bit.",
    "train": "Train a multiplier-free network and save its checkpoint.",
    "sweep": "Train, quantise and record every row of a table of results.",
    "results": "Quantise finished checkpoints and add them to a table of results.",
    "import": "Turn a checkpoint of a reference implementation into one of pyhw.",
    "quantize": "Turn a checkpoint into an integer graph.",
    "example": "Write an example network, drawn from a seed or trained.",
    "fit": "Propose an accelerator for a model and a device.",
    "info": "Show what is in a checkpoint, graph or program file.",
    "compile": "Turn an integer graph into a program for a configuration.",
    "profile": "Show where the cycles of a network go, layer by layer.",
    "generate": "Write the accelerator as Verilog, with its configuration beside it.",
    "simulate": "Run a program on the simulated accelerator and compare every output.",
    "build": "Make a bitstream for a board, from model to place and route.",
    "flash": "Load a bitstream into a board, or keep it in its flash.",
    "infer": "Run a program on a board, over its serial port.",
    "bench": "Measure images a second on a board, and what its line allows.",
    "emulate": "Simulate an accelerator behind a port that infer and bench open.",
    "synth": "Count the cells of the accelerator on an FPGA family.",
    "doctor": "List the tools pyhw can use here and how to get the missing ones.",
}

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
LONGEST = 300
"""Characters of a line for people."""


def module_name(name: str) -> str:
    """Return the name of a command's file and function: Python keeps some words for itself."""
    return f"{name}_" if name == "import" else name


def help_page() -> str:
    """Return what ``pyhw --help`` shows."""
    width = max(map(len, [*COMMANDS, "--version"]))
    lines = [
        "Usage: pyhw COMMAND [OPTIONS] [ARGUMENTS]",
        "",
        "Multiplier-free neural networks, from PyTorch to a bit-exact accelerator.",
        "",
        "Commands:",
        *(f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()),
        "",
        "Options:",
        f"  {'--version':{width}}  Show the version and exit.",
        f"  {'--help':{width}}  Show this page and exit.",
        "",
        "`pyhw COMMAND --help` shows a command's options and examples.",
    ]
    return "\n".join(lines)


def say(line: str) -> None:
    """Print a text for people on standard error, as one line; of a longer one, both ends."""
    line = " ".join(line.split())
    if len(line) > LONGEST:
        end = LONGEST // 3
        line = f"{line[:LONGEST - end - 5]} ... {line[-end:]}"
    print(line, file=sys.stderr)


def leave_broken_pipe() -> None:
    """Go on after the reader of our output left, as `head` does: it is no error.

    Standard output points elsewhere from then on, because the interpreter flushes it once more on
    the way out.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
