"""Steps of a burst against plain loops over the window."""

import random

import pytest

from pyhw.hdl.control.window_steps import WindowSteps
from pyhw.hdl.presets import PRESETS
from tests.support.helpers import simulate
from tests.support.records import run_value

CONFIG = PRESETS["tiny"]


def steps_of(fields):
    """Return (address, byte coordinate, row coordinate, bytes left) of every step of a burst."""
    return [(ky * fields["ky_addr"] + kx * fields["kx_addr"] + chunk * fields["chunk_bytes"],
             kx * fields["kx_xb"] + chunk * fields["chunk_bytes"], ky * fields["ky_iy"],
             fields["run_bytes"] - chunk * fields["chunk_bytes"])
            for ky in range(fields["n_ky"]) for kx in range(fields["n_kx"])
            for chunk in range(fields["n_chunks"]) for _ in range(fields["n_digits"])]


@pytest.mark.parametrize(("ky", "kx", "chunks", "digits"), [
    (1, 1, 1, 1), (3, 2, 2, 2), (2, 3, 1, 1), (1, 1, 4, 3), (5, 1, 1, 2), (1, 4, 3, 1)])
def test_steps_go_through_rows_columns_chunks_and_digits(ky, kx, chunks, digits):
    dut, rng = WindowSteps(CONFIG), random.Random(ky)
    fields = {"n_ky": ky, "n_kx": kx, "n_chunks": chunks, "n_digits": digits, "chunk_bytes": 8,
              "run_bytes": 8 * chunks - 3, "kx_addr": 21, "ky_addr": 130, "kx_xb": 21, "ky_iy": 2}
    expected = steps_of(fields)
    sizes = [1 << len(port) for port in (dut.o_address, dut.o_xb, dut.o_iy, dut.o_run_left)]

    async def testbench(ctx):
        for _ in range(2):  # a start forgets what was before
            ctx.set(dut.i_run, run_value(dut.i_run, fields, start=1))
            await ctx.tick()
            ctx.set(dut.i_run, run_value(dut.i_run, fields))
            for number, values in enumerate(expected + expected[:3]):
                at = number % len(expected)
                while rng.random() < 0.2:
                    await ctx.tick()
                assert [ctx.get(port) % size for port, size in zip(
                    (dut.o_address, dut.o_xb, dut.o_iy, dut.o_run_left), sizes, strict=True)] == [
                    value % size for value, size in zip(values, sizes, strict=True)], number
                assert ctx.get(dut.o_first) == (at == 0)
                assert ctx.get(dut.o_last) == (at == len(expected) - 1)
                ctx.set(dut.i_step, 1)
                await ctx.tick()
                ctx.set(dut.i_step, 0)

    simulate(dut, testbench)
