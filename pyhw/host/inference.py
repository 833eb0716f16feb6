"""Images through a program on a device, whatever happens on the way.

A batch is what is done again: image frames, RUN and STATUS go ahead of their replies, then the
READs and a STATUS. What a frame that got lost leaves behind is not looked into; the run is stopped
and the batch sent again, frame by frame. Results count only if the STATUS behind them says that the
program is still there: a device that was reset in between has none.
"""

from collections.abc import Sequence

import numpy as np

from hdl.formats import Format
from hdl.frames import Command, State, Status
from hdl.isa import Space
from pyhw.compiler.program import Program
from pyhw.errors import UserError

from .link import Damaged, DeviceError, Operation, Progress, Request
from .protocol import Identity, Protocol, decode_status

__all__ = ["Inference", "check_images"]

_AGAIN = (Status.NO_PROGRAM, Status.OUT_OF_ORDER, Status.BUSY)
"""Answers that a lost frame or a reset of the device leads to."""


class Inference:
    """One program on one device.

    Parameters
    ----------
    protocol : Protocol
        For the configuration that the program was compiled for.
    program : Program
    attempts : int
        How often a batch is tried, at least 1.
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

    def start(self, progress: Progress | None = None) -> Operation[Identity]:
        """Check that the device is the right one, stop what it does, and load the program."""
        identity = yield from self.protocol.check()
        yield from self.protocol.reset()
        yield from self._load(progress)
        return identity

    def batch(self, images: np.ndarray) -> Operation[np.ndarray]:
        """Return the outputs of a batch.

        Parameters
        ----------
        images : uint8 array (N, bytes of an image)
            N at most `Program.batch`; values as the host sends them (`raw_images`).

        Returns
        -------
        int64 array (N, H, W, C)

        Raises
        ------
        DeviceError
            If the device does not answer, refuses, or no attempt came through.
        """
        if not 0 < len(images) <= self.program.batch:
            raise ValueError(f"images must be 1 to {self.program.batch}, not {len(images)}")
        for attempt in range(self._attempts):
            try:
                if attempt:
                    self.protocol.retries += 1
                    yield from self._recover()
                yield from self._run(images, careful=attempt > 0)
                outputs = yield from self._outputs(len(images))
            except Damaged:
                continue
            except DeviceError as error:
                if error.status not in _AGAIN:
                    raise
                continue
            if outputs is not None:
                return outputs
        raise DeviceError(f"A batch of {len(images)} images was not answered in "
                          f"{self._attempts} attempts; check the cable and the speed")

    def _load(self, progress: Progress | None = None) -> Operation[None]:
        self.loads += 1
        yield from self.protocol.load_program(self.program, progress)

    def _recover(self) -> Operation[None]:
        yield from self.protocol.reset()
        state, _ = yield from self.protocol.status()
        if state is State.NO_PROGRAM:
            yield from self._load()

    def _run(self, images: np.ndarray, careful: bool) -> Operation[None]:
        program, protocol = self.program, self.protocol
        requests = [
            request for index, image in enumerate(images)
            for request in protocol.image_requests(
                index % program.groups,
                program.input.base + index // program.groups * program.input.slot_bytes,
                image.tobytes())]
        count = -(-len(images) // program.groups)
        requests.append(Request.of(Command.RUN, flags=0, layers=0, count=count))
        started = len(requests)
        requests.append(Request.of(Command.STATUS, flags=1))
        try:
            replies = yield from protocol.all(requests[:started] if careful else requests,
                                              careful=careful)
        except Damaged as damaged:
            if len(damaged.replies) < started:
                raise
            replies = damaged.replies  # it runs; the answer to STATUS takes its time
        done = len(replies) > started and decode_status(replies[started])[0] is not State.RUNNING
        if not done:
            yield from protocol.wait(self._run_s)

    def _outputs(self, count: int) -> Operation[np.ndarray | None]:
        """Read the results of a run; None if the device was reset since."""
        program, protocol = self.program, self.protocol
        stored, groups = program.output, program.groups
        reads = [protocol.read_requests(Space.SCRATCH, group << 24 | stored.base,
                                        len(range(group, count, groups)) * stored.slot_bytes)
                 for group in range(min(groups, count))]
        requests = [request for part in reads for request in part]
        last = Request.of(Command.STATUS, flags=0)
        try:
            replies = yield from protocol.all([*requests, last])
        except Damaged:
            protocol.retries += 1
            replies = yield from protocol.all([*requests, last], careful=True)
        if decode_status(replies.pop())[0] is not State.IDLE:
            return None
        outputs = np.empty((count, *stored.shape), np.int64)
        size = int(np.prod(stored.shape)) * Format.parse(stored.fmt).bytes
        for group, part in enumerate(reads):
            raw = protocol.joined(part, replies[:len(part)])
            del replies[:len(part)]
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
