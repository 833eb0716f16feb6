"""The typer application: commands by name, and what is told of one that fails."""

import errno
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from pyhw.cache import cache_root
from pyhw.errors import UserError
from pyhw.extensions import extend_from_environment

from .commands import (
    COMMANDS,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    help_page,
    leave_broken_pipe,
    module_name,
    say,
)

ENVIRONMENT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Failures of any file, temporary ones included, that are the machine's and not pyhw's."""


def _load(name: str) -> Any:
    """Import the file of command ``name`` and make typer's command of its function.

    Extensions come first: they may add to what the command offers.
    """
    extend_from_environment()
    function = getattr(importlib.import_module(f"pyhw.cli.{module_name(name)}"), module_name(name))
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


_UsageError: Any = typer.BadParameter.__bases__[0]
"""What typer raises for options and arguments that cannot be; it exports this subclass only."""


@contextmanager
def _reported() -> Iterator[None]:
    """Turn each failure that is the user's or the machine's into a line and an exit status."""
    try:
        yield
    except UserError as error:
        say(f"error: {error}")
        raise SystemExit(EXIT_ERROR) from None
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "pyhw"
        say(f"error: {error.format_message().rstrip('.')}; `{path} --help` shows the options")
        raise SystemExit(EXIT_USAGE) from None
    except KeyboardInterrupt as interrupt:
        # A command that kept something on interruption says so in the exception's text.
        say(f"interrupted{f': {interrupt}' if str(interrupt) else ''}")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        leave_broken_pipe()
        raise SystemExit(EXIT_ERROR) from None
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            raise
        place = error.filename or f"what is written (output, or the cache in {cache_root()})"
        say(f"error: {place}: {error.strerror}")
        raise SystemExit(EXIT_ERROR) from None


class _LazyGroup(TyperGroup):
    """A group of commands that imports a command's file when the command is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        typer.echo(help_page())

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _reported():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _reported():
            return super().invoke(ctx)


app = typer.Typer(
    name="pyhw", cls=_LazyGroup, add_completion=False, pretty_exceptions_enable=False,
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
