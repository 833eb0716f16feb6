"""A device behind a blocking byte transport."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np

from pyhw.compiler.program import Program
from pyhw.hdl.config import Config
from pyhw.hdl.frames import State
from pyhw.hdl.isa import Counter, Space

from .inference import Inference, check_images
from .link import AHEAD, Progress
from .protocol import Identity, Loadable, Protocol, drive


class Transport(Interface):
    """A byte pipe, such as a serial port."""

    def send(self, data: bytes) -> None:
        """Send all bytes."""

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least a byte; ``b""`` after so long without one."""


@dataclass
class Traffic:
    """What went over the line, and when it began."""

    sent: int = 0
    received: int = 0
    retries: int = 0
    loads: int = 0
    started: float = 0.0

    def since(self, before: "Traffic") -> "Traffic":
        """Return what was added since; `started` becomes the seconds that it took."""
        return Traffic(self.sent - before.sent, self.received - before.received,
                       self.retries - before.retries, self.loads - before.loads,
                       self.started - before.started)


class _Counted:
    """A transport that counts its bytes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.sent = self.received = 0

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self._transport.send(data)

    def receive(self, timeout_s: float) -> bytes:
        data = self._transport.receive(timeout_s)
        self.received += len(data)
        return data


class Device:
    """An accelerator behind a transport; most methods are operations of `Protocol`.

    Parameters
    ----------
    transport : Transport
    config : Config
    timeout_s, attempts, ahead
        See `Protocol`.
    """

    def __init__(
        self, transport: Transport, config: Config, *, timeout_s: float = 1.0, attempts: int = 4,
        ahead: int = AHEAD,
    ) -> None:
        self._transport = _Counted(transport)
        self._protocol = Protocol(config, timeout_s=timeout_s, attempts=attempts, ahead=ahead)
        self._inference: Inference | None = None
        self.loading = Traffic()
        """What loading or checking the program took."""

    def start(self, program: Program, progress: Progress | None = None, *, loaded: bool = False
              ) -> Identity:  # fmt: skip
        """Check that the device is the right one and load a program for `infer`.

        With `loaded`, check that the device holds the program already.
        """
        self._inference, before = None, self.traffic
        inference = Inference(self._protocol, program)
        identity = drive(inference.start(progress, loaded=loaded), self._transport)
        self._inference = inference
        self.loading = self.traffic.since(before)
        return identity

    def infer(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs of the program that was started, int64 (N, H, W, C).

        Parameters
        ----------
        images : integer array (N, H, W, C)
            In the format of the program's input; any number of them.
        """
        parts = list(self.stream(images))
        if not parts:
            assert self._inference is not None
            return np.empty((0, *self._inference.program.output.shape), np.int64)
        return np.concatenate(parts)

    def stream(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the outputs of one batch after the other, so that an error loses none of them."""
        if self._inference is None:
            raise ValueError("Device.start must load a program first")
        inference = self._inference
        raw, batch = check_images(inference.program, images), inference.program.batch
        parts: list[np.ndarray | None] = [raw[k:k + batch] for k in range(0, len(raw), batch)]
        for part in [*parts, None]:
            try:
                outputs = drive(inference.advance(part), self._transport)
            except BaseException:
                if (rescued := inference.rescue()) is not None:
                    yield rescued
                raise
            if outputs is not None:
                yield outputs

    @property
    def traffic(self) -> Traffic:
        """Bytes, retries and loads up to now, and the time."""
        return Traffic(self._transport.sent, self._transport.received, self._protocol.retries,
                       self._inference.loads if self._inference else 0, time.monotonic())

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
        """Return the performance counters; those of one layer, if the device counts layers.

        None if the configuration leaves them out.
        """
        return drive(self._protocol.counters(layer), self._transport)

    def reset(self) -> None:
        """Stop a run; the program and all memories are kept."""
        drive(self._protocol.reset(), self._transport)
