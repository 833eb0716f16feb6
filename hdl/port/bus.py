"""Records that pass between the command port and the rest of the device."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from ..frames import Status
from ..isa import Space

__all__ = [
    "FrameHeader", "ImageStart", "MemoryRead", "MemoryWrite", "ReplyHeader", "RunRequest",
    "control_members",
]


class FrameHeader(data.Struct):
    """A received frame, or an error event (``status`` not OK, ``length`` 0)."""

    status: Status
    sequence: 8
    opcode: 8
    length: 13
    """Payload bytes."""
    again: 1
    """The last frame without an error had the same checksum, which covers all but SYNC."""


class ReplyHeader(data.Struct):
    """A reply: the frame's fields and the first payload byte."""

    sequence: 8
    opcode: 8
    """As sent, bit 7 included."""
    status: Status
    length: 13
    """Bytes after the status."""


class MemoryWrite(data.Struct):
    """One byte written to a memory; ``lane`` is its place in the word."""

    space: Space
    address: 32
    """Word address; SCRATCH: byte address, group in bits 31:24."""
    lane: 8
    data: 8


class MemoryRead(data.Struct):
    """One byte asked of SCRATCH or COUNTERS."""

    space: Space
    address: 32


class RunRequest(data.Struct):
    """A RUN command; the other fields are valid with the strobe only."""

    strobe: 1
    resume: 1
    layers: 16
    count: 16


class ImageStart(data.Struct):
    """Start of an image; ``base`` is valid with the strobe, ``group`` from it to the next."""

    strobe: 1
    group: 8
    base: 24


def control_members():
    """Return the ports by which commands reach the rest of the device (see `CommandPort`)."""
    return {
        "o_write": Out(stream.Signature(MemoryWrite)),
        "o_image_start": Out(ImageStart),
        "o_image": Out(stream.Signature(8)),
        "i_image_busy": In(1),
        "o_run": Out(RunRequest),
        "o_reset": Out(1),
        "i_running": In(1),
        "i_layers_done": In(16),
        "o_program_valid": Out(1),
    }
