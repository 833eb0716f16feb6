"""What a batch costs on the line, counted from the frames that `pyhw.host.inference` sends."""

from pyhw.compiler.program import Program
from pyhw.hdl.config import Config
from pyhw.hdl.frames import ARGUMENTS, CRC_BYTES, HEADER_BYTES, REPLIES, Command

__all__ = ["link_bytes"]

_FRAME = HEADER_BYTES + CRC_BYTES
_STATUS = 1


def link_bytes(program: Program, config: Config) -> tuple[int, int]:
    """Return the bytes sent and received for a full batch, without retries.

    Images go in IMAGE frames, then RUN and STATUS; the outputs of all slots of a group are read
    at once.
    """
    def arguments(command: Command) -> int:
        return sum(size for _, size in ARGUMENTS[command])

    height, width, channels = program.input_shape
    data = height * width * channels
    pieces = -(-data // (config.port.max_payload - arguments(Command.IMAGE))) * program.batch
    slots = -(-program.batch // program.groups)
    length = slots * program.output.slot_bytes
    reads = -(-length // (config.port.max_payload - _STATUS)) * program.groups
    sent = (pieces * (_FRAME + arguments(Command.IMAGE)) + data * program.batch
            + 2 * _FRAME + arguments(Command.RUN) + arguments(Command.STATUS)
            + reads * (_FRAME + arguments(Command.READ)))
    answered = sum(size for _, size in REPLIES[Command.STATUS])
    received = ((pieces + reads + 2) * (_FRAME + _STATUS) + answered
                + length * program.groups)
    return sent, received

