"""Run networks on a whole accelerator, through its command port and nothing else.

The bench talks to the design with the same host code as a board gets. Parameters:

============ ==================================================================================
config       path of the configuration (JSON)
cases        list of objects: ``program`` and ``images`` (paths to read; images ``.npy``, uint8
             (N, bytes of an image)), ``outputs`` (path to write: ``.npz`` with one array
             (N, H, W, C) for the output, or in a debug run for the input as stored and every
             layer's result)
loaded       the design holds the program of the only case already: it is checked, not loaded
debug        stop after every layer and read its map back
gap, stall   probabilities of gaps before bytes sent and of stalls before bytes received
timeout      cycles without an answer after which a command is sent again
============ ==================================================================================

For each case it reports the performance counters of the first batch (in a debug run: after every
layer of it; otherwise also those of every layer, if the configuration counts layers) and the
cycles from one batch's start to the next one's, and for all of them the cycles simulated and the
speed.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time

from pyhw.compiler.program import Program, StoredMap
from pyhw.hdl.config_file import config_from_json
from pyhw.hdl.isa import Space
from pyhw.host.protocol import Protocol, drive_async
from pyhw.sim import clocking, job
from pyhw.sim.streams import ByteSink, ByteSource


class Port:
    """The transport of `drive_async` over the bench's streams."""

    def __init__(self, dut: Any, gap: float, stall: float) -> None:
        self._source = ByteSource(dut, gap=gap, seed=1)
        self._sink = ByteSink(dut, stall=stall, seed=2)

    async def send(self, data: bytes) -> None:
        """Queue bytes for the design."""
        self._source.write(data)

    async def receive(self, timeout_s: float) -> bytes:
        """Wait for bytes; a second is one of simulated time."""
        try:
            first = await with_timeout(self._sink.read(1), round(timeout_s * 1e9), "ns")
        except SimTimeoutError:
            return b""
        return first + self._sink.read_available()


class Session:
    """One device with one program."""

    def __init__(self, program: Program, port: Any, protocol: Protocol) -> None:
        self.program = program
        self.config = protocol.config
        self._port = port
        self._protocol = protocol

    async def do(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """Run one operation of `Protocol`."""
        return await drive_async(
            getattr(self._protocol, operation)(*arguments, **options), self._port
        )

    async def wait(self) -> None:
        """Wait for the end of a run."""
        await self.do("wait", 1000 * self._protocol.timeout_s)

    async def send_images(self, images: np.ndarray, turn: int = 0) -> int:
        """Send a batch into a turn's buffer; return the image slots in use."""
        groups, stored = self.program.groups, self.program.turns[turn][0]
        for index, image in enumerate(images):
            base = stored.base + index // groups * stored.slot_bytes
            await self.do("write_image", index % groups, base, image.tobytes())
        return -(-len(images) // groups)

    async def read_map(self, stored: StoredMap, count: int) -> np.ndarray:
        """Read a value of `count` images back."""
        groups, out = self.program.groups, []
        for index in range(count):
            address = (index % groups << 24) | (stored.base + index // groups * stored.slot_bytes)
            out.append(
                stored.decode(await self.do("read", Space.SCRATCH, address, stored.slot_bytes))
            )
        return np.stack(out)


#: Seconds of the bench and cycles of the design with a run going on and the port idle.
IDLE = {"seconds": 0.0, "cycles": 0}


async def idle(session: Session) -> None:
    """Wait for the end of a run, and take the time."""
    started, before = time.perf_counter(), get_sim_time("ns")
    await session.wait()
    IDLE["seconds"] += time.perf_counter() - started
    IDLE["cycles"] += round(get_sim_time("ns") - before) // clocking.PERIOD_NS


class Findings:
    """What a case showed: maps by name, counters of the first batch, cycles between its runs."""

    def __init__(self, session: Session) -> None:
        self.maps: dict[str, list[np.ndarray]] = {}
        self.counters: list[dict[str, int]] = []
        self.layers: list[dict[str, int]] = []
        self._session = session
        self._began: list[float] = []

    async def keep(self, stored: StoredMap, count: int, name: str = "") -> None:
        """Read a value of `count` images back."""
        self.maps.setdefault(name or stored.name, []).append(
            await self._session.read_map(stored, count))

    async def count(self, done: int) -> None:
        """Read the counters after so many layers, if there are any."""
        session = self._session
        if not session.config.port.counted_layers:
            return
        self.layers = [
            {c.name: v for c, v in (await session.do("counters", layer)).items()}
            for layer in range(min(done, session.config.port.counted_layers))
        ]
        self.counters.append({name: sum(one[name] for one in self.layers)
                              for name in self.layers[0]})

    async def start(self, **options: Any) -> None:
        """Start a run."""
        self._began.append(get_sim_time("ns"))
        await self._session.do("run", **options)

    @property
    def period(self) -> int:
        """Cycles between the starts of the last two runs; 0 before there are three."""
        if len(self._began) < 3:
            return 0
        return round(self._began[-1] - self._began[-2]) // clocking.PERIOD_NS


async def one_by_one(session: Session, batches: list[np.ndarray], debug: bool, found: Findings,
                     progress: Callable[[int], None]) -> None:  # fmt: skip
    """Send, run and read batch by batch; with `debug` run and read layer by layer."""
    program = session.program
    for first, batch in enumerate(batches):
        slots = await session.send_images(batch)
        if debug:
            await found.keep(program.input, len(batch))
        for index in range(len(program.layers) if debug else 1):
            await found.start(layers=1 if debug else len(program.layers), count=slots,
                              resume=index > 0)  # fmt: skip
            await idle(session)
            if first == 0:
                await found.count(index + 1 if debug else len(program.layers))
            if debug and program.layers[index].complete:
                await found.keep(program.layers[index].target, len(batch))
        if not debug:
            await found.keep(program.output, len(batch))
        progress(len(batch))


async def in_turns(session: Session, batches: list[np.ndarray], found: Findings,
                   progress: Callable[[int], None]) -> None:  # fmt: skip
    """Send the next batch and read the one before while one runs."""
    program, turn = session.program, 0
    slots = await session.send_images(batches[0])
    for index, batch in enumerate(batches):
        turn = index % 2
        await found.start(layers=len(program.layers), count=slots, resume=turn == 1)
        if index + 1 < len(batches):
            slots = await session.send_images(batches[index + 1], 1 - turn)
        if index > 0:
            output = program.turns[1 - turn][1]
            await found.keep(output, len(batches[index - 1]), program.output.name)
        await idle(session)
        if index == 0:
            await found.count(len(program.layers))
        progress(len(batch))
    await found.keep(program.turns[turn][1], len(batches[-1]), program.output.name)


async def run_case(session: Session, case: dict[str, str], loaded: bool, debug: bool,
                   progress: Callable[[int], None]) -> Findings:  # fmt: skip
    """Load or check a program, then send, run and read all batches."""
    program, found = session.program, Findings(session)
    images = np.load(case["images"], allow_pickle=False)
    await session.do("check_program" if loaded else "load_program", program)
    batches = [images[k : k + program.batch] for k in range(0, len(images), program.batch)]
    if program.second_buffers and not debug:
        await in_turns(session, batches, found, progress)
    else:
        await one_by_one(session, batches, debug, found, progress)
    np.savez(case["outputs"], **{name: np.concatenate(v) for name, v in found.maps.items()})
    return found


@cocotb.test()
async def networks(dut: Any) -> None:
    """Run every case on one device, one after the other."""
    parameters = job.parameters()
    port = Port(dut, parameters["gap"], parameters["stall"])
    await clocking.start(dut)
    await run_cases(port, parameters)


async def run_cases(port: Any, parameters: dict[str, Any]) -> None:
    """Run every case of the parameters through a transport, and report."""
    config = config_from_json(Path(parameters["config"]).read_text(encoding="utf-8"))
    cases = parameters["cases"]
    protocol = Protocol(config, timeout_s=parameters["timeout"] * clocking.PERIOD_NS * 1e-9)
    started = time.perf_counter()
    identity = await drive_async(protocol.identify(), port)
    assert identity.hash == config.hash, "the design has another configuration"
    total = sum(len(np.load(case["images"], mmap_mode="r")) for case in cases)
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        job.progress(done, total, "images")

    progress(0)
    counters, layers, periods = [], [], []
    for case in cases:
        session = Session(Program.load(case["program"]), port, protocol)
        found = await run_case(session, case, parameters["loaded"], parameters["debug"], progress)
        counters.append(found.counters)
        layers.append(found.layers if config.port.counted_layers > 1 else [])
        periods.append(found.period)
        seconds = time.perf_counter() - started
        cycles = round(get_sim_time("ns")) // clocking.PERIOD_NS
        job.report(counters=counters, layers=layers, periods=periods, cycles=cycles,
                   seconds=seconds, cycles_per_s=cycles / seconds,
                   idle_cycles_per_s=IDLE["cycles"] / IDLE["seconds"])
