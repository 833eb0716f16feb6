"""An accelerator on a serial line: what a reset of the pins' side takes along."""

from amaranth.hdl import ResetInserter, Signal

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.frames import Command
from pyhw.hdl.top.serial_accelerator import SerialAccelerator
from pyhw.host import encode
from pyhw.host.frames import pack
from tests.hdl.port.test_uart import drive, levels
from tests.support.helpers import simulate

CONFIG = Config.of(
    l1=EngineConfig(rows=1, lanes=1, code_width=8, acc_width=16), pool_lanes=1, max_payload=64,
    load_bits=8, scratch_bytes=64, weight_words=16, param_records=1, program_words=64, tables=0,
    residual_terms=0, second_step=False, counted_layers=0, overlap=False, distributed=False)
DIVISOR = 4


def test_after_the_lock_is_lost_no_program_is_left():
    dut, reset = SerialAccelerator(CONFIG, DIVISOR), Signal()
    top = ResetInserter(reset)(dut)
    load = [(Command.BEGIN, {"hash": int.from_bytes(CONFIG.hash, "little")}),
            (Command.COMMIT, {"crc": 0})]  # nothing is a program, too

    async def session(ctx, sequence):
        for number, (command, arguments) in enumerate(load):
            frame = encode(sequence + number, command.value, pack(command, b"", **arguments))
            await drive(ctx, dut.i_rx, levels(frame), DIVISOR)
            await ctx.tick().repeat(520)  # the reply

    async def testbench(ctx):
        ctx.set(dut.i_rx, 1)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.o_program)
        await session(ctx, 1)
        assert ctx.get(dut.o_program)
        ctx.set(reset, 1)
        await ctx.tick().repeat(3)
        ctx.set(reset, 0)
        # A register takes the reset on: the accelerator is reset a cycle later.
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.o_program)

    simulate(top, testbench)
