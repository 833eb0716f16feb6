"""Conversations with a device as generators that do no input or output themselves.

An operation yields `Send` and `Receive` and is sent the received bytes back, so the same code runs
over a serial port (`drive`) and inside a simulation (`drive_async`).
"""

import math
import zlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from typing import Protocol as Interface

from hdl.config import Config
from hdl.frames import ARGUMENTS, FRAME_ERROR, REPLY_BIT, Command, State, Status
from hdl.isa import COUNTER_SET, Counter, Space, space_bytes
from pyhw.errors import UserError

from .frames import Decoder, encode, pack, unpack


@dataclass(frozen=True)
class Send:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True)
class Receive:
    """Wait for at least one byte, at most so long; nothing received is ``b""``."""

    timeout_s: float


T = TypeVar("T")
Operation = Generator[Send | Receive, bytes | None, T]


class Loadable(Interface):
    """What `Protocol.load_program` needs of a program."""

    config_hash: bytes
    sections: list[tuple[Space, int, bytes]]


class DeviceError(UserError):
    """Report that the device refused a command, or did not answer.

    Parameters
    ----------
    text : str
    status : Status or None
        What the device answered.
    """

    def __init__(self, text: str, status: Status | None = None) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class Identity:
    """A device's answer to IDENTIFY."""

    isa: int
    hash: bytes
    groups: int
    max_payload: int


_REASONS = {
    Status.UNKNOWN_COMMAND: "the device does not know it; is its gateware older?",
    Status.BAD_LENGTH: "the payload has a wrong length",
    Status.NO_PROGRAM: "the device has no program; load one first",
    Status.BUSY: "a run is going on; wait for its end or reset",
    Status.WRONG_CONFIG: "the device has another configuration; compile the program for it",
    Status.BAD_CHECKSUM: "the program did not arrive whole; load it again",
    Status.OUT_OF_RANGE: "the address is outside the memory",
    Status.OUT_OF_ORDER: "it does not fit what came before; start the load or image again",
}


class Protocol:
    """Operations on one device.

    Parameters
    ----------
    config : Config
        The configuration that the device was generated from.
    timeout_s : float
        How long to wait for a reply before the command is sent again; longer than a frame takes
        on the line and than the device's frame timeout.
    attempts : int
        How often a command is sent before the device is given up.
    """

    def __init__(self, config: Config, *, timeout_s: float = 1.0, attempts: int = 4) -> None:
        if attempts < 2:
            raise ValueError(f"attempts must be at least 2, not {attempts}")
        self.config = config
        self.timeout_s = timeout_s
        self.attempts = attempts
        self._decoder = Decoder(config.max_payload)
        self._sequence = 0

    def identify(self) -> Operation[Identity]:
        """Ask who the device is."""
        values = yield from self._ask(Command.IDENTIFY)
        return Identity(
            values["isa"],
            values["hash"].to_bytes(8, "little"),
            values["groups"],
            values["max_payload"],
        )

    def load_program(self, program: Loadable) -> Operation[None]:
        """Load a program; the device has none until all of it has arrived."""
        if program.config_hash != self.config.hash:
            raise DeviceError(
                "The program was compiled for another configuration "
                f"({program.config_hash.hex()}, the device's is "
                f"{self.config.hash.hex()}); compile it again",
                Status.WRONG_CONFIG,
            )
        hash_ = int.from_bytes(self.config.hash, "little")
        yield from self._command(Command.BEGIN, hash=hash_)
        checksum = 0
        for space, address, raw in program.sections:
            for at, part in self._parts(space, address, raw):
                checksum = zlib.crc32(
                    pack(Command.WRITE, part, space=space.value, address=at), checksum
                )
                yield from self._command(Command.WRITE, part, space=space.value, address=at)
        yield from self._command(Command.COMMIT, crc=checksum)

    def write_image(self, group: int, base: int, image: bytes) -> Operation[None]:
        """Send one image into a group's scratchpad, to be folded on the way."""
        step = self.config.max_payload - _bytes(Command.IMAGE)
        for offset in range(0, max(len(image), 1), step):
            yield from self._command(
                Command.IMAGE, image[offset : offset + step], group=group, base=base, offset=offset
            )

    def write_images(self, images: Iterable[tuple[int, int, bytes]]) -> Operation[None]:
        """Send images, each with its group and base."""
        for group, base, image in images:
            yield from self.write_image(group, base, image)

    def write(self, group: int, address: int, raw: bytes) -> Operation[None]:
        """Write bytes of a group's scratchpad."""
        for at, part in self._parts(Space.SCRATCH, group << 24 | address, raw):
            yield from self._command(Command.WRITE, part, space=Space.SCRATCH.value, address=at)

    def run(self, *, layers: int = 0, count: int = 1, resume: bool = False) -> Operation[None]:
        """Start a run and return at once.

        Parameters
        ----------
        layers : int
            Stop after so many layers; 0 runs to the end.
        count : int
            The run-time count: image slots per group.
        resume : bool
            Go on where the last run stopped.
        """
        yield from self._command(Command.RUN, flags=int(resume), layers=layers, count=count)

    def status(self, *, wait: bool = False) -> Operation[tuple[State, int]]:
        """Return the state and the layers done; with ``wait`` the device answers at the end of
        the run or when it is asked again.
        """
        values = yield from self._ask(Command.STATUS, flags=int(wait))
        return State(values["state"]), values["layers_done"]

    def wait(self, timeout_s: float = 60.0) -> Operation[int]:
        """Wait for the end of the run and return the layers done."""
        for _ in range(math.ceil(timeout_s / self.timeout_s)):
            state, layers_done = yield from self.status(wait=True)
            if state is not State.RUNNING:
                return layers_done
        raise DeviceError(
            f"The run has not ended within {timeout_s:g} s ({layers_done} layers "
            "done); wait longer or reset the device"
        )

    def read(self, space: Space, address: int, length: int) -> Operation[bytes]:
        """Read SCRATCH (group in address bits 31:24) or COUNTERS."""
        raw, step = b"", self.config.max_payload - 1
        while len(raw) < length:
            size = min(step, length - len(raw))
            part = yield from self._command(
                Command.READ, space=space.value, address=address + len(raw), length=size
            )
            if len(part) != size:
                raise DeviceError(f"The device sent {len(part)} bytes instead of {size}")
            raw += part
        return raw

    def counters(self, layer: int = 0) -> Operation[dict[Counter, int]]:
        """Return the performance counters; those of one layer, if the device counts layers."""
        raw = yield from self.read(Space.COUNTERS, COUNTER_SET * layer, 8 * len(Counter))
        return {c: int.from_bytes(raw[8 * c.value : 8 * c.value + 8], "little") for c in Counter}

    def reset(self) -> Operation[None]:
        """Stop a run; the program and all memories are kept."""
        yield from self._command(Command.RESET)

    def _parts(self, space: Space, address: int, raw: bytes) -> Iterable[tuple[int, bytes]]:
        word = space_bytes(self.config, space)
        words = (self.config.max_payload - _bytes(Command.WRITE)) // word
        if words < 1:
            raise ValueError(
                f"Config.max_payload must hold a word of {space.name} ({word} bytes) "
                f"and 5 bytes more, not {self.config.max_payload}"
            )
        for start in range(0, len(raw), words * word):
            yield address + start // word, raw[start : start + words * word]

    def _ask(self, command: Command, **arguments: int) -> Operation[dict[str, int]]:
        """Send a command and return the fields of its reply."""
        data = yield from self._command(command, b"", **arguments)
        try:
            return unpack(command, data)
        except ValueError as error:
            raise DeviceError(f"{error}; is the device's gateware of another version?") from None

    def _command(self, command: Command, data: bytes = b"", **arguments: int) -> Operation[bytes]:
        """Send a command until it is answered, and return the reply's data."""
        self._sequence = (self._sequence + 1) & 0xFF
        request = encode(self._sequence, command.value, pack(command, data, **arguments))
        for _ in range(self.attempts):
            yield Send(request)
            payload = yield from self._reply(command)
            if payload is None:
                continue
            status = _status(payload)
            if status is not Status.OK:
                raise DeviceError(
                    f"{command.name} was refused: {_REASONS.get(status, status.name)}", status
                )
            return payload[1:]
        raise DeviceError(
            f"The device did not answer {command.name} in {self.attempts} attempts; "
            "check the port, the speed and that the accelerator is loaded"
        )

    def _reply(self, command: Command) -> Operation[bytes | None]:
        """Return the payload of this command's reply, None when it is time to ask again."""
        ignored = 0
        while ignored <= 4 * self.config.max_payload:
            raw = yield Receive(self.timeout_s)
            if not raw:
                self._decoder.reset()
                return None
            ignored += len(raw)
            for frame in self._decoder.feed(raw):
                if frame.opcode == FRAME_ERROR:
                    return None
                if (frame.sequence, frame.opcode) == (self._sequence, command.value | REPLY_BIT):
                    return frame.payload or None
        return None


def _bytes(command: Command) -> int:
    return sum(size for _, size in ARGUMENTS[command])


def _status(payload: bytes) -> Status:
    try:
        return Status(payload[0])
    except ValueError:
        raise DeviceError(
            f"The device answered with the unknown status {payload[0]}; is its gateware newer?"
        ) from None


def drive(operation: Operation[T], transport: Any) -> T:
    """Run an operation over a transport with ``send(data)`` and ``receive(timeout_s)``."""
    received = None
    while True:
        try:
            step = operation.send(received)
        except StopIteration as end:
            return end.value
        if isinstance(step, Send):
            transport.send(step.data)
            received = None
        else:
            received = transport.receive(step.timeout_s)


async def drive_async(operation: Operation[T], transport: Any) -> T:
    """Run an operation over a transport whose ``send`` and ``receive`` are coroutines."""
    received = None
    while True:
        try:
            step = operation.send(received)
        except StopIteration as end:
            return end.value
        if isinstance(step, Send):
            await transport.send(step.data)
            received = None
        else:
            received = await transport.receive(step.timeout_s)
