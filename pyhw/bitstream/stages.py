"""One stage of a build: a tool, its inputs and outputs, kept by the hash of all it depends on.

A stage works in a folder of its own in the cache, which gets its name when the stage is complete.
So a stage is there whole or not at all, whatever ends a build, and the next build goes on with the
first that is missing.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyhw.cache import cache_dir, content_key, file_hash, keep_text, kept_text, under_way
from pyhw.errors import UserError
from pyhw.tools import Tool

__all__ = ["Done", "Progress", "Stage", "Stuck", "ToolError", "heading", "run_stage", "said"]

Progress = Callable[[str], None]
"""Called with what is going on, often."""
Sign = Callable[[str], str | None]
"""What a line of a log tells of how far its tool is."""
LEAST_FREE = 16 << 20
"""Bytes on a disk below which a tool that failed has probably filled it."""
_NO_STACK = "call stack exhausted"
"""What a tool in WebAssembly says of a recursion that is too deep."""
_STAMP = "stage.json"
_LOG = "log"


def said(pattern: str) -> Sign:
    """Return a sign: the first group of a pattern that a line begins with."""
    begins = re.compile(pattern)
    return lambda line: found[1].strip() if (found := begins.match(line)) else None


heading = said(r"^Info: (\S.{0,60})")
"""The sign that nextpnr and the packers write."""


class ToolError(UserError):
    """Report a tool that failed; ``said`` is all it wrote."""

    def __init__(self, message: str, said: str) -> None:
        self.said = said
        super().__init__(message)


class Stuck(ToolError):
    """Report a tool that comes to no end with what it was given; ``given_up`` is the stage."""

    def __init__(self, message: str, said: str, given_up: "Done | None" = None) -> None:
        self.given_up = given_up
        super().__init__(message, said)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is to be done.

    Attributes
    ----------
    name : str
        For people, and in the names of logs.
    tool : Tool
    arguments : sequence of str
        Names in them are those of files in the stage's folder.
    texts : mapping of str to str
        Files to write there first.
    files : mapping of str to Path
        Outputs of earlier stages to lay there first.
    outputs : sequence of str
        Files that must be there after it.
    after : sequence of str
        Keys of earlier stages, in the place of the contents of `files`.
    reads_log : bool
        The tool writes the file ``log`` itself.
    sign : function of a line of the log
        Returns how far the tool is, to be shown, if the line tells.
    watch : callable, optional
        Called for a watcher of the log, which is called with every line, and tells whether the
        tool is stuck.
    """

    name: str
    tool: Tool
    arguments: Sequence[str]
    texts: Mapping[str, str]
    files: Mapping[str, Path]
    outputs: Sequence[str]
    after: Sequence[str] = ()
    reads_log: bool = True
    sign: Sign = heading
    watch: Callable[[], Callable[[str], bool]] | None = None

    @property
    def key(self) -> str:
        """Hash of all that the outputs depend on."""
        return content_key(self.name, self.tool.name, self.tool.version, list(self.arguments),
                           dict(self.texts), list(self.after), list(self.outputs))


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage that is complete.

    Attributes
    ----------
    name, key : str
    folder : Path
        In the cache; it may go when another build clears up, so copy what is to stay.
    seconds : float
        Time it took when it was done.
    cached : bool
        Whether that was before this build.
    tool, version : str
    """

    name: str
    key: str
    folder: Path
    seconds: float
    cached: bool
    tool: str
    version: str

    def path(self, name: str) -> Path:
        """Return one of its files."""
        return self.folder / name

    @property
    def log(self) -> Path:
        """What the tool said."""
        return self.folder / _LOG


def run_stage(stage: Stage, failed_log: Path, progress: Progress = lambda text: None) -> Done:
    """Return a stage's outputs, made only if they are not in the cache.

    Parameters
    ----------
    stage : Stage
    failed_log : Path
        Where the tool's log goes if it fails.
    progress : callable

    Raises
    ------
    Stuck
        If the stage's watcher saw that the tool makes no progress, and it was ended, or if a
        recursion is too deep for it. That is kept too: it would come to the same again.
    ToolError
        If the tool fails or leaves out an output: one line with its reason and the log.
    KeyboardInterrupt
        After the tool has been ended and its folder removed.
    """
    root, key = cache_dir("build"), stage.key
    folder = root / f"{stage.name.replace(' ', '-')}-{key}"
    if (found := _kept(stage, folder, failed_log, cached=True)) is not None:
        return found
    started = time.monotonic()
    with under_way(root) as aside:
        work = aside / "stage"
        work.mkdir()
        for name, text in stage.texts.items():
            (work / name).write_text(text, encoding="utf-8")
        for name, path in stage.files.items():
            _lay(path, work / name)
        status, stuck = _run(stage, work, progress), ""
        missing = [name for name in stage.outputs if not (work / name).is_file()]
        if status is None:
            stuck = f"makes no progress in {stage.name} and was ended"
        elif status and _NO_STACK in (work / ".said").read_text("utf-8", "replace"):
            stuck = f"ended with {_NO_STACK} in {stage.name}"
        elif status or missing:
            raise _failure(stage, work, status, missing, failed_log)
        seconds = time.monotonic() - started
        for name in stage.files:
            (work / name).unlink(missing_ok=True)
        kept = [name for name in {*stage.outputs, _LOG} if (work / name).is_file()]
        for name in kept:
            _through(work / name)
        keep_text(work / _STAMP, json.dumps(
            {"seconds": seconds, "tool": stage.tool.name, "version": stage.tool.version,
             "stuck": stuck, "files": {name: file_hash(work / name) for name in kept}}))
        with contextlib.suppress(OSError):  # another process was first
            work.rename(folder)
    made = _kept(stage, folder, failed_log, cached=False)
    assert made is not None
    return made


def _kept(stage: Stage, folder: Path, failed_log: Path, *, cached: bool) -> Done | None:
    text = kept_text(folder / _STAMP)
    if text is None:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    stamp = json.loads(text)
    found = Done(name=stage.name, key=stage.key, folder=folder, seconds=stamp["seconds"],
                 cached=cached, tool=stamp["tool"], version=stamp["version"])
    stuck = stamp.get("stuck")
    needed = [_LOG] if stuck else stage.outputs
    if any(not _sound(folder / name, stamp["files"].get(name)) for name in needed):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    if stuck:
        text = found.log.read_text("utf-8", "replace")
        raise Stuck(f"{stage.tool.name} {stuck}{_keep(text, failed_log)}", text,
                    replace(found, name=f"{stage.name} given up"))
    return found


def _sound(path: Path, digest: str | None) -> bool:
    """Return whether a file is there as it was made."""
    try:
        return file_hash(path) == digest
    except OSError:
        return False


def _through(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _lay(source: Path, target: Path) -> None:
    # The WebAssembly tools see no link to a folder other than their own.
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _run(stage: Stage, work: Path, progress: Progress) -> int | None:
    """Run the tool in its folder and follow its log; return its exit status, None if stuck."""
    log = work / _LOG
    stuck = stage.watch() if stage.watch is not None else (lambda line: False)
    log.touch()
    with (work / ".said").open("wb") as said:
        process = subprocess.Popen(
            [*stage.tool.command, *stage.arguments], cwd=work, env=stage.tool.environment(),
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            with log.open(encoding="utf-8", errors="replace") as lines:
                while process.poll() is None:
                    signs = []
                    for line in lines:
                        if stuck(line):
                            return None
                        if found := stage.sign(line):
                            signs.append(found)
                    if signs:
                        progress(f"{stage.name}: {signs[-1]}")
                    time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if not stage.reads_log or not log.stat().st_size:
        shutil.copyfile(work / ".said", log)
    return process.returncode


def _keep(text: str, failed_log: Path) -> str:
    """Write the log of a stage that did not end well; return what a message says of where it is."""
    try:
        failed_log.parent.mkdir(parents=True, exist_ok=True)
        failed_log.write_text(text, encoding="utf-8")
    except OSError:
        return ""
    return f"; its log is {failed_log}"


def _failure(stage: Stage, work: Path, status: int, missing: list[str],
             failed_log: Path) -> ToolError:
    log, said = work / _LOG, work / ".said"
    text = log.read_text("utf-8", "replace")
    more = said.read_text("utf-8", "replace")
    if more not in text:
        text = f"{text}\n{more}"
    where = _keep(text, failed_log)
    free = shutil.disk_usage(work).free
    if free < LEAST_FREE:
        return ToolError(f"{stage.tool.name} failed in {stage.name}: the disk of {work.parents[1]} "
                         f"is full ({free >> 20} MB free); free some, or name another folder of "
                         "caches with the environment variable PYHW_CACHE", text)
    errors = re.findall(r"^ERROR: (.*)", text, re.M)
    last = [line.strip() for line in text.splitlines() if line.strip()][-3:]
    if errors:
        reason = errors[0].rstrip(".")
    elif status < 0:
        reason = f"ended by {signal.Signals(-status).name}; last lines: {' | '.join(last)}"
    elif status:
        reason = f"exit status {status}; last lines: {' | '.join(last)}"
    else:
        reason = f"it wrote no {', '.join(missing)}; last lines: {' | '.join(last)}"
    return ToolError(f"{stage.tool.name} failed in {stage.name}: {reason}{where}", text)
