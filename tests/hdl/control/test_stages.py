"""The parts of control for two stages at once, and for one after the other."""

import pytest
from amaranth.hdl import Module, Signal

from pyhw.hdl.control.overlapping_sequencer import OverlappingSequencer
from pyhw.hdl.control.sequencer import Sequencer
from pyhw.hdl.control.serial_sequencer import SerialSequencer
from pyhw.hdl.control.stages import Stages
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.weights.loader import AheadLoader, PlainLoader
from tests.support.helpers import simulate


def stages(overlap):
    return Stages(PRESETS["tiny"].changed(overlap=overlap))


def test_the_parts_are_those_of_the_option():
    both, serial = stages(True), stages(False)
    assert (both.sequencer, both.loader) == (OverlappingSequencer, AheadLoader)
    assert (serial.sequencer, serial.loader) == (SerialSequencer, PlainLoader)
    assert issubclass(both.sequencer, Sequencer)
    assert issubclass(serial.sequencer, Sequencer)
    assert (both.two_at_once, both.registers) == (True, 1)
    assert (serial.two_at_once, serial.registers) == (False, 0)


@pytest.mark.parametrize("overlap", [True, False])
def test_a_state_is_as_late_as_there_are_registers(overlap):
    m, coming, seen = Module(), Signal(), []
    made = stages(overlap)
    state = made.state(m, coming, "state")
    m.d.sync += Signal(name="clocked").eq(1)

    async def testbench(ctx):
        for value in (1, 0, 1, 1):
            ctx.set(coming, value)
            seen.append(ctx.get(state))
            await ctx.tick()

    simulate(m, testbench)
    assert seen == ([0, 1, 0, 1] if overlap else [1, 0, 1, 1])
