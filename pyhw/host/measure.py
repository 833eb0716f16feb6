"""How fast a board answers, and how fast its line lets it answer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pyhw.compiler.program import Program
from pyhw.hdl.isa import Counter
from pyhw.table import html_table

from .device import Device, Traffic

__all__ = ["Measured", "measure"]

_BITS_PER_BYTE = 10
"""Start bit, 8 data bits, stop bit."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Measured:
    """What a measurement of a board showed; `pyhw.bench` returns it.

    Parameters
    ----------
    images, batch : int
    loading, running : Traffic
        While the program was loaded, and while the images were sent.
    program_bytes, image_bytes : int
        Data of the program, and of all images. A board that held it already was not sent it.
    baud : int
    cycles : int or None
        Of the last run, if the device counts them.
    """

    images: int
    batch: int
    loading: Traffic
    running: Traffic
    program_bytes: int
    image_bytes: int
    baud: int
    cycles: int | None

    @property
    def rate(self) -> float:
        """Images a second, everything included."""
        return self.images / max(self.running.started, 1e-9)

    @property
    def link_rate(self) -> float:
        """Images a second at which the line is never idle."""
        busiest = max(self.running.sent, self.running.received)
        return self.baud / _BITS_PER_BYTE * self.images / busiest

    def lines(self) -> list[str]:
        """Return the report's lines."""
        run, load = self.running, self.loading
        sent = (f"in {load.started:.2f} s, {self.program_bytes / load.sent:.1%} of what was sent"
                if load.loads else "that the board held already")
        out = [
            f"program: {self.program_bytes:,} bytes {sent}",
            f"{self.images} images in {run.started:.2f} s: {self.rate:,.1f} images/s",
            f"the line allows {self.link_rate:,.1f} images/s at {self.baud:,} baud: "
            f"{self.rate / self.link_rate:.0%} used",
            f"sent {run.sent:,} bytes ({self.image_bytes / run.sent:.1%} of them images), "
            f"received {run.received:,}, {load.retries + run.retries} retries, "
            f"{run.loads} reloads",
        ]
        if self.cycles is not None:
            out.append(f"the last batch ran {self.cycles:,} cycles for up to {self.batch} images")
        return out

    def __repr__(self) -> str:
        return "\n".join(["Measurement", *self.lines()])

    def _repr_html_(self) -> str:
        return html_table("Measurement", [("",), *((line,) for line in self.lines())])


def measure(device: Device, program: Program, images: np.ndarray, baud: int,
            progress: Callable[[int], None]) -> Measured:
    """Send images to a device that has just been started.

    Parameters
    ----------
    device : Device
    program : Program
        What it was started with.
    images : integer array (N, H, W, C)
    baud : int
        Bits a second of the line.
    progress : callable
        Called with the images answered after every batch.
    """
    before, done = device.traffic, 0
    for outputs in device.stream(images):
        done += len(outputs)
        progress(done)
    running = device.traffic.since(before)
    return Measured(
        images=len(images), batch=program.batch, loading=device.loading, running=running,
        program_bytes=sum(len(raw) for _, _, raw in program.sections),
        image_bytes=images.size, baud=baud, cycles=device.counters().get(Counter.CYCLES))
