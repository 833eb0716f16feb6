"""The ``pyhw`` command: what runs, and with which status the process ends.

A command ``name`` is the function ``name`` in ``pyhw/cli/name.py``, with typer's annotations.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .commands import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, help_page, leave_broken_pipe, say


@contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, so that simulators are ended and results kept."""
    import signal

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
    words = sys.argv[1:] if args is None else args
    try:
        if not words or words == ["--help"]:
            print(help_page(), flush=True)
            return 0 if words else EXIT_USAGE
        with _ending_like_ctrl_c():
            from pyhw.cli.app import app

            app(args=words, prog_name="pyhw")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        leave_broken_pipe()
        return EXIT_ERROR
    except Exception:
        import traceback

        traceback.print_exc()
        say(
            "error: this is a defect of pyhw, not of your input; "
            "please report the lines above together with the command you typed"
        )
        return EXIT_ERROR
    return 0
