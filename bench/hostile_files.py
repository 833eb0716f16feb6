"""Mutated files through every command that reads them: ``python -m bench.hostile_files``.

Each file is a sound one with bytes changed, cut, doubled or put in, or with entries of its JSON
changed and its checksums made right again. Every command has to end in time with status 0, or with
one line of at most 300 characters and status 1. What does not is printed with the seed that makes
the file again (``--kind KIND --seed SEED --count 1``), and the status is 1.
"""

import argparse
import contextlib
import io
import json
import random
import shutil
import signal
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pyhw.cli.commands import LONGEST
from pyhw.cli.main import main

SECONDS = 20
"""Most for one command."""
JUNK = (None, True, -1, 0, 1, 7, 1 << 16, 1 << 40, -(1 << 63), 0.5, 1e308, float("inf"), "", "u8",
        "x", "\x00", [], {}, [1, 2], {"a": 1}, "z" * 5000, [[[[]]]])  # fmt: skip


class TooLong(BaseException):
    """A command did not end in time."""


def mutate_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Change, cut, double or put in some bytes."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data)) if data else 0
        size = min(len(data) - at, rng.choice((1, 1, 2, 4, 64, 4096)))
        kind = rng.randrange(6)
        if kind == 0:
            data[at:at + size] = rng.randbytes(size)
        elif kind == 1:
            data[at:at + size] = bytes([rng.choice((0, 255))]) * size
        elif kind == 2:
            del data[at:at + size]
        elif kind == 3:
            data[at:at] = data[at:at + size]
        elif kind == 4:
            data[at:at] = rng.randbytes(size)
        else:
            del data[at:]
    return bytes(data)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Change, drop or add some entries, anywhere in a JSON value."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 4))):
        places: list[tuple[Any, Any]] = []
        stack = [value]
        while stack:
            part = stack.pop()
            keys = part if isinstance(part, dict) else range(len(part))
            for key in keys:
                places.append((part, key))
                if isinstance(part[key], dict | list):
                    stack.append(part[key])
        if not places:
            return rng.choice(JUNK)
        part, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            del part[key]
        elif kind == 1:
            other, name = rng.choice(places)
            with contextlib.suppress(LookupError):
                part[key] = json.loads(json.dumps(other[name]))
        elif kind == 2 and isinstance(part, dict):
            part[f"{key}x"] = part[key]
        else:
            part[key] = rng.choice(JUNK)
    return value


def mutate_text(raw: bytes, rng: random.Random) -> bytes:
    """Change a JSON file: its entries, or its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(raw, rng)
    return json.dumps(mutate_json(json.loads(raw), rng)).encode()


def mutate_program(raw: bytes, rng: random.Random) -> bytes:
    """Change a program's description or sections, often with the right checksum."""
    head = struct.Struct("<8sHHIII")
    magic, version, isa, size, _body, zero = head.unpack_from(raw)
    kind = rng.randrange(4)
    if kind == 0:
        return mutate_bytes(raw, rng)
    text, sections = raw[head.size:head.size + size], raw[head.size + size:-4]
    if kind == 1:
        text = mutate_bytes(text, rng)
    elif kind == 2:
        text = json.dumps(mutate_json(json.loads(text), rng)).encode()
    else:
        at = rng.randrange(len(sections))
        sections = sections[:at] + rng.randbytes(min(8, len(sections) - at)) + sections[at + 8:]
    new = head.pack(magic, version, isa, len(text), len(sections), zero) + text + sections
    return new + zlib.crc32(new).to_bytes(4, "little")


def mutate_zip(raw: bytes, rng: random.Random) -> bytes:
    """Change a member of a zip archive, with the right checksum, or the bytes of the archive."""
    if rng.random() < 0.3:
        return mutate_bytes(raw, rng)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(members))
    if rng.random() < 0.5:  # what describes the others stands first
        chosen = 0
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, (info, content) in enumerate(members):
            if number == chosen:
                if info.filename.endswith(".json") and rng.random() < 0.8:
                    content = json.dumps(mutate_json(json.loads(content), rng)).encode()
                else:
                    content = mutate_bytes(content, rng)
                if rng.random() < 0.05:
                    continue
            archive.writestr(info, content)
    return file.getvalue()


class Kind:
    """A sound file, what mutates it, and the arguments of every command that reads it."""

    def __init__(self, suffix: str, sound: bytes, mutate: Callable[[bytes, random.Random], bytes],
                 commands: list[list[str]]) -> None:
        self.suffix, self.sound, self.mutate, self.commands = suffix, sound, mutate, commands


def kinds(folder: Path) -> dict[str, Kind]:
    """Return every kind of file, with sound examples made in a folder; FILE stands for its name."""
    import torch

    from pyhw.compiler import compile_graph
    from pyhw.configure import find_preset
    from pyhw.graph.file import save
    from pyhw.graph.random import random_graph
    from pyhw.hdl.config_file import config_to_json
    from pyhw.nn import build_model
    from pyhw.simulation.results import Results
    from pyhw.training.checkpoint import save_checkpoint
    from pyhw.training.recipe import make_recipe

    graph, images = random_graph(seed=18)
    save(graph, folder / "sound.pyhw")
    program = compile_graph(graph, find_preset("default"), batch=4)
    program.save(folder / "sound.pyhwprog")
    recipe = make_recipe(model="lenet1", ops="shift-q", data="digits")
    network = build_model("lenet1", "shift-q")
    save_checkpoint(folder / "sound.pt", network, recipe, [])
    torch.save(dict(network.state_dict()), folder / "their.pth")
    (folder / "sound.json").write_text(config_to_json(find_preset("tiny")))
    pixels = np.asarray(images[:2])
    np.save(folder / "sound.npy", pixels)
    results = Results.of(folder / "sound.npz", program.graph, program.output.shape, pixels,
                         resume=False)
    results.add(np.zeros((1, *program.output.shape), np.int64))
    out, port = str(folder / "out"), str(folder / "no-port")
    infer = ["infer", "FILE", "--preset", "default", "--port", port, "--data", "random"]
    sound = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        "graph": Kind(".pyhw", sound["sound.pyhw"], mutate_zip, [
            ["info", "FILE"], ["info", "FILE", "--ops"], ["info", "FILE", "--json"],
            ["compile", "FILE", "--preset", "default", "-o", f"{out}.pyhwprog"],
            [*infer[:1], str(folder / "sound.pyhwprog"), *infer[2:], "--graph", "FILE"],
        ]),
        "program": Kind(".pyhwprog", sound["sound.pyhwprog"], mutate_program, [
            ["info", "FILE"], ["info", "FILE", "--map"], ["info", "FILE", "--json"], infer,
            ["bench", "FILE", "--preset", "default", "--port", port],
        ]),
        "checkpoint": Kind(".pt", sound["sound.pt"], mutate_zip, [
            ["info", "FILE"], ["info", "FILE", "--ops"],
            ["quantize", "FILE", "--calibration", "2", "--test-images", "2", "-o", f"{out}.pyhw"],
        ]),
        "import": Kind(".pth", sound["their.pth"], mutate_zip, [
            ["import", "FILE", "--from", "deepshift", "--model", "lenet1", "-o", f"{out}.pt"],
        ]),
        "configuration": Kind(".json", sound["sound.json"], mutate_text, [
            ["compile", str(folder / "sound.pyhw"), "--config", "FILE", "-o", f"{out}.pyhwprog"],
        ]),
        "images": Kind(".npy", sound["sound.npy"], mutate_bytes, [
            [*infer[:1], str(folder / "sound.pyhwprog"), *infer[2:-1], "FILE"],
        ]),
        "results": Kind(".npz", sound["sound.npz"], mutate_zip, [
            [*infer[:1], str(folder / "sound.pyhwprog"), *infer[2:-1],
             str(folder / "sound.npy"), "--images", "2", "--out", "FILE", "--resume"],
        ]),
        "random": Kind(".bin", b"\x80\x02}q\x00." * 40, mutate_bytes, [
            ["info", "FILE"], ["import", "FILE", "--from", "addernet", "--model", "lenet1",
                               "-o", f"{out}.pt"],
            ["compile", "FILE", "-o", f"{out}.pyhwprog"], ["quantize", "FILE", "-o", f"{out}.pyhw"],
        ]),
    }  # fmt: skip


def fault(arguments: list[str]) -> str:
    """Run a command and return what is wrong with how it ended, "" if nothing is."""
    said, shown = io.StringIO(), io.StringIO()

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            status = main(arguments)
    except TooLong:
        return f"ran longer than {SECONDS} s"
    except BaseException as error:
        return f"ended by {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    told = said.getvalue()
    if "Traceback" in told or "defect" in told:
        return "traceback: " + " | ".join(told.strip().splitlines()[-6:-1])
    line = told.strip().splitlines()[-1] if told.strip() else ""
    if status not in (0, 1):
        return f"status {status}: {line}"
    if status == 1 and not line.startswith("error: "):
        return f"no error line: {line[:200]!r}"
    if len(line) > LONGEST:
        return f"a line of {len(line)} characters"
    return ""


def attack(name: str, kind: Kind, count: int, seed: int, folder: Path) -> int:
    """Try `count` mutated files, of seeds from `seed` on; print and count the faults."""
    faults = 0
    for number in range(seed, seed + count):
        raw = kind.mutate(kind.sound, random.Random(f"{name} {number}"))
        for command in kind.commands:
            path = folder / f"mutated{kind.suffix}"
            path.write_bytes(raw)
            wrong = fault([str(path) if word == "FILE" else word for word in command])
            for made in folder.glob("out*"):
                made.unlink()
            if wrong:
                faults += 1
                print(f"--kind {name} --seed {number}: pyhw {command[0]}: {wrong}", flush=True)
    print(f"{name}: {count} files, {len(kind.commands)} commands each, {faults} faults", flush=True)
    return faults


def run(count: int, seed: int, only: str = "") -> int:
    """Try files of every kind, or of one; return the number of faults."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        found = kinds(folder)
        chosen = {only: found[only]} if only else found
        return sum(attack(name, kind, count, seed, folder) for name, kind in chosen.items())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    parser.add_argument("--kind", default="", help="only these files")
    given = parser.parse_args()
    sys.exit(run(given.count, given.seed, given.kind) > 0)
