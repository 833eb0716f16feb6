"""The command executor alone: requests in, answers out, each once."""

import random

from pyhw.hdl.frames import Command, Status
from pyhw.hdl.port.bus import control_members
from pyhw.hdl.port.executor import CommandExecutor
from pyhw.hdl.port.responder import identity
from tests.support.helpers import simulate
from tests.support.port_bench import CONFIG


def test_every_request_is_answered_once_and_what_is_not_to_be_executed_has_no_effect():
    dut, rng, answers = CommandExecutor(CONFIG), random.Random(3), []
    requests = [(rng.randrange(256), command.value, status) for command in Command
                for status in (Status.BAD_CRC, Status.BAD_LENGTH, Status.TRUNCATED)]

    async def source(ctx):
        for sequence, opcode, status in requests:
            ctx.set(dut.i_request.payload, {"execute": 0, "status": status, "opcode": opcode,
                                            "sequence": sequence})
            ctx.set(dut.i_request.valid, 1)
            await ctx.tick().until(dut.i_request.ready)
            ctx.set(dut.i_request.valid, 0)
        await ctx.tick().repeat(5)

    async def sink(ctx):
        while True:
            ctx.set(dut.o_answer.ready, rng.random() < 0.5)
            _, _, valid, ready, answer, effects = await ctx.tick().sample(
                dut.o_answer.valid, dut.o_answer.ready, dut.o_answer.payload,
                dut.o_write.valid | dut.o_image.valid | dut.o_run.strobe | dut.o_reset
                | dut.o_image_start.strobe | dut.o_program_valid)
            assert not effects
            if valid and ready:
                answers.append((answer.sequence, answer.opcode, answer.status, answer.length))

    simulate(dut, source, background=[sink])
    assert answers == [(*request, 0) for request in requests]


def test_identify_says_how_much_it_answers():
    dut = CommandExecutor(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.i_request.payload, {"execute": 1, "opcode": Command.IDENTIFY.value,
                                        "sequence": 9})
        ctx.set(dut.i_request.valid, 1)
        await ctx.tick().until(dut.o_answer.valid)
        answer = ctx.get(dut.o_answer.payload)
        assert (answer.status, answer.length, answer.sequence) == (
            Status.OK, len(identity(CONFIG)), 9)
        # It stays until it is taken, and the request with it.
        for _ in range(4):
            assert not ctx.get(dut.i_request.ready)
            await ctx.tick()
            assert ctx.get(dut.o_answer.valid)
        ctx.set(dut.o_answer.ready, 1)
        assert ctx.get(dut.i_request.ready)

    simulate(dut, testbench)
    assert set(control_members()) <= set(dut.signature.members)
