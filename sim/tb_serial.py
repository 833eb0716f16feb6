"""An accelerator on a serial line: what the line carries, and a pseudo-terminal to it.

Parameters of the tests of accelerators:

============ ==================================================================================
divisor      clock cycles of a bit
config       path of the configuration (JSON)
============ ==================================================================================

``transfer`` also takes ``program`` and ``images`` as `pyhw.sim.tb_network`, ``outputs`` (path
to write: ``.npy``) and ``ahead``, runs them with the host's own code over the line, and reports
the bytes and cycles of the load and of the images. ``bridge`` opens a pseudo-terminal, says so
in an event ``pty`` with its ``port``, and carries bytes until its user has closed it (``once``) or
for ever. ``echo`` takes ``divisor`` and ``count``, for small designs.
"""

import contextlib
import os
import random
import select
import time
import tty
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.utils import get_sim_time

from pyhw.compiler.program import Program
from pyhw.hdl.config_file import config_from_json
from pyhw.host import Inference, Protocol, drive_async
from pyhw.sim import clocking, job
from pyhw.sim.serial_line import SerialLine

#: Cycles of silence after which a frame is sent again; a lost one costs no more than that.
PATIENCE = 400_000
#: Bytes on the line between two looks at the pseudo-terminal.
STEP_BYTES = 4


def _now() -> int:
    return round(get_sim_time("ns")) // clocking.PERIOD_NS


@cocotb.test()
async def transfer(dut: Any) -> None:
    """Load a program and run images with the host's driver; report bytes and cycles."""
    parameters = job.parameters()
    config = config_from_json(Path(parameters["config"]).read_text(encoding="utf-8"))
    program = Program.load(parameters["program"])
    images = np.load(parameters["images"], allow_pickle=False)
    line = SerialLine(dut, parameters["divisor"])
    protocol = Protocol(config, timeout_s=PATIENCE * clocking.PERIOD_NS * 1e-9,
                        ahead=parameters["ahead"])
    await clocking.start(dut)
    inference = Inference(protocol, program)
    await drive_async(protocol.check(), line)
    spans = {}
    before, sent = _now(), line.sent
    await drive_async(protocol.load_program(program), line)
    spans["load"] = {"cycles": _now() - before, "sent": line.sent - sent,
                     "data": sum(len(raw) for _, _, raw in program.sections)}
    before, sent, parts = _now(), line.sent, []
    for first in range(0, len(images), program.batch):
        parts.append(await drive_async(
            inference.advance(images[first:first + program.batch]), line))
    parts.append(await drive_async(inference.advance(), line))
    spans["images"] = {"cycles": _now() - before, "sent": line.sent - sent, "data": images.size}
    np.save(parameters["outputs"], np.concatenate(parts[1:]))
    job.report(**spans, retries=protocol.retries, overruns=line.overruns, framing=line.framing)


@cocotb.test()
async def echo(dut: Any) -> None:
    """Send ``count`` random bytes to a design that returns each byte inverted."""
    parameters = job.parameters()
    line = SerialLine(dut, parameters["divisor"])
    await clocking.start(dut)
    data = random.Random(4).randbytes(parameters["count"])
    line.write(data)
    await clocking.cycles(10 * parameters["divisor"] * (len(data) + 4))
    returned = line.take()
    assert returned == bytes(byte ^ 0xff for byte in data), "other bytes came back"
    job.report(sent=line.sent, overruns=line.overruns, framing=line.framing)


@cocotb.test()
async def bridge(dut: Any) -> None:
    """Carry bytes between the line and a pseudo-terminal."""
    parameters = job.parameters()
    line = SerialLine(dut, parameters["divisor"])
    await clocking.start(dut)
    master, slave = os.openpty()
    tty.setraw(slave)  # no echo before the host has set the line
    os.set_blocking(master, False)
    job.emit("pty", port=os.ttyname(slave))
    os.close(slave)  # from here on a hangup says that nobody is there
    step = STEP_BYTES * 10 * parameters["divisor"]
    poll, seen = select.poll(), False
    poll.register(master, select.POLLIN)
    while True:
        events = dict(poll.poll(0)).get(master, 0)
        if events & select.POLLIN:
            with contextlib.suppress(BlockingIOError):
                line.write(os.read(master, 65536))
        elif events & select.POLLHUP:
            if seen and parameters["once"]:
                break
            seen = False
            line.take()
            time.sleep(0.01)  # nobody is there, and nothing moves
            continue
        seen = True
        await clocking.cycles(step)
        data = line.take()
        while data:
            try:
                data = data[os.write(master, data):]
            except BlockingIOError:
                time.sleep(0.001)  # the host reads slowly
        if not (line.sending or dut.running.value or events):
            time.sleep(0.0002)  # simulated time goes on, but not at any price
    job.report(sent=line.sent, received=line.received, overruns=line.overruns,
               framing=line.framing)
