"""Progress on the terminal; silent where standard error is not one."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["bar", "simulation_bar", "spinner", "status"]


def _progress(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show a text with a spinner and the time since it began."""
    with status() as show:
        show(text)
        yield


@contextlib.contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Show a text that changes, and the time since it began; the function it gives takes it."""
    with _progress(TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        task = progress.add_task("", total=None)
        yield lambda text: progress.update(task, description=text)


@contextlib.contextmanager
def bar(text: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar; the function it gives takes what is done, the total, and a new text."""
    with _progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(text, total=total)

        def update(done: int, total: int | None, text: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=text)

        yield update


@contextlib.contextmanager
def simulation_bar(simulator: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show the events of a simulation: its build, then the images done."""
    with bar(f"building for {simulator}") as update:
        def show(event: dict[str, Any]) -> None:
            what = {"generate": "generating Verilog", "build": f"building for {simulator}"}
            update(event.get("done", 0), event.get("total") or None,
                   what.get(event["stage"], f"simulating on {simulator}"))
        yield show
