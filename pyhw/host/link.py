"""Commands and replies: sequence numbers, repetition, and sending ahead.

Everything here is a generator that does no input or output itself: it yields `Send`, `Receive` and
`Now` and is sent the received bytes and the time back, so the same code runs over
a serial port (`drive`) and inside a simulation (`drive_async`).
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pyhw.errors import UserError
from pyhw.hdl.config import Config
from pyhw.hdl.frames import FRAME_ERROR, FRAME_VERSION, REPLY_BIT, Command, Status

from .frames import Decoder, encode, pack

__all__ = ["AHEAD", "Damaged", "DeviceError", "Link", "Now", "Operation", "Progress", "Receive",
           "Request", "Send", "drive", "drive_async"]

AHEAD = 2
"""Frames that a device has room for: one that it executes, and one that it has received."""


@dataclass(frozen=True)
class Send:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True)
class Receive:
    """Wait for at least one byte, at most so long; nothing received is ``b""``."""

    timeout_s: float


@dataclass(frozen=True)
class Now:
    """Tell the time in seconds, counted from anywhere."""


T = TypeVar("T")
Operation = Generator[Send | Receive | Now, Any, T]
Progress = Callable[[int, int], None]
"""Called with the frames answered and all frames."""


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


class Damaged(Exception):
    """A frame that was sent ahead, or its reply, did not arrive.

    Parameters
    ----------
    replies : list of bytes
        Data of the replies before it, all of them good.
    """

    def __init__(self, replies: list[bytes]) -> None:
        self.replies = replies
        super().__init__(f"no reply to frame {len(replies)} of those sent ahead")


@dataclass(frozen=True)
class Request:
    """A command with its payload."""

    command: Command
    payload: bytes

    @classmethod
    def of(cls, command: Command, data: bytes = b"", **arguments: int) -> "Request":
        """Return a command with its arguments and data (`pyhw.host.frames.pack`)."""
        return cls(command, pack(command, data, **arguments))


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


class Link:
    """Commands to one device.

    Parameters
    ----------
    config : Config
        The configuration that the device was generated from.
    timeout_s : float
        How long the line may be silent before the command is sent again; longer than the frames
        sent ahead take on the line and than the device's frame timeout. A reply has twice this
        time to be complete, whatever else arrives.
    attempts : int
        How often a command is sent before the device is given up.
    ahead : int
        Frames sent before the first of them is answered; with a READ among them at most 2.
    """

    def __init__(self, config: Config, *, timeout_s: float = 1.0, attempts: int = 4,
                 ahead: int = AHEAD) -> None:
        if attempts < 2:
            raise ValueError(f"attempts must be at least 2, not {attempts}")
        if not 1 <= ahead <= 64:
            raise ValueError(f"ahead must be from 1 to 64, not {ahead}")
        self.config = config
        self.timeout_s = timeout_s
        self.attempts = attempts
        self.ahead = ahead
        self.retries = 0
        """Frames sent again, and sequences of frames started again."""
        self._decoder = Decoder(config.port.max_payload)
        self._sequence = 0

    def all(self, requests: Sequence[Request], *, careful: bool = False,
            progress: Progress | None = None,
            replies: list[bytes] | None = None) -> Operation[list[bytes]]:
        """Send commands in order and return the data of their replies.

        Parameters
        ----------
        requests : sequence of Request
        careful : bool
            One at a time, each until it is answered, instead of sending ahead.
        progress : callable, optional
        replies : list of bytes, optional
            Takes the data as they come, so that an error loses none; empty at first.

        Raises
        ------
        Damaged
            If a frame or reply was lost; which of the frames behind it were executed is not known.
        DeviceError
            If a command is refused, or the device does not answer at all.
        """
        replies = [] if replies is None else replies
        flying: deque[tuple[int, Command]] = deque()
        sent = ignored = 0
        since = yield Now()
        while len(replies) < len(requests):
            if careful:
                replies.append((yield from self.one(requests[len(replies)])))
                if progress is not None:
                    progress(len(replies), len(requests))
                continue
            while sent < len(requests) and len(flying) < self._room(flying, requests[sent]):
                flying.append((self._next_sequence(), requests[sent].command))
                yield Send(self._encode(requests[sent]))
                sent += 1
            raw = yield Receive(self.timeout_s)
            ignored += len(raw or b"")
            late = (yield Now()) - since > 2 * self.timeout_s
            if not raw or late or ignored > self._patience(len(flying)):
                self._decoder.reset()
                raise Damaged(replies)
            for frame in self._decoder.feed(raw):
                answered = (frame.sequence, frame.opcode ^ REPLY_BIT)
                waited = [(sequence, command.value) for sequence, command in flying]
                if frame.opcode == FRAME_ERROR or answered in waited[1:]:
                    raise Damaged(replies)
                if waited and answered == waited[0]:
                    replies.append(_data(flying.popleft()[1], frame.payload))
                    ignored, since = 0, (yield Now())
                    if progress is not None:
                        progress(len(replies), len(requests))
        return replies

    def one(self, request: Request) -> Operation[bytes]:
        """Send a command until it is answered, and return the reply's data."""
        self._next_sequence()
        for attempt in range(self.attempts):
            self.retries += attempt > 0
            yield Send(self._encode(request))
            payload = yield from self._reply(request.command)
            if payload is not None:
                return _data(request.command, payload)
        foreign = self._decoder.foreign
        raise DeviceError(
            f"The device did not answer {request.command.name} in {self.attempts} attempts; "
            + (f"what came looks like frames of version {foreign}, and this pyhw speaks "
               f"{FRAME_VERSION}: generate its gateware again, or update pyhw" if foreign else
               "check the port, the speed and that the accelerator is loaded"))

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def _encode(self, request: Request) -> bytes:
        return encode(self._sequence, request.command.value, request.payload)

    def _room(self, flying: Iterable[tuple[int, Command]], request: Request) -> int:
        """Return how many frames may be unanswered once a request is sent.

        A READ is executed as slowly as the line takes its reply, and fills the device's buffers;
        others are executed faster than the line brings them.
        """
        reads = request.command is Command.READ or any(c is Command.READ for _, c in flying)
        return min(self.ahead, AHEAD) if reads else self.ahead

    def _patience(self, frames: int) -> int:
        """Return the bytes that may come without the reply that is waited for."""
        return 4 * self.config.port.max_payload * frames

    def _reply(self, command: Command) -> Operation[bytes | None]:
        """Return the payload of this command's reply, None when it is time to ask again."""
        ignored, begun = 0, (yield Now())
        while ignored <= self._patience(1) and (yield Now()) - begun <= 2 * self.timeout_s:
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


def _data(command: Command, payload: bytes) -> bytes:
    """Return what follows the status of a reply; `DeviceError` if that is not OK."""
    try:
        status = Status(payload[0])
    except IndexError:
        raise DeviceError(f"The device answered {command.name} without a status") from None
    except ValueError:
        raise DeviceError(
            f"The device answered with the unknown status {payload[0]}; is its gateware newer?"
        ) from None
    if status is not Status.OK:
        raise DeviceError(
            f"{command.name} was refused: {_REASONS.get(status, status.name)}", status)
    return payload[1:]


def drive(operation: Operation[T], transport: Any) -> T:
    """Run an operation over a transport with ``send(data)`` and ``receive(timeout_s)``."""
    received: Any = None
    while True:
        try:
            step = operation.send(received)
        except StopIteration as end:
            return end.value
        if isinstance(step, Send):
            received = transport.send(step.data)
        elif isinstance(step, Now):
            received = time.monotonic()
        else:
            received = transport.receive(step.timeout_s)


async def drive_async(operation: Operation[T], transport: Any) -> T:
    """Run an operation over a transport whose ``send`` and ``receive`` are coroutines.

    Time stands still for it: a simulation has limits of its own.
    """
    received: Any = None
    while True:
        try:
            step = operation.send(received)
        except StopIteration as end:
            return end.value
        if isinstance(step, Send):
            received = await transport.send(step.data)
        elif isinstance(step, Now):
            received = 0.0
        else:
            received = await transport.receive(step.timeout_s)
