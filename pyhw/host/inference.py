"""Images through a program on a device, whatever happens on the way.

Everything goes ahead of its replies: the READs of one batch, the images of the next, its RUN and a
STATUS. A program that has its input and output twice runs one batch while the images of the next
arrive, and that while the results of the one before leave.

What a frame that got lost leaves behind is not looked into; the run is stopped and the batch sent
again, frame by frame. Results count only if a command behind them shows that the program is still
there: a device that was reset in between has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.hdl.formats import Format
from pyhw.hdl.frames import Command, State, Status
from pyhw.hdl.isa import Space

from .link import Damaged, DeviceError, Operation, Progress, Request
from .protocol import Identity, Protocol, decode_status

__all__ = ["Inference", "check_images"]

_AGAIN = (Status.NO_PROGRAM, Status.OUT_OF_ORDER, Status.BUSY)
"""Answers that a lost frame or a reset of the device leads to."""


@dataclass
class _Flight:
    """Results that are being read."""

    images: np.ndarray
    reads: list[list[Request]]
    """Of each group."""
    replies: list[bytes]
    status: bool
    """Whether the command behind the READs is a STATUS; otherwise it needs a program itself."""
    turn: int
    """Which of the program's buffers."""


class Inference:
    """One program on one device.

    Parameters
    ----------
    protocol : Protocol
        For the configuration that the program was compiled for.
    program : Program
    attempts : int
        How often a batch is tried after it was damaged, at least 1.
    run_s : float
        Longest time that a run may take.
    """

    def __init__(self, protocol: Protocol, program: Program, *, attempts: int = 8,
                 run_s: float = 60.0) -> None:
        self.protocol = protocol
        self.program = program
        self.loads = 0
        """How often the program was loaded."""
        self._attempts = attempts
        self._run_s = run_s
        self._waiting: np.ndarray | None = None  # images that have run, and were not read
        self._turn = 1  # of the buffers they are in
        self._flight: _Flight | None = None
        self._outputs: np.ndarray | None = None

    def start(self, progress: Progress | None = None, *, loaded: bool = False
              ) -> Operation[Identity]:  # fmt: skip
        """Check that the device is the right one, stop what it does, and load the program.

        With `loaded`, check that it holds the program already.
        """
        self._waiting = self._flight = self._outputs = None
        self._turn = 1  # the next one is 0
        identity = yield from self.protocol.check()
        yield from self.protocol.reset()
        if loaded:
            yield from self.protocol.check_program(self.program)
        else:
            yield from self._load(progress)
        return identity

    def advance(self, images: np.ndarray | None = None) -> Operation[np.ndarray | None]:
        """Read the batch before, and run another one.

        Parameters
        ----------
        images : uint8 array (N, bytes of an image), optional
            From `check_images`, N at most `Program.batch`; None only reads.

        Returns
        -------
        int64 array (N, H, W, C) or None
            Outputs of the batch before; None if there was none.

        Raises
        ------
        DeviceError
            If the device does not answer, refuses, or no attempt came through; `rescue` has the
            outputs that came before, and only `start` goes on.
        """
        if images is not None and not 0 < len(images) <= self.program.batch:
            raise ValueError(f"images must be 1 to {self.program.batch}, not {len(images)}")
        before, self._waiting, self._outputs = self._waiting, None, None
        ahead = self._overlapped if self.program.second_buffers else self._ahead
        ran = yield from self._tried(ahead(before, images))
        self._outputs, self._flight = self.rescue(), None
        if before is not None and self._outputs is None:
            self._outputs, ran = (yield from self._carefully(before, read=True)), False
        if images is not None and not ran:
            yield from self._carefully(images, read=False)
        self._waiting, outputs, self._outputs = images, self._outputs, None
        return outputs

    def rescue(self) -> np.ndarray | None:
        """Return the outputs that had come when an error ended `advance`; None if none had."""
        if self._outputs is not None or self._flight is None:
            return self._outputs
        flight = self._flight
        count = sum(map(len, flight.reads))
        if len(flight.replies) <= count:
            return None
        if flight.status and decode_status(flight.replies[count])[0] is State.NO_PROGRAM:
            return None
        return self._decode(flight)

    def batch(self, images: np.ndarray) -> Operation[np.ndarray]:
        """Return the outputs of a batch, as `advance` with the images and without."""
        yield from self.advance(images)
        outputs = yield from self.advance()
        assert outputs is not None
        return outputs

    def _load(self, progress: Progress | None = None) -> Operation[None]:
        self.loads += 1
        yield from self.protocol.load_program(self.program, progress)

    def _tried(self, ahead: Operation[bool]) -> Operation[bool]:
        """Try the fast way; False if something was damaged, or the device was reset."""
        try:
            return (yield from ahead)
        except Damaged:
            pass
        except DeviceError as error:
            if error.status not in _AGAIN:
                raise
        self.protocol.retries += 1
        return False

    def _ahead(self, before: np.ndarray | None, images: np.ndarray | None) -> Operation[bool]:
        """Read a batch, then send and run another; return whether its images have run."""
        reads = [] if before is None else self._reads(len(before))
        requests = [request for part in reads for request in part]
        replies: list[bytes] = []
        if before is not None:
            self._flight = _Flight(before, reads, replies, status=images is None, turn=0)
        if images is not None:
            requests += [*self._image_requests(images), self._run_request(len(images))]
        started = len(requests)
        if requests:
            requests.append(Request.of(Command.STATUS, flags=int(images is not None)))
        try:
            yield from self.protocol.all(requests, replies=replies)
        except Damaged:
            if len(replies) < started or images is None:
                raise
            # It runs; the answer to STATUS takes its time.
        if images is None:
            return False
        if len(replies) == started or decode_status(replies[-1])[0] is State.RUNNING:
            yield from self.protocol.wait(self._run_s)
        return True

    def _overlapped(self, before: np.ndarray | None, images: np.ndarray | None) -> Operation[bool]:
        """Send images while the batch before runs, run them, and read it meanwhile."""
        protocol, turn = self.protocol, self._turn
        requests = [] if images is None else self._image_requests(images, 1 - turn)
        waits = [] if before is None else [Request.of(Command.STATUS, flags=1)]
        replies: list[bytes] = []
        try:
            yield from protocol.all([*requests, *waits], replies=replies)
        except Damaged:
            if len(replies) < len(requests):
                raise
        if waits and (len(replies) == len(requests)
                      or decode_status(replies[-1])[0] is State.RUNNING):  # fmt: skip
            yield from protocol.wait(self._run_s)
        if images is not None:
            self._turn = 1 - turn
            yield from protocol.one(self._run_request(len(images), self._turn))
        if before is not None:
            reads, replies = self._reads(len(before), turn), []
            self._flight = _Flight(before, reads, replies, status=True, turn=turn)
            requests = [request for part in reads for request in part]
            yield from protocol.all([*requests, Request.of(Command.STATUS, flags=0)],
                                    replies=replies)
        return images is not None

    def _carefully(self, images: np.ndarray, *, read: bool) -> Operation[np.ndarray | None]:
        """Run images frame by frame, and read their outputs if wanted."""
        protocol = self.protocol
        for attempt in range(self._attempts):
            protocol.retries += attempt > 0
            try:
                yield from protocol.reset()
                state, _ = yield from protocol.status()
                if state is State.NO_PROGRAM:
                    yield from self._load()
                self._turn = 0
                yield from protocol.all([*self._image_requests(images),
                                         self._run_request(len(images))], careful=True)
                yield from protocol.wait(self._run_s)
                if not read:
                    return None
                reads = self._reads(len(images))
                requests = [request for part in reads for request in part]
                replies = yield from protocol.all(
                    [*requests, Request.of(Command.STATUS, flags=0)], careful=True)
            except DeviceError as error:
                if error.status not in _AGAIN:
                    raise
                continue
            if decode_status(replies[-1])[0] is State.IDLE:
                return self._decode(_Flight(images, reads, replies, status=True, turn=0))
        raise DeviceError(f"A batch of {len(images)} images was not answered in "
                          f"{self._attempts} attempts; check the cable and the speed")

    def _image_requests(self, images: np.ndarray, turn: int = 0) -> list[Request]:
        """Return the frames of all images."""
        groups, stored = self.program.groups, self.program.turns[turn][0]
        return [
            request for index, image in enumerate(images)
            for request in self.protocol.image_requests(
                index % groups, stored.base + index // groups * stored.slot_bytes,
                image.tobytes())]

    def _run_request(self, count: int, turn: int = 0) -> Request:
        """Return the frame that runs images; the second turn goes on behind the first."""
        return Request.of(Command.RUN, flags=turn, layers=len(self.program.layers),
                          count=-(-count // self.program.groups))

    def _reads(self, count: int, turn: int = 0) -> list[list[Request]]:
        """Return the READs of each group: all its slots at once."""
        groups, stored = self.program.groups, self.program.turns[turn][1]
        return [self.protocol.read_requests(
                    Space.SCRATCH, group << 24 | stored.base,
                    len(range(group, count, groups)) * stored.slot_bytes)
                for group in range(min(groups, count))]  # fmt: skip

    def _decode(self, flight: _Flight) -> np.ndarray:
        stored, groups, count = self.program.output, self.program.groups, len(flight.images)
        outputs = np.empty((count, *stored.shape), np.int64)
        size = int(np.prod(stored.shape)) * Format.parse(stored.fmt).bytes
        first = 0
        for group, part in enumerate(flight.reads):
            raw = self.protocol.joined(part, flight.replies[first:first + len(part)])
            first += len(part)
            for slot, index in enumerate(range(group, count, groups)):
                at = slot * stored.slot_bytes
                outputs[index] = stored.decode(raw[at:at + size])
        return outputs


def check_images(program: Program, images: np.ndarray) -> np.ndarray:
    """Return images as bytes for the device, uint8 (N, bytes of an image).

    Raises
    ------
    UserError
        If they are no integers, or of another shape or range than the program's input.
    """
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "iu":
        raise UserError("images must be an integer array, not "
                        f"{getattr(images, 'dtype', type(images).__name__)}")
    shape: Sequence[int] = program.input_shape
    if images.ndim != 4 or images.shape[1:] != tuple(shape):
        raise UserError(f"images must have shape (N, {', '.join(map(str, shape))}) for the "
                        f"program {program.name!r}, not {images.shape}")
    fmt = Format.parse(program.input.fmt)
    if len(images) and not fmt.min <= int(images.min()) <= int(images.max()) <= fmt.max:
        raise UserError(f"images must hold values from {fmt.min} to {fmt.max} ({program.input.fmt}"
                        f"), not {images.min()} to {images.max()}")
    return (images.astype(np.int64) & 0xFF).astype(np.uint8).reshape(
        len(images), int(np.prod(shape)))
