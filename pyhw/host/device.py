"""A device behind a blocking byte transport."""

from collections.abc import Iterable
from typing import Protocol as Interface

from hdl.config import Config
from hdl.frames import State
from hdl.isa import Counter, Space

from .protocol import Identity, Loadable, Protocol, drive


class Transport(Interface):
    """A byte pipe, such as a serial port."""

    def send(self, data: bytes) -> None:
        """Send all bytes."""

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least a byte; ``b""`` after so long without one."""


class Device:
    """An accelerator behind a transport; every method is an operation of `Protocol`.

    Parameters
    ----------
    transport : Transport
    config : Config
    timeout_s, attempts
        See `Protocol`.
    """

    def __init__(
        self, transport: Transport, config: Config, *, timeout_s: float = 1.0, attempts: int = 4
    ) -> None:
        self._transport = transport
        self._protocol = Protocol(config, timeout_s=timeout_s, attempts=attempts)

    def identify(self) -> Identity:
        """Ask who the device is."""
        return drive(self._protocol.identify(), self._transport)

    def check(self) -> Identity:
        """Ask who the device is; `DeviceError` if it has another configuration."""
        return drive(self._protocol.check(), self._transport)

    def load_program(self, program: Loadable) -> None:
        """Load a program; the device has none until all of it has arrived."""
        drive(self._protocol.load_program(program), self._transport)

    def write_image(self, group: int, base: int, image: bytes) -> None:
        """Send one image into a group's scratchpad."""
        drive(self._protocol.write_image(group, base, image), self._transport)

    def write_images(self, images: Iterable[tuple[int, int, bytes]]) -> None:
        """Send images, each with its group and base."""
        drive(self._protocol.write_images(images), self._transport)

    def write(self, group: int, address: int, raw: bytes) -> None:
        """Write bytes of a group's scratchpad."""
        drive(self._protocol.write(group, address, raw), self._transport)

    def run(self, *, layers: int = 0, count: int = 1, resume: bool = False) -> None:
        """Start a run and return at once."""
        drive(self._protocol.run(layers=layers, count=count, resume=resume), self._transport)

    def status(self) -> tuple[State, int]:
        """Return the state and the layers done."""
        return drive(self._protocol.status(), self._transport)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end of the run and return the layers done."""
        return drive(self._protocol.wait(timeout_s), self._transport)

    def read(self, space: Space, address: int, length: int) -> bytes:
        """Read SCRATCH (group in address bits 31:24) or COUNTERS."""
        return drive(self._protocol.read(space, address, length), self._transport)

    def counters(self, layer: int = 0) -> dict[Counter, int]:
        """Return the performance counters; those of one layer, if the device counts layers."""
        return drive(self._protocol.counters(layer), self._transport)

    def reset(self) -> None:
        """Stop a run; the program and all memories are kept."""
        drive(self._protocol.reset(), self._transport)
