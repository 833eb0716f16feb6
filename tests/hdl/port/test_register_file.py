"""Registers of an accelerator in a system: what they hold, count and refuse."""

from pyhw.hdl.port.axi import Response
from pyhw.hdl.port.register_file import RegisterFile
from pyhw.hdl.presets import PRESETS
from pyhw.hdl.registers import IDENTITY, REGISTERS, RESET_CYCLES, Access, find_register
from tests.support.helpers import simulate

CONFIG = PRESETS["tiny"]


def read(ctx, dut, name):
    """Return fields of a register, which a read answers in the same cycle."""
    register = find_register(name)
    ctx.set(dut.i_read_address, register.address >> 2)
    assert ctx.get(dut.o_read_response) == Response.OKAY
    return register.fields.decode(ctx.get(dut.o_read_data).to_bytes(4, "little"))


async def write(ctx, dut, name, value, mask=0xffffffff):
    ctx.set(dut.i_write_address, find_register(name).address >> 2)
    ctx.set(dut.i_write_data, value)
    ctx.set(dut.i_write_mask, mask)
    ctx.set(dut.i_write, 1)
    response = ctx.get(dut.o_write_response)
    await ctx.tick()
    ctx.set(dut.i_write, 0)
    return response


def test_what_never_changes_says_who_this_is_and_refuses_writes():
    dut = RegisterFile(CONFIG)

    async def testbench(ctx):
        assert read(ctx, dut, "ID")["id"] == IDENTITY
        halves = [read(ctx, dut, f"HASH{k}")["hash"].to_bytes(4, "little") for k in range(2)]
        assert b"".join(halves) == CONFIG.hash
        assert read(ctx, dut, "LIMITS") == {"groups": 1, "zero": 0, "max_payload": 256}
        for register in REGISTERS:
            refused = register.access == Access.READ
            response = await write(ctx, dut, register.name, 0)
            assert response == (Response.SLVERR if refused else Response.OKAY), register.name
        for port, answer in ((dut.i_read_address, dut.o_read_response),
                             (dut.i_write_address, dut.o_write_response)):
            ctx.set(port, (REGISTERS[-1].address >> 2) + 1)
            assert ctx.get(answer) == Response.DECERR

    simulate(dut, testbench)


def test_cycles_count_a_run_and_the_interrupt_stays_until_it_is_cleared():
    dut = RegisterFile(CONFIG)

    async def run(ctx, cycles):
        ctx.set(dut.i_running, 1)
        await ctx.tick().repeat(cycles)
        ctx.set(dut.i_running, 0)
        await ctx.tick()

    async def testbench(ctx):
        await run(ctx, 7)
        assert (read(ctx, dut, "CYCLES")["cycles"], read(ctx, dut, "RUNS")["runs"]) == (7, 1)
        assert read(ctx, dut, "IRQ_PENDING")["run_end"] == 1
        assert not ctx.get(dut.o_interrupt)
        await write(ctx, dut, "IRQ_ENABLE", 1)
        assert ctx.get(dut.o_interrupt)
        await write(ctx, dut, "IRQ_PENDING", 1, mask=0)
        assert ctx.get(dut.o_interrupt)  # no byte was strobed
        await write(ctx, dut, "IRQ_PENDING", 1)
        assert not ctx.get(dut.o_interrupt)
        await run(ctx, 3)  # each run counts from 1
        assert (read(ctx, dut, "CYCLES")["cycles"], read(ctx, dut, "RUNS")["runs"]) == (3, 2)
        # A counter is read in the cycle in which it changes: before or after, nothing between.
        ctx.set(dut.i_running, 1)
        for cycle in range(1, 5):
            await ctx.tick()
            assert read(ctx, dut, "CYCLES")["cycles"] == cycle

    simulate(dut, testbench)


def test_a_soft_reset_lasts_its_cycles_and_clears_what_it_must():
    dut = RegisterFile(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.i_running, 1)
        await ctx.tick().repeat(4)
        ctx.set(dut.i_running, 0)
        await ctx.tick()
        await write(ctx, dut, "IRQ_ENABLE", 1)
        await write(ctx, dut, "CONTROL", 1, mask=0xffffff00)  # its byte is not strobed
        assert not ctx.get(dut.o_reset)
        await write(ctx, dut, "CONTROL", 1)
        for _ in range(RESET_CYCLES):
            assert ctx.get(dut.o_reset)
            assert read(ctx, dut, "CONTROL")["soft_reset"] == 1
            await ctx.tick()
        assert not ctx.get(dut.o_reset)
        assert read(ctx, dut, "CONTROL")["soft_reset"] == 0
        assert [read(ctx, dut, "CYCLES")["cycles"], read(ctx, dut, "RUNS")["runs"],
                read(ctx, dut, "IRQ_PENDING")["run_end"]] == [0, 0, 0]
        assert read(ctx, dut, "IRQ_ENABLE")["run_end"] == 1

    simulate(dut, testbench)
