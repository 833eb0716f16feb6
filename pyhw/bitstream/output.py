"""The folder of a build."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.files import replacing, write_atomically
from pyhw.hdl.config_file import config_to_json

from .flash_image import flash_image
from .flow import Outcome, lower_clock
from .report import FORMAT, VERSION, to_html, to_record

__all__ = ["RECORD", "build_folder", "missed", "read_record", "record_of", "write_folder"]

RECORD = "build.json"


@contextlib.contextmanager
def build_folder(folder: Path) -> Iterator[None]:
    """Make a build's folder, gone again if nothing came of the build.

    Raises
    ------
    UserError
        If it cannot be written or holds other things.
    """
    new = not folder.exists()
    if not new:
        if not folder.is_dir():
            raise UserError(f"cannot write {folder}: it is no folder")
        if not (folder / RECORD).exists() and any(
                path.name != "logs" for path in folder.iterdir()):
            raise UserError(f"{folder} is there already and holds no build: move it, or choose "
                            "another --out")
    parent = Path(os.path.realpath(folder))
    while not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UserError(f"cannot write {folder}: {parent} is no folder that can be written")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # root may write anywhere, but not in /proc
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    try:
        yield
    finally:
        if new:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def write_folder(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """Write everything a build gave, its record last; return the record."""
    record = to_record(outcome)
    suffix = outcome.build.board.family.bitstream
    name = f"{outcome.build.board.name}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    (folder / name).unlink(missing_ok=True)
    for file, text in outcome.texts.items():
        write_atomically(folder / file, text)
    model = outcome.build.model
    write_atomically(folder / "config.json", config_to_json(model.config))
    model.program.save(folder / "model.pyhwprog")
    for done in outcome.made.stages:
        _copy(done.log, folder / "logs" / f"{done.name.replace(' ', '-')}.log")
    if outcome.made.bitstream is not None:
        raw = outcome.made.bitstream.read_bytes()
        if model.config.port.flash_loader:
            raw = flash_image(raw, model.program, model.config)
        with replacing(folder / name) as target:
            target.write(raw)
        record |= {"bitstream": name, "bytes": len(raw),
                   "sha256": hashlib.sha256(raw).hexdigest()}
    write_atomically(folder / "report.html", to_html(outcome, record))
    write_atomically(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return record


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, replacing(target) as copy:
        shutil.copyfileobj(file, copy)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a build, or raise `UserError` if the folder has none that is sound."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no build: {RECORD} is missing; `pyhw build` writes it"
                        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{path} is no record of a build")
    if record.get("version") != VERSION:
        raise UserError(f"{path} must have version {VERSION}, not {record.get('version')!r}; "
                        "build again")
    return record


def record_of(source: Path) -> dict[str, Any] | None:
    """Return the record of a build: of its folder, or of its bitstream where it was written.

    None for another file; `UserError` for a folder without a sound record.
    """
    if source.is_dir():
        return read_record(source)
    try:
        record = read_record(source.parent)
    except UserError:
        return None
    return record if record.get("bitstream") == source.name else None


def missed(outcome: Outcome, folder: Path) -> str:
    """Say in one line that a build's clock is not met, why, and what may help."""
    tried = outcome.made.routed
    timing = tried[0].timing
    lower = lower_clock(outcome.build.board, timing.reached_mhz)
    ways = [f"--clock {lower}"] if lower else []
    if len(tried) < 8:
        ways.append(f"--seeds {max(8, 2 * len(tried))}")
    ways.append("a configuration with fewer lanes")
    return (f"{timing.reached_mhz:.2f} MHz reached of {timing.asked_mhz:.2f}; the slowest path is "
            f"{timing.explained()}; what may help: {', '.join(ways)}; no bitstream was made, the "
            f"report is {folder / 'report.html'}")
