"""Frames as bytes: encoding, incremental decoding, and the payloads of commands."""

import zlib
from dataclasses import dataclass

from pyhw.hdl.frames import (
    ARGUMENTS,
    CRC_BYTES,
    FRAME_VERSION,
    HEADER_BYTES,
    REPLIES,
    SYNC,
    WITH_DATA,
    Command,
)


@dataclass(frozen=True)
class Frame:
    """A frame without its wrapping."""

    sequence: int
    opcode: int
    payload: bytes


def encode(sequence: int, opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame's bytes.

    Parameters
    ----------
    sequence, opcode : int
        0..255.
    payload : bytes
        At most 65535 bytes; a device takes no more than its configuration says.
    """
    if len(payload) > 0xFFFF:
        raise ValueError(f"A payload must be at most 65535 bytes, not {len(payload)}")
    body = bytes([FRAME_VERSION, sequence, opcode]) + len(payload).to_bytes(2, "little") + payload
    return SYNC + body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


class Decoder:
    """Find the good frames in a stream of bytes that may hold anything else.

    Parameters
    ----------
    max_payload : int
        Longest payload to expect; a longer one is taken for damage.
    """

    def __init__(self, max_payload: int = 4096) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()
        self.foreign = 0
        """Version that frames seem to have when there was none of this version; 0 if unknown."""
        self._good = False

    def reset(self) -> None:
        """Forget a frame that has begun, as after a silence."""
        self._buffer.clear()

    def feed(self, raw: bytes) -> list[Frame]:
        """Take bytes and return the frames that they complete."""
        self._buffer += raw
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        while True:
            start = buffer.find(SYNC)
            if start < 0:
                del buffer[: len(buffer) - (buffer[-1:] == SYNC[:1])]
                return None
            del buffer[:start]
            if len(buffer) > 2 and buffer[2] != FRAME_VERSION:
                if 0 < buffer[2] < 16 and not self._good:  # rather than noise
                    self.foreign = buffer[2]
                del buffer[:2]
                continue
            if len(buffer) < HEADER_BYTES:
                return None
            length = int.from_bytes(buffer[5:7], "little")
            if length > self._max_payload:
                del buffer[:2]
                continue
            end = HEADER_BYTES + length
            if len(buffer) < end + CRC_BYTES:
                return None
            if zlib.crc32(buffer[2:end]).to_bytes(CRC_BYTES, "little") != buffer[end : end + 4]:
                del buffer[:2]
                continue
            self._good, self.foreign = True, 0
            frame = Frame(buffer[3], buffer[4], bytes(buffer[HEADER_BYTES:end]))
            del buffer[: end + CRC_BYTES]
            return frame


def pack(command: Command, data: bytes = b"", **arguments: int) -> bytes:
    """Return a command's payload; `ValueError` for an argument that does not fit.

    Parameters
    ----------
    command : Command
        What the device is to do.
    data : bytes
        What follows the arguments (WRITE and IMAGE).
    arguments : int
        Every field that `ARGUMENTS` lists.
    """
    fields = dict(ARGUMENTS[command])
    if set(arguments) != set(fields):
        raise ValueError(f"{command.name} takes {sorted(fields)}, not {sorted(arguments)}")
    if data and command not in WITH_DATA:
        raise ValueError(f"{command.name} must have no data")
    for name, size in fields.items():
        if not 0 <= arguments[name] < 1 << 8 * size:
            raise ValueError(
                f"{command.name}'s {name} must take {size} bytes, not {arguments[name]}"
            )
    return (
        b"".join(arguments[name].to_bytes(size, "little") for name, size in fields.items()) + data
    )


def unpack(command: Command, data: bytes) -> dict[str, int]:
    """Return the fields of a reply's data, without the status; `ValueError` if it is too short."""
    fields = REPLIES[command]
    if len(data) != sum(size for _, size in fields):
        raise ValueError(
            f"A reply to {command.name} must have "
            f"{sum(size for _, size in fields)} bytes of data, not {len(data)}"
        )
    values, start = {}, 0
    for name, size in fields:
        values[name] = int.from_bytes(data[start : start + size], "little")
        start += size
    return values
