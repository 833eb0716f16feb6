# amaranth: UnusedElaboratable=no
"""What stands around an accelerator on a board: reset and lights."""

import re
from itertools import pairwise

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.sim import Simulator

from pyhw.hdl.boards.top import RESET_CYCLES, BoardTop, Lights, ResetHold
from pyhw.hdl.frames import Command
from pyhw.hdl.presets import PRESETS
from pyhw.verilog import generate_rtlil
from tests.hdl.port.test_uart import levels
from tests.hdl.top.test_accelerator import CONFIG
from tests.support.wire import Wire, wrap


def run(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_reset_is_held_until_the_lock_has_been_steady():
    dut = ResetHold(cycles=16)

    async def bench(ctx):
        for _ in range(40):  # never locked
            assert ctx.get(dut.o_reset)
            await ctx.tick()
        for _ in range(3):  # locks that do not last
            ctx.set(dut.i_locked, 1)
            for _ in range(12):
                await ctx.tick()
                assert ctx.get(dut.o_reset)
            ctx.set(dut.i_locked, 0)
            for _ in range(5):
                await ctx.tick()
        ctx.set(dut.i_locked, 1)
        held = 0
        while ctx.get(dut.o_reset):
            held += 1
            await ctx.tick()
        assert 16 <= held <= 16 + 4
        for _ in range(50):
            await ctx.tick()
            assert not ctx.get(dut.o_reset)
        ctx.set(dut.i_locked, 0)  # the lock is lost
        for _ in range(5):
            await ctx.tick()
        assert ctx.get(dut.o_reset)

    run(DomainRenamer({"raw": "sync"})(dut), bench)


@pytest.mark.parametrize("cycles", [0, 1, 3, 100])
def test_cycles_of_reset_are_a_power_of_two(cycles):
    with pytest.raises(ValueError, match="power of two"):
        ResetHold(cycles)


def test_lights_blink_stretch_and_follow():
    dut = Lights(period=64)

    async def bench(ctx):
        seen = []
        for cycle in range(256):
            ctx.set(dut.i_running, cycle == 100)
            ctx.set(dut.i_program, cycle >= 50)
            await ctx.tick()
            seen.append((ctx.get(dut.o_alive), ctx.get(dut.o_running), ctx.get(dut.o_program)))
        alive = [a for a, _, _ in seen]
        assert sum(a != b for a, b in pairwise(alive)) in (3, 4)
        running = [index for index, (_, r, _) in enumerate(seen) if r]
        assert running == list(range(102, 102 + len(running)))
        assert 8 <= len(running) <= 2 * 8 + 1
        assert [p for _, _, p in seen] == [0] * 52 + [1] * 204

    run(dut, bench)


def test_period_of_lights_is_checked():
    with pytest.raises(ValueError, match="period must be at least 2"):
        Lights(1)


FLASH = ["i_flash_data", "o_flash_clock", "o_flash_data", "o_flash_select"]


@pytest.mark.parametrize("flash", [[], FLASH], ids=["plain", "flash"])
def test_top_has_one_clock_and_the_pins_of_a_board(flash):
    config = PRESETS["tiny"].changed(flash_loader=bool(flash))
    text = generate_rtlil(config, "board", 60, clock_hz=60_000_000)
    top = text[text.index("module \\board\n") :]
    top = top[: top.index("\nend\n")]
    ports = re.findall(r"^  wire (?:width \d+ )?(?:input|output) \d+ +\\(\w+)$", top, re.M)
    assert sorted(ports) == sorted([
        "i_clock", "i_locked", "i_rx", "o_alive", "o_program", "o_running", "o_tx", *flash])


@pytest.mark.parametrize("flash_loader", [False, True])  # of a flash that holds zeros
def test_board_answers_on_its_pins_once_its_clock_is_steady(flash_loader):
    config = CONFIG.changed(flash_loader=flash_loader)
    divisor, identify = 4, levels(wrap(1, Command.IDENTIFY.value, b""))
    dut, wire, seen = BoardTop(config, divisor, 1_000_000), Wire(CONFIG.port.max_payload), []
    m = Module()
    m.domains.outer = ClockDomain(reset_less=True)
    m.submodules.dut = dut
    m.d.comb += dut.i_clock.eq(ClockSignal("outer"))
    simulator = Simulator(m)
    simulator.add_clock(1e-6, domain="outer")

    async def say(ctx):
        for bit in identify:
            ctx.set(dut.i_rx, bit)
            await ctx.tick("outer").repeat(divisor)

    async def host(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick("outer").repeat(20)
        await say(ctx)  # no lock yet: nobody hears it
        await ctx.tick("outer").repeat(200)
        assert seen == []
        ctx.set(dut.i_locked, 1)
        await ctx.tick("outer").repeat(RESET_CYCLES + 20)
        await say(ctx)
        for _ in range(100):
            if seen:
                break
            await ctx.tick("outer").repeat(100)
        assert not ctx.get(dut.o_running)
        assert not ctx.get(dut.o_program)

    async def board(ctx):
        while True:
            await ctx.tick("outer")
            if ctx.get(dut.o_tx):
                continue
            for _ in range(divisor // 2 - 1):
                await ctx.tick("outer")
            byte = 0
            for index in range(9 * divisor):
                await ctx.tick("outer")
                if index % divisor == divisor - 1 and index < 8 * divisor:
                    byte |= ctx.get(dut.o_tx) << index // divisor
            assert ctx.get(dut.o_tx), "a stop bit"
            seen.extend(wire.feed([byte]))

    simulator.add_testbench(host)
    simulator.add_testbench(board, background=True)
    simulator.run()
    assert [(frame.sequence, frame.opcode) for frame in seen] == [(1, 0x80)]
    assert seen[0].payload[3:11] == CONFIG.hash
