"""Byte memories of a group: both ports against plain lists."""

import random

import pytest

from pyhw.hdl.memory.banks import Banks
from tests.support.helpers import simulate

BANKS, DEPTH = 4, 6


@pytest.mark.parametrize(("shared", "holds"), [(False, False), (True, False), (True, True)])
def test_both_ports_read_what_was_written_and_port_a_keeps_its_bytes(shared, holds):
    dut, rng = Banks(BANKS, DEPTH, shared=shared, holds=holds), random.Random(7)
    contents = [[None] * DEPTH for _ in range(BANKS)]

    async def testbench(ctx):
        shown_a = [None] * BANKS
        for _ in range(400):
            write = rng.randrange(1 << BANKS) if rng.random() < 0.5 else 0
            read_b = rng.random() < 0.4
            read_a = rng.random() < 0.5 and not (shared and read_b)
            rows_w = [rng.randrange(DEPTH) for _ in range(BANKS)]
            # Port B has one address for both; with `shared` reads have a port of their own.
            rows_b = [rng.randrange(DEPTH) for _ in range(BANKS)] if shared else rows_w
            rows_a = [rng.randrange(DEPTH) for _ in range(BANKS)]
            values = [rng.randrange(256) for _ in range(BANKS)]
            for port, value in ((dut.i_a_rows, rows_a), (dut.i_a_enable, read_a),
                                (dut.i_r_rows, rows_b), (dut.i_read, read_b),
                                (dut.i_w_rows, rows_w), (dut.i_write, write),
                                (dut.i_data, values)):
                ctx.set(port, value)
            await ctx.tick()
            written = [write >> bank & 1 for bank in range(BANKS)]
            for bank in range(BANKS):
                if read_b and not (written[bank] and rows_b[bank] == rows_w[bank]):
                    expected = contents[bank][rows_b[bank]]
                    if expected is not None:
                        assert ctx.get(dut.o_b[bank]) == expected
                if read_a:
                    same = written[bank] and rows_a[bank] == rows_w[bank]
                    shown_a[bank] = None if same else contents[bank][rows_a[bank]]
                elif read_b and shared and not holds:
                    shown_a[bank] = None
                if shown_a[bank] is not None:
                    assert ctx.get(dut.o_a[bank]) == shown_a[bank]
            for bank in range(BANKS):
                if written[bank]:
                    contents[bank][rows_w[bank]] = values[bank]

    simulate(dut, testbench)
