"""What a command is refused for, and what is known for that: checks come before any effect."""

from amaranth.hdl import Signal

from ..common.thermometer import above
from ..frames import Command, Status
from ..isa import Space
from .intake import argument

__all__ = ["Known", "refusals"]


class Known:
    """What the executor knows of the program, of the image under way, and of a request.

    Parameters
    ----------
    contents : Contents
        With a program in it, resets until the first command leave it valid, later ones do not, so
        that a host sees them. Without contents nothing depends on initial values.
    """

    def __init__(self, contents):
        self.valid, self.loading, self.image_open = (
            Signal(name=name) for name in ("valid", "loading", "image_open"))
        self.untouched = (Signal(init=1, reset_less=True, name="untouched") if contents.sections
                          else Signal(name="untouched"))
        self.image_count = Signal(24, reset_less=True, name="image_count")
        self.group = Signal(8, reset_less=True, name="group")
        self.right_config, self.right_crc, self.at_start, self.goes_on = (
            Signal(name=name, reset_less=True)
            for name in ("right_config", "right_crc", "at_start", "goes_on"))

    def compare(self, m, request, config, crc):
        """Add the long comparisons, for which a request waits a cycle before it is decoded."""
        def field(command, name):
            return argument(request, command, name)

        to, offset = field(Command.IMAGE, "group"), field(Command.IMAGE, "offset")
        m.d.sync += [
            self.right_config.eq(
                field(Command.BEGIN, "hash") == int.from_bytes(config.hash, "little")),
            self.right_crc.eq(field(Command.COMMIT, "crc") == crc),
            self.at_start.eq(offset == 0),
            self.goes_on.eq(self.image_open & (offset == self.image_count) & (to == self.group)),
        ]


def refusals(config, request, known, running):
    """Return the checks of every command that has some.

    Parameters
    ----------
    config : Config
    request : Request
    known : Known
        What the executor knows of program and image.
    running : Value
        The program runs.

    Returns
    -------
    dict of Command to list of (Value, Status)
        In order: the first condition that holds refuses the command, with that status.
    """
    def field(command, name):
        return argument(request, command, name)

    # READ and WRITE have space and address at the same place.
    space = field(Command.READ, "space")
    in_program = space != Space.SCRATCH.value
    to, base = field(Command.IMAGE, "group"), field(Command.IMAGE, "base")
    return {
        Command.BEGIN: [
            (running, Status.BUSY),
            (~known.right_config, Status.WRONG_CONFIG),
        ],
        Command.WRITE: [
            ((space == Space.COUNTERS.value) | above(space, max(s.value for s in Space)),
             Status.OUT_OF_RANGE),
            (in_program & running, Status.BUSY),
            (in_program & ~known.loading, Status.OUT_OF_ORDER),
        ],
        Command.COMMIT: [
            (running, Status.BUSY),
            (~known.loading & ~known.valid, Status.OUT_OF_ORDER),
        ],
        Command.IMAGE: [
            (~known.valid, Status.NO_PROGRAM),
            (above(to, config.groups - 1) | above(base, config.memory.scratch_bytes - 1),
             Status.OUT_OF_RANGE),
            (~known.at_start & ~known.goes_on, Status.OUT_OF_ORDER),
        ],
        Command.RUN: [
            (~known.valid, Status.NO_PROGRAM),
            (running, Status.BUSY),
        ],
        Command.READ: [
            (in_program & (space != Space.COUNTERS.value), Status.OUT_OF_RANGE),
            (above(field(Command.READ, "length"), config.port.max_payload - 1),
             Status.BAD_LENGTH),
            (~in_program & running & (not config.reads_in_run), Status.BUSY),
        ],
    }
