"""Frames as `docs/protocol.md` describes them, byte by byte, independently of `pyhw.host`."""

from dataclasses import dataclass
from zlib import crc32

BAD_LENGTH, BAD_CRC, TRUNCATED, BAD_VERSION = 2, 3, 4, 11


@dataclass(frozen=True)
class Arrived:
    """A frame, or what was wrong with one (then the opcode is 0xff and the payload a status)."""

    sequence: int
    opcode: int
    payload: bytes
    check: bytes = b""


def wrap(sequence, opcode, payload):
    """Return the bytes of a frame."""
    body = bytes((1, sequence, opcode, len(payload) & 255, len(payload) >> 8)) + payload
    check = crc32(body)
    return b"\xa5\x5a" + body + bytes(check >> 8 * k & 255 for k in range(4))


class Wire:
    """The receiving end of a device, one byte after the other."""

    def __init__(self, max_payload):
        self._max_payload = max_payload
        self._bytes = bytearray()

    def feed(self, data):
        """Take bytes and return what arrived."""
        found = []
        for byte in data:
            self._bytes.append(byte)
            event = self._look()
            if event is None:
                continue
            found.append(event)
            # An error: the byte that gave it away may be the first of the next frame.
            self._bytes = bytearray(b"\xa5" if event.opcode == 0xff and byte == 0xa5 else b"")
        return found

    def silence(self):
        """Return the error of a frame that stopped; None if there was none."""
        started = len(self._bytes) >= 2
        sequence = self._bytes[3] if len(self._bytes) > 3 else 0
        self._bytes.clear()
        return Arrived(sequence, 0xff, bytes([TRUNCATED])) if started else None

    def _look(self):
        raw = self._bytes
        if len(raw) == 1 and raw[0] != 0xa5:
            raw.clear()
        elif len(raw) == 2 and raw[1] != 0x5a:
            del raw[:1 if raw[1] == 0xa5 else 2]
        if len(raw) < 3:
            return None
        if raw[2] != 1:
            return Arrived(0, 0xff, bytes([BAD_VERSION]))
        if len(raw) < 7:
            return None
        length = raw[5] + 256 * raw[6]
        if length > self._max_payload:
            return Arrived(raw[3], 0xff, bytes([BAD_LENGTH]))
        check = raw[7 + length:]
        if not check:
            return None
        right = crc32(raw[2:7 + length])
        if check[-1] != right >> 8 * (len(check) - 1) & 255:
            return Arrived(raw[3], 0xff, bytes([BAD_CRC]))
        if len(check) < 4:
            return None
        return Arrived(raw[3], raw[4], bytes(raw[7:7 + length]), bytes(check))
