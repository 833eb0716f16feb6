"""The one place where the frames of the command port are laid out: commands, replies, numbers."""

from amaranth.lib import enum

__all__ = [
    "Command", "Status", "State", "SYNC", "FRAME_VERSION", "HEADER_BYTES", "CRC_BYTES", "REPLY_BIT",
    "FRAME_ERROR", "FLASH_ADDRESS", "ARGUMENTS", "REPLIES", "WITH_DATA",
]


class Command(enum.Enum, shape=8):
    """Frame opcodes (host to device); replies carry the opcode with bit 7 set."""

    IDENTIFY = 0
    """-> isa u16, hash 8 bytes, groups u8, max payload u16."""
    BEGIN = 1
    """Start loading a program for configuration hash (8 bytes): "no program" from here on."""
    WRITE = 2
    """space u8, address u32, data: write words of a program memory (only between BEGIN and
    COMMIT) or bytes of SCRATCH (at any time). Program writes enter the program checksum."""
    COMMIT = 3
    """crc u32: CRC-32 of the payloads of all program WRITE frames since BEGIN, in order. Outside a
    load: whether it is that of the program there is."""
    IMAGE = 4
    """group u8, base u24, offset u32, data: bytes of an image, folded on the way in."""
    RUN = 5
    """flags u8 (bit 0: go on where the last run stopped), layers u16 (0: to the end), count
    u16 (the run-time count: image slots per group)."""
    STATUS = 6
    """flags u8 (bit 0: answer only when no run is going on) -> state u8, layers done u16."""
    READ = 7
    """space u8, address u32, length u16 -> data (SCRATCH or COUNTERS)."""
    RESET = 8
    """Stop a run at once; the program and all memories are kept."""


class Status(enum.Enum, shape=8):
    """First payload byte of every reply."""

    OK = 0
    UNKNOWN_COMMAND = 1
    BAD_LENGTH = 2
    BAD_CRC = 3
    TRUNCATED = 4
    NO_PROGRAM = 5
    BUSY = 6
    WRONG_CONFIG = 7
    BAD_CHECKSUM = 8
    OUT_OF_RANGE = 9
    OUT_OF_ORDER = 10
    BAD_VERSION = 11


class State(enum.Enum, shape=2):
    """What the device is doing, in a STATUS reply."""

    NO_PROGRAM = 0
    IDLE = 1
    RUNNING = 2


SYNC = b"\xa5\x5a"
"""First bytes of every frame."""
FRAME_VERSION = 1
"""Third byte of every frame."""
HEADER_BYTES = 7
"""sync (2), version, sequence number, opcode, payload length (2, little endian)."""
CRC_BYTES = 4
"""CRC-32 (IEEE 802.3, little endian) of everything from the version to the payload's end."""
REPLY_BIT = 0x80
"""Set in the opcode of every reply."""
FRAME_ERROR = 0xff
"""Opcode of the reply to a frame that could not be read (`BAD_VERSION`, `BAD_LENGTH` of the
frame, `BAD_CRC`, `TRUNCATED`)."""
FLASH_ADDRESS = 1 << 20
"""Where the frames of a load lie in the flash of a board that starts by itself; a bitstream of an
iCE40 is shorter."""

ARGUMENTS = {
    Command.IDENTIFY: (),
    Command.BEGIN: (("hash", 8),),
    Command.WRITE: (("space", 1), ("address", 4)),
    Command.COMMIT: (("crc", 4),),
    Command.IMAGE: (("group", 1), ("base", 3), ("offset", 4)),
    Command.RUN: (("flags", 1), ("layers", 2), ("count", 2)),
    Command.STATUS: (("flags", 1),),
    Command.READ: (("space", 1), ("address", 4), ("length", 2)),
    Command.RESET: (),
}
"""Fields (name, bytes; little endian) that open a command's payload."""
WITH_DATA = (Command.WRITE, Command.IMAGE)
"""Commands whose arguments are followed by data bytes up to the payload's end."""
REPLIES = {
    Command.IDENTIFY: (("isa", 2), ("hash", 8), ("groups", 1), ("max_payload", 2)),
    Command.STATUS: (("state", 1), ("layers_done", 2)),
}
"""Fields that follow the status in a reply; READ replies with as many bytes as it asks for."""
