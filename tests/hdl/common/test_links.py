"""Ends of long wires, with and without a register."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream

from pyhw.hdl.common.links import DIRECT, Links
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import simulate

BOTH = pytest.mark.parametrize("links", [
    DIRECT, Links(PRESETS["tiny"]), Links(PRESETS["tiny"].changed(spread=True))],
    ids=["none", "plain", "registers"])


def play(m, inputs, output, values):
    """Give each input its values, cycle by cycle; return what the output shows in each."""
    seen = []

    async def testbench(ctx):
        for row in zip(*values, strict=True):
            for signal, value in zip(inputs, row, strict=True):
                ctx.set(signal, value)
            seen.append(ctx.get(output))
            await ctx.tick()

    # A process of its own, so that there is a clock without registers too.
    m.d.sync += Signal(name="clocked").eq(1)
    simulate(m, testbench)
    return seen


def test_only_a_configuration_with_links_has_registers():
    assert [links.cycles for links in (DIRECT, Links(PRESETS["tiny"]))] == [0, 0]
    assert Links(PRESETS["tiny"].changed(spread=True)).cycles == 1


@BOTH
def test_a_value_comes_as_late_as_cycles_says(links):
    m, value, sent = Module(), Signal(4), [3, 9, 1, 4]
    seen = play(m, [value], links.delay(m, value, "late"), [sent])
    assert seen[links.cycles:] == sent[:len(sent) - links.cycles]


@BOTH
def test_a_disabled_link_holds_what_it_has(links):
    m, value, enable = Module(), Signal(4), Signal()
    seen = play(m, [value, enable], links.delay(m, value, "late", enable=enable),
                [[3, 9, 1, 4], [1, 0, 0, 1]])
    assert seen == ([0, 3, 3, 3] if links.cycles else [3, 9, 1, 4])


@BOTH
def test_undelayed_and_delay_make_one_cycle_together(links):
    m, value, sent = Module(), Signal(4), [3, 9, 1, 4]
    moved = links.delay(m, ~links.undelayed(m, value, "before"), "behind")
    assert play(m, [value], moved, [sent])[1:] == [~one & 15 for one in sent[:-1]]


@BOTH
def test_a_state_is_seen_the_cycle_after_its_strobes(links):
    m, sets, clears, state = Module(), Signal(), Signal(), Signal()
    m.d.sync += state.eq((state | sets) & ~clears)
    seen = play(m, [sets, clears], links.state(m, state, "seen", sets=sets, clears=clears),
                [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]])
    assert seen == [0, 0, 1, 1, 0, 0]


@BOTH
def test_a_register_is_seen_at_one_time_behind_what_waits_a_cycle(links):
    m, coming, register, sent = Module(), Signal(4), Signal(4), [3, 9, 1, 4]
    m.d.sync += register.eq(coming)
    seen = play(m, [coming], links.newest(coming, register), [sent])
    assert seen[links.cycles:] == sent[:len(sent) - links.cycles]


@BOTH
def test_a_stream_keeps_its_order_and_says_what_comes(links):
    m, source, ahead = Module(), stream.Signature(4).create(), Signal()
    sink, comes = links.stream(m, "word", source, ahead)
    sent, seen, due = [3, 9, 1, 4, 7], [], None
    pattern = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1]

    async def testbench(ctx):
        nonlocal due
        left = list(sent)
        for cycle, ready in enumerate(pattern):
            ctx.set(source.valid, bool(left))
            ctx.set(source.payload, left[0] if left else 0)
            ctx.set(sink.ready, ready)
            taken = bool(left) and ctx.get(source.ready)
            ctx.set(ahead, len(left) > taken)
            if due is not None:
                assert ctx.get(sink.valid) == due, cycle
            due = ctx.get(comes)
            if ready and ctx.get(sink.valid):
                seen.append(ctx.get(sink.payload))
            await ctx.tick()
            if taken:
                left.pop(0)

    m.d.sync += Signal(name="clocked").eq(1)
    simulate(m, testbench)
    assert seen == sent


def test_units_are_split_only_between_registers():
    assert DIRECT.split(5, 2) == [range(5)]
    registers = Links(PRESETS["tiny"].changed(spread=True))
    assert registers.split(5, 2) == [range(0, 2), range(2, 4), range(4, 5)]
