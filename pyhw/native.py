"""C++ of the package, compiled for this processor at first use.

Libraries lie in the user's cache under the hash of source, compiler, flags and processor. Callers
have another way when there is no compiler, and say which way is taken and why.
"""

import contextlib
import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pyhw.cache import cache_dir, content_key, file_hash, keep_text, kept_text, under_way
from pyhw.files import replacing

__all__ = ["attempt", "build"]

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC")
COMPILE_SECONDS = 120

T = TypeVar("T")


@functools.cache
def _processor() -> str:
    """Name what ``-march=native`` depends on, so that a shared home folder is safe."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.machine() + platform.processor() + flags


def build(source: Path, flags: Sequence[str] = ()) -> Path:
    """Return the library of a C++ file, compiled unless the cache has it.

    Parameters
    ----------
    source : Path
        One self-contained file.
    flags : sequence of str
        Beside `FLAGS`.

    Raises
    ------
    OSError
        If there is no compiler, or a folder cannot be written.
    subprocess.CalledProcessError, subprocess.TimeoutExpired
        If the compiler fails, or does not end.
    """
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if compiler is None:
        raise OSError("no C++ compiler found (g++, clang++ or c++)")
    flags = (*FLAGS, *flags)
    key = content_key(source.read_text(), compiler, flags, _processor())
    target = cache_dir("kernels") / f"{source.stem}-{key}.so"
    stamp = target.with_suffix(".sha256")
    with contextlib.suppress(OSError):
        if kept_text(stamp) == file_hash(target):
            return target
    # Another process may be compiling the same file: each writes its own, the last rename wins.
    with under_way(target.parent) as folder:
        parts = [os.path.join(folder, name) for name in ("part.o", "part.so")]
        for command in (
            [compiler, *flags, "-c", "-o", parts[0], str(source)],
            [compiler, "-shared", "-o", parts[1], parts[0]],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS
            )
        with replacing(target) as file:
            file.write(Path(parts[1]).read_bytes())
        keep_text(stamp, file_hash(target))
    return target


def attempt(load: Callable[[], T]) -> tuple[T | None, str]:
    """Return what `load` returns and ``""``, or None and why there is no library."""
    try:
        return load(), ""
    except subprocess.CalledProcessError as error:
        first = (error.stderr.strip().splitlines() or ["no message"])[0]
        return None, f"the C++ compiler failed: {first}"
    except (OSError, AttributeError, subprocess.TimeoutExpired) as error:
        return None, str(error)
