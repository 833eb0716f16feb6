"""What a command is refused for, and what the executor remembers of images."""

import pytest
from amaranth.hdl import Module, Signal

from pyhw.hdl.contents import NOTHING
from pyhw.hdl.frames import Command, Status
from pyhw.hdl.isa import Space
from pyhw.hdl.port.checks import Known, refusals
from pyhw.hdl.port.intake import Request, argument
from tests.support.helpers import simulate
from tests.support.port_bench import CONFIG


class Checks:
    """The conditions of every command, and the comparisons behind them, alone."""

    def __init__(self):
        self.m, self.request = Module(), Signal(Request)
        self.running, self.crc = Signal(), Signal(32)
        self.known = Known(NOTHING)
        self.known.compare(self.m, self.request, CONFIG, self.crc)
        self.checks = {
            command: [(Signal(name=f"check{number}"), condition, status)
                      for number, (condition, status) in enumerate(conditions)]
            for command, conditions in refusals(
                CONFIG, self.request, self.known, self.running).items()}
        for conditions in self.checks.values():
            self.m.d.comb += [signal.eq(value) for signal, value, _ in conditions]

    async def refused(self, ctx, command, **arguments):
        """Return the status that a command is refused with, or None."""
        for name, value in arguments.items():
            ctx.set(argument(self.request, command, name), value)
        await ctx.tick()
        return next((status for signal, _, status in self.checks[command] if ctx.get(signal)),
                    None)


def run(test):
    checks = Checks()

    async def testbench(ctx):
        await test(ctx, checks)

    simulate(checks.m, testbench)


@pytest.mark.parametrize("count", [1, 255, 256, 65535, 65536, 65537, (1 << 24) - 1])
def test_an_image_goes_on_at_its_own_byte_however_long_it_is(count):
    async def test(ctx, checks):
        for port, value in ((checks.known.image_count, count), (checks.known.image_open, 1),
                            (checks.known.valid, 1), (checks.known.group, 1)):
            ctx.set(port, value)
        for offset, group, status in (
                (count, 1, None), (count, 0, Status.OUT_OF_ORDER), (0, 1, None),
                (count - 1, 1, None if count == 1 else Status.OUT_OF_ORDER),
                (count + 65536, 1, Status.OUT_OF_ORDER), (count + 256, 1, Status.OUT_OF_ORDER)):
            if offset < 1 << 24:
                found = await checks.refused(ctx, Command.IMAGE, group=group, offset=offset)
                assert found == status, (offset, group)
        ctx.set(checks.known.image_open, 0)
        assert await checks.refused(ctx, Command.IMAGE, group=1, offset=count) == (
            Status.OUT_OF_ORDER)

    run(test)


def test_a_program_is_written_in_a_load_only_and_the_scratchpad_always():
    async def test(ctx, checks):
        spaces = dict.fromkeys(Space) | {Space.COUNTERS: Status.OUT_OF_RANGE}
        for running in (0, 1):
            for loading in (0, 1):
                ctx.set(checks.running, running)
                ctx.set(checks.known.loading, loading)
                for space, always in spaces.items():
                    found = await checks.refused(ctx, Command.WRITE, space=space.value)
                    expected = always
                    if always is None and space is not Space.SCRATCH:
                        expected = (Status.BUSY if running else
                                    None if loading else Status.OUT_OF_ORDER)
                    assert found == expected, (running, loading, space)
        for space in (9, 16, 255):
            assert await checks.refused(ctx, Command.WRITE, space=space) == Status.OUT_OF_RANGE

    run(test)


def test_the_first_reason_counts():
    async def test(ctx, checks):
        ctx.set(checks.running, 1)
        assert await checks.refused(ctx, Command.BEGIN, hash=1) == Status.BUSY
        assert await checks.refused(ctx, Command.RUN) == Status.NO_PROGRAM
        assert await checks.refused(ctx, Command.COMMIT) == Status.BUSY
        ctx.set(checks.running, 0)
        assert await checks.refused(ctx, Command.BEGIN, hash=1) == Status.WRONG_CONFIG
        right = int.from_bytes(CONFIG.hash, "little")
        assert await checks.refused(ctx, Command.BEGIN, hash=right) is None
        assert await checks.refused(ctx, Command.COMMIT) == Status.OUT_OF_ORDER
        ctx.set(checks.known.valid, 1)
        assert await checks.refused(ctx, Command.RUN) is None

    run(test)
