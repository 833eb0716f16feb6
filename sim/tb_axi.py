"""An accelerator in a system: networks over AXI4-Stream, with AXI4-Lite accesses all the while.

``networks`` takes the parameters of `pyhw.sim.tb_network` and reports the same, and beside it the
registers as they were read first and last, and what was read during runs. ``registers`` takes
``config``, ``program``, ``images`` and ``pause``, a probability, and reports answers of registers
in all kinds of situations.
"""

from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout

from pyhw.compiler.program import Program
from pyhw.hdl.config_file import config_from_json
from pyhw.hdl.frames import Command
from pyhw.hdl.registers import ADDRESS_BITS, REGISTERS, Access, find_register
from pyhw.host.frames import encode
from pyhw.host.protocol import Protocol
from pyhw.sim import clocking, job
from pyhw.sim.axi import AxiPort, Registers
from pyhw.sim.tb_network import Session, run_cases

#: Cycles without an answer after which a command is sent again.
PATIENCE = 100_000


@cocotb.test()
async def networks(dut: Any) -> None:
    """Run every case over the streams, while registers are read without a pause."""
    parameters = job.parameters()
    port = AxiPort(dut, parameters["gap"], parameters["stall"])
    registers = Registers(dut, parameters["stall"])
    await clocking.start_axi(dut)
    first = await registers.dump()
    seen = {"reads": 0, "running": 0, "cycles": 0}

    async def watch() -> None:
        while True:
            status, cycles = await registers.read("STATUS"), await registers.read("CYCLES")
            seen["reads"] += 2
            if status["running"]:
                assert status["program"]
                seen["running"] += 1
                seen["cycles"] = max(seen["cycles"], cycles["cycles"])

    watching = cocotb.start_soon(watch())
    await run_cases(port, parameters)
    watching.cancel()
    job.report(first=first, last=await registers.dump(), seen=seen, packets=port.packets)


@cocotb.test()
async def registers(dut: Any) -> None:
    """Try every register, the interrupt, and a soft reset in a run and in a reply."""
    parameters = job.parameters()
    config = config_from_json(Path(parameters["config"]).read_text(encoding="utf-8"))
    program = Program.load(parameters["program"])
    images = np.load(parameters["images"], allow_pickle=False)
    port, lite = AxiPort(dut), Registers(dut, parameters["pause"])
    protocol = Protocol(config, timeout_s=PATIENCE * clocking.PERIOD_NS * 1e-9)
    session = Session(program, port, protocol)
    await clocking.start_axi(dut)
    await answers(lite)
    await lanes(lite)
    await interrupt(dut, lite, session, images)
    await soft_reset(dut, lite, session, port, images)


async def answers(lite: Registers) -> None:
    """Report the answers to reads and writes of every address."""
    places = {register.address: register for register in REGISTERS}
    beside = [max(places) + 4, 0x100, (1 << ADDRESS_BITS) - 4]
    job.report(
        reads={place: await lite.response(place) for place in (*places, *beside)},
        # Writes of 0 do nothing where they are allowed.
        writes={place: await lite.response(place, bytes(4)) for place in (*places, *beside)},
        before=await lite.dump())
    for register in REGISTERS:
        if register.access == Access.READ:
            await lite.response(register.address, b"\xff" * 4)
    job.report(after=await lite.dump())


async def lanes(lite: Registers) -> None:
    """Report what writes of single bytes leave."""
    place, found = find_register("IRQ_ENABLE").address, []
    for offset, byte in ((1, 0xff), (0, 0xff), (3, 0), (0, 0)):
        await lite.poke(place + offset, bytes([byte]))
        found.append(int.from_bytes(await lite.peek(place), "little"))
    job.report(lanes=found)


async def interrupt(dut: Any, lite: Registers, session: Session, images: np.ndarray) -> None:
    """Report the interrupt's course over two runs, the first with it disabled."""
    await session.do("load_program", session.program)
    slots = await session.send_images(images[:session.program.batch])
    levels = []

    async def level(name: str) -> None:
        pending = (await lite.read("IRQ_PENDING"))["run_end"]
        levels.append([name, int(dut.interrupt.value), pending])

    await level("loaded")
    await session.do("run", layers=len(session.program.layers), count=slots)
    await session.wait()
    counted = (await session.do("counters"))
    await level("disabled")
    job.report(cycles=(await lite.read("CYCLES"))["cycles"],
               counted={counter.name: value for counter, value in counted.items()},
               runs=(await lite.read("RUNS"))["runs"])
    await lite.write("IRQ_ENABLE", run_end=1)
    await level("enabled")
    await lite.write("IRQ_PENDING", run_end=1)
    await level("cleared")
    await session.do("run", layers=len(session.program.layers), count=slots)
    await with_timeout(RisingEdge(dut.interrupt), PATIENCE * clocking.PERIOD_NS, "ns")
    await level("run")
    await lite.write("IRQ_PENDING", run_end=1)
    await level("cleared again")
    job.report(levels=levels)


async def soft_reset(dut: Any, lite: Registers, session: Session, port: AxiPort,
                     images: np.ndarray) -> None:  # fmt: skip
    """Reset in a run and in a reply that nobody takes; then all must work as at first."""

    async def reset() -> int:
        await lite.write("CONTROL", soft_reset=1)
        reads = 0
        while (await lite.read("CONTROL"))["soft_reset"]:
            reads += 1
        return reads

    await session.do("run", layers=len(session.program.layers), count=1)
    running = await lite.read("STATUS")
    reads = await reset()
    job.report(running=running, waited=reads, stopped=await lite.dump())
    await session.do("load_program", session.program)
    # A reply is under way and stands still when the reset comes: it ends with a TLAST.
    port.sink.pause = True
    await port.send(encode(77, Command.IDENTIFY.value))
    await clocking.cycles(60)
    port.sink.pause = False
    await clocking.cycles(6)
    port.sink.pause = True
    await reset()
    await clocking.cycles(20)
    held = [int(dut.m_axis_tvalid.value), int(dut.m_axis_tlast.value)]
    port.sink.pause = False
    cut = bytes((await with_timeout(port.sink.recv(), 10_000, "ns")).tdata)
    # A frame of which the rest never comes is given up: the next one is understood.
    await port.send(encode(78, Command.IDENTIFY.value)[:5])
    await clocking.cycles(20)
    await reset()
    identity = await session.do("identify")
    await session.do("load_program", session.program)
    slots = await session.send_images(images[:session.program.batch])
    await session.do("run", layers=len(session.program.layers), count=slots)
    await session.wait()
    output = await session.read_map(session.program.output, len(images[:session.program.batch]))
    await FallingEdge(dut.aclk)
    job.report(held=held, cut=cut.hex(), hash=identity.hash.hex(), output=output.tolist(),
               last=await lite.dump())
