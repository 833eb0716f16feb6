"""Conversations with a device, as generators that do no input or output (`pyhw.host.link`)."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.frames import ARGUMENTS, Command, State, Status
from pyhw.hdl.isa import COUNTER_SET, Counter, Space, space_bytes

from .frames import pack, unpack
from .link import (
    Damaged,
    DeviceError,
    Link,
    Operation,
    Progress,
    Receive,
    Request,
    Send,
    drive,
    drive_async,
)

__all__ = ["Damaged", "DeviceError", "Identity", "Loadable", "Operation", "Progress", "Protocol",
           "Receive", "Request", "Send", "drive", "drive_async"]

_LOAD_AGAIN = (Status.OUT_OF_ORDER, Status.BAD_CHECKSUM)
"""Answers to a load in which a frame was lost, or the device was reset."""


class Loadable(Interface):
    """What `Protocol.load_program` needs of a program."""

    @property
    def config_hash(self) -> bytes:
        """Of the configuration that it was compiled for."""

    @property
    def sections(self) -> list[tuple[Space, int, bytes]]:
        """Memory contents with their first word."""


@dataclass(frozen=True)
class Identity:
    """A device's answer to IDENTIFY."""

    isa: int
    hash: bytes
    groups: int
    max_payload: int


class Protocol(Link):
    """Operations on one device; parameters as of `Link`.

    What is long is sent ahead. If a frame of it is damaged, it is started again, one frame at a
    time from then on.
    """

    def identify(self) -> Operation[Identity]:
        """Ask who the device is."""
        values = yield from self._ask(Command.IDENTIFY)
        return Identity(
            values["isa"],
            values["hash"].to_bytes(8, "little"),
            values["groups"],
            values["max_payload"],
        )

    def check(self) -> Operation[Identity]:
        """Ask who the device is; `DeviceError` if it is of another version or configuration."""
        identity = yield from self.identify()
        if identity.isa != ISA_VERSION:
            older = identity.isa < ISA_VERSION
            raise DeviceError(
                f"The device's gateware is of version {identity.isa}, "
                f"{'older' if older else 'newer'} than this pyhw's {ISA_VERSION}; "
                + ("generate it again and load it" if older else "update pyhw"))
        if identity.hash != self.config.hash:
            raise DeviceError(
                f"The device has configuration {_named(identity.hash)}, not "
                f"{self.config.hash.hex()} ({self.config.name}); load its gateware first, or "
                "compile the program for the device's configuration", Status.WRONG_CONFIG)
        return identity

    def load_program(self, program: Loadable, progress: Progress | None = None) -> Operation[None]:
        """Load a program; the device has none until all of it has arrived."""
        requests = self.load_requests(program)
        for attempt in range(self.attempts):
            self.retries += attempt > 0
            try:
                yield from self.all(requests, careful=attempt > 0, progress=progress)
                return
            except Damaged:
                pass
            except DeviceError as error:
                if error.status not in _LOAD_AGAIN:
                    raise
        raise DeviceError(f"The program did not arrive whole in {self.attempts} attempts; check "
                          "the cable and the speed", Status.BAD_CHECKSUM)

    def load_requests(self, program: Loadable) -> list[Request]:
        """Return the frames that load a program; `DeviceError` if it is for another device."""
        if program.config_hash != self.config.hash:
            raise DeviceError(
                "The program was compiled for another configuration "
                f"({program.config_hash.hex()}, the device's is "
                f"{self.config.hash.hex()}); compile it again",
                Status.WRONG_CONFIG,
            )
        hash_ = int.from_bytes(self.config.hash, "little")
        writes = [Request.of(Command.WRITE, part, space=space.value, address=at)
                  for space, address, raw in program.sections
                  for at, part in self._parts(space, address, raw)]
        checksum = 0
        for write in writes:
            checksum = zlib.crc32(write.payload, checksum)
        return [Request.of(Command.BEGIN, hash=hash_), *writes,
                Request.of(Command.COMMIT, crc=checksum)]

    def checksum(self, program: Loadable) -> int:
        """Return what COMMIT says of a program."""
        return int.from_bytes(self.load_requests(program)[-1].payload, "little")

    def check_program(self, program: Loadable) -> Operation[None]:
        """Ask whether the device holds a program; `DeviceError` if it holds none or another."""
        state, _ = yield from self.status()
        if state is State.NO_PROGRAM:
            raise DeviceError("The device holds no program; load it (without --loaded)",
                              Status.NO_PROGRAM)
        try:
            yield from self._command(Command.COMMIT, crc=self.checksum(program))
        except DeviceError as error:
            reason = {
                Status.BAD_CHECKSUM: "holds another program than this one",
                Status.OUT_OF_ORDER: "is too old to tell which program it holds",
            }.get(error.status)  # type: ignore[arg-type]
            if reason is None:
                raise
            raise DeviceError(f"The device {reason}; load it (without --loaded)",
                              error.status) from None

    def write_image(self, group: int, base: int, image: bytes) -> Operation[None]:
        """Send one image into a group's scratchpad, to be folded on the way."""
        yield from self._again(self.image_requests(group, base, image))

    def write_images(self, images: Iterable[tuple[int, int, bytes]]) -> Operation[None]:
        """Send images, each with its group and base."""
        yield from self._again([request for group, base, image in images
                                for request in self.image_requests(group, base, image)])

    def image_requests(self, group: int, base: int, image: bytes) -> list[Request]:
        """Return the frames that send an image."""
        step = self.config.port.max_payload - _bytes(Command.IMAGE)
        return [Request.of(Command.IMAGE, image[offset : offset + step], group=group, base=base,
                           offset=offset)
                for offset in range(0, max(len(image), 1), step)]

    def write(self, group: int, address: int, raw: bytes) -> Operation[None]:
        """Write bytes of a group's scratchpad."""
        yield from self._again([
            Request.of(Command.WRITE, part, space=Space.SCRATCH.value, address=at)
            for at, part in self._parts(Space.SCRATCH, group << 24 | address, raw)])

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
        return decode_status((yield from self._command(Command.STATUS, flags=int(wait))))

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
        requests = self.read_requests(space, address, length)
        return self.joined(requests, (yield from self._again(requests)))

    def read_requests(self, space: Space, address: int, length: int) -> list[Request]:
        """Return the frames that read a range."""
        step = self.config.port.max_payload - 1
        return [Request.of(Command.READ, space=space.value, address=address + at,
                           length=min(step, length - at)) for at in range(0, length, step)]

    @staticmethod
    def joined(requests: Sequence[Request], replies: Sequence[bytes]) -> bytes:
        """Return the bytes that were read; `DeviceError` if a reply has another length."""
        for request, part in zip(requests, replies, strict=True):
            wanted = int.from_bytes(request.payload[5:7], "little")
            if len(part) != wanted:
                raise DeviceError(f"The device sent {len(part)} bytes instead of {wanted}")
        return b"".join(replies)

    def counters(self, layer: int = 0) -> Operation[dict[Counter, int]]:
        """Return the performance counters; those of one layer, if the device counts layers.

        None if the configuration leaves them out.
        """
        if not self.config.port.counted_layers:
            return {}
        raw = yield from self.read(Space.COUNTERS, COUNTER_SET * layer, 8 * len(Counter))
        return {c: int.from_bytes(raw[8 * c.value : 8 * c.value + 8], "little") for c in Counter}

    def reset(self) -> Operation[None]:
        """Stop a run; the program and all memories are kept."""
        yield from self._command(Command.RESET)

    def _parts(self, space: Space, address: int, raw: bytes) -> Iterable[tuple[int, bytes]]:
        word = space_bytes(self.config, space)
        words = (self.config.port.max_payload - _bytes(Command.WRITE)) // word
        if words < 1:
            raise ValueError(
                f"Config.port.max_payload must hold a word of {space.name} ({word} bytes) "
                f"and 5 bytes more, not {self.config.port.max_payload}"
            )
        for start in range(0, len(raw), words * word):
            yield address + start // word, raw[start : start + words * word]

    def _again(self, requests: Sequence[Request]) -> Operation[list[bytes]]:
        """Send frames that may be executed twice: ahead, and if one is damaged all again."""
        try:
            return (yield from self.all(requests))
        except Damaged:
            self.retries += 1
            return (yield from self.all(requests, careful=True))

    def _ask(self, command: Command, **arguments: int) -> Operation[dict[str, int]]:
        """Send a command and return the fields of its reply."""
        return _fields(command, (yield from self._command(command, b"", **arguments)))

    def _command(self, command: Command, data: bytes = b"", **arguments: int) -> Operation[bytes]:
        """Send a command until it is answered, and return the reply's data."""
        return (yield from self.one(Request(command, pack(command, data, **arguments))))


def decode_status(data: bytes) -> tuple[State, int]:
    """Return the state and the layers done from a reply to STATUS."""
    values = _fields(Command.STATUS, data)
    try:
        return State(values["state"]), values["layers_done"]
    except ValueError:
        raise DeviceError(f"The device is in the unknown state {values['state']}; is its gateware "
                          "newer?") from None


def _fields(command: Command, data: bytes) -> dict[str, int]:
    try:
        return unpack(command, data)
    except ValueError as error:
        raise DeviceError(f"{error}; is the device's gateware of another version?") from None


def _bytes(command: Command) -> int:
    return sum(size for _, size in ARGUMENTS[command])


def _named(hash_: bytes) -> str:
    """Return a configuration's hash, with its name if it is one of the package."""
    from pyhw.configure import every_preset

    name = next((config.name for config in every_preset() if config.hash == hash_), "")
    return f"{hash_.hex()}{f' ({name})' if name else ''}"
