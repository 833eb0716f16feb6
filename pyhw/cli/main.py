"""The ``pyhw`` application: the list of commands, and what happens when one of them fails.

A command ``name`` is the function ``name`` in ``pyhw/cli/name.py``, with typer's annotations. Its
file is imported only when the command runs or shows its own help, so ``pyhw --help`` costs nothing
however heavy the commands are.
"""

import errno
import importlib
import importlib.util
import inspect
import keyword
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from pyhw.cache import cache_root
from pyhw.errors import UserError

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

#: Failures of any file, temporary ones included, that are the machine's and not pyhw's.
ENVIRONMENT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def _module(name: str) -> str:
    """Return the name of a command's file and function: Python keeps some words for itself."""
    return f"{name}_" if keyword.iskeyword(name) else name


def _available(name: str) -> bool:
    return importlib.util.find_spec(f"pyhw.cli.{_module(name)}") is not None


def _load(name: str) -> Any:
    """Import the file of command ``name`` and make typer's command of its function."""
    function = getattr(importlib.import_module(f"pyhw.cli.{_module(name)}"), _module(name))
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, no_args_is_help=False, help=_paragraphs(function))(function)
    return typer.main.get_command(single)


def _paragraphs(function: Any) -> str:
    """Return a command's help text, each paragraph on one line; examples stay as they are."""
    blocks: list[str] = []
    text = inspect.getdoc(function) or ""
    for block in text.replace("Examples:\n", "Examples:\n\n").split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if any(line.startswith("pyhw ") for line in lines):
            lines = [f"  {line}" for line in lines]
        example = bool(lines) and lines[0].startswith(" ")
        blocks.append("\n".join(lines) if example else " ".join(lines))
    return "\n\n".join(blocks)


def _stub(name: str) -> Any:
    """Make a command that has its line of help and nothing else."""
    stub = typer.Typer(add_completion=False)
    stub.command(name, help=COMMANDS[name])(lambda: None)
    return typer.main.get_command(stub)


#: What typer raises for options and arguments that cannot be; it exports this subclass only.
_UsageError: Any = typer.BadParameter.__bases__[0]


class _LazyGroup(TyperGroup):
    """A group of commands that imports a command's file when the command is run."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if _available(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        return _stub(cmd_name) if self._listing else _load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _say(f"error: {error}")
            raise SystemExit(EXIT_ERROR) from None
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "pyhw"
            _say(f"error: {error.format_message().rstrip('.')}; `{path} --help` shows the options")
            raise SystemExit(EXIT_USAGE) from None
        except KeyboardInterrupt as interrupt:
            # A command that kept something on interruption says so in the exception's text.
            _say(f"interrupted{f': {interrupt}' if str(interrupt) else ''}")
            raise SystemExit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output left, as `head` does: not an error. Point standard output
            # elsewhere, because the interpreter flushes it once more on the way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(EXIT_ERROR) from None
        except OSError as error:
            if error.errno not in ENVIRONMENT:
                raise
            place = error.filename or f"what is written (output, or the cache in {cache_root()})"
            _say(f"error: {place}: {error.strerror}")
            raise SystemExit(EXIT_ERROR) from None


app = typer.Typer(
    name="pyhw",
    cls=_LazyGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Multiplier-free neural networks, from PyTorch to a bit-exact accelerator.",
    epilog="`pyhw COMMAND --help` shows a command's options and examples.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from pyhw import __version__

        typer.echo(f"pyhw {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def _say(line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr)


@contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, so that simulators are ended and results kept."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread, which alone may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(args: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args : list of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C
        or SIGTERM.
    """
    try:
        with _ending_like_ctrl_c():
            app(args=args, prog_name="pyhw")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        _say(
            "error: this is a defect of pyhw, not of your input; "
            "please report the lines above together with the command you typed"
        )
        return EXIT_ERROR
    return 0
