"""Recode: every code in its place, under random stalls, as many cycles as the model says."""

import random

import numpy as np
import pytest

from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.formats import ShiftCode
from pyhw.hdl.moves.recode import Recode, row_words
from pyhw.hdl.packing import codes_per_word, word_count
from pyhw.hdl.signed_digits import digit_codes, signed_digits
from tests.support.helpers import simulate
from tests.support.port_a import PortA

LATENCY = 5


def make_config(lanes=8, rows=3, code_width=4, load_bits=32):
    shift = EngineConfig(rows=rows, lanes=lanes, code_width=code_width, acc_width=24)
    return Config.of(shift=shift, scratch_bytes=1024, load_bits=load_bits)


@pytest.mark.parametrize(("code_width", "values"), [(4, range(-170, 171)), (5, range(-256, 256))])
def test_digits_of_every_value_sum_to_it_and_are_the_fewest(code_width, values):
    code = ShiftCode(code_width)
    for value in values:
        digits = [code.decode(stored) for stored in digit_codes(value, 6, code)]
        assert sum(sign << exponent for sign, exponent in digits) == value
        assert sum(sign != 0 for sign, _ in digits) == len(signed_digits(value, code.max_exponent))


@pytest.mark.parametrize("value", [85 + 1 + 256, 107])
def test_values_of_more_digits_or_places_are_refused(value):
    with pytest.raises(ValueError, match="digit"):
        digit_codes(value, 4, ShiftCode(4))


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("lanes", "code_width", "load_bits", "digits", "signed", "count", "width"),
    [(8, 4, 32, 5, True, 7, 13), (8, 4, 32, 5, True, 3, 8), (8, 4, 16, 2, False, 5, 20),
     (4, 5, 20, 4, True, 1, 3), (8, 4, 32, 1, False, 8, 8)])  # fmt: skip
def test_every_code_is_in_its_place(lanes, code_width, load_bits, digits, signed, count, width,
                                    stall):  # fmt: skip
    load_bits = {20: 32}.get(load_bits, load_bits)
    if code_width == 5:
        lanes = codes_per_word(load_bits, 5)
    config = make_config(lanes, 3, code_width, load_bits)
    rng = random.Random(3)
    usable = [
        v for v in (range(-128, 128) if signed else range(171)) if fits(v, digits, code_width)
    ]
    rows = [[rng.choice(usable) for _ in range(width)] for _ in range(count)]
    pitch, base = width + 3, 40
    memory = bytearray(rng.randbytes(1024))
    for number, row in enumerate(rows):
        memory[7 + number * pitch : 7 + number * pitch + width] = bytes(v & 255 for v in row)
    step = word_count(3 * lanes, load_bits, code_width)
    chunks = -(-width // lanes)
    found, cycles = run_recode(
        config,
        memory,
        stall,
        {
            "in_base": 7,
            "in_row": pitch,
            "n_rows": count,
            "block_rows": 3,
            "n_chunks": chunks,
            "run_bytes": width,
            "n_digits": digits,
            "signed": signed,
            "base": base,
            "step": step,
        },
    )
    per_word = codes_per_word(load_bits, code_width)
    expected = {}
    for first in range(0, count, 3):
        for number, codes in enumerate(
            Recode.compute(rows[first : first + 3], lanes, digits, ShiftCode(code_width))
        ):
            start = base + (first // 3 * chunks * digits + number) * step
            flat = np.concatenate(codes).tolist()
            for low in range(0, len(flat), per_word):
                word = sum(
                    code << (code_width * k) for k, code in enumerate(flat[low : low + per_word])
                )
                expected[start + low // per_word] = word
    assert found == expected
    if not stall:
        period = digits * (lanes // per_word)
        assert cycles == (count * chunks - 1) * period + LATENCY + 2 + period


def fits(value, digits, code_width):
    try:
        digit_codes(value, digits, ShiftCode(code_width))
    except ValueError:
        return False
    return True


def run_recode(config, memory, stall, fields):
    """Run it over a memory; return the words written, and the cycles from start to end."""
    dut, rng = Recode(config, LATENCY), random.Random(9)
    found = {}
    taken = []

    async def testbench(ctx):
        ctx.set(dut.i_run, fields | {"start": 1})
        await ctx.tick()
        ctx.set(dut.i_run.start, 0)
        port, cycle = PortA(memory, LATENCY, dut.lanes), 0
        while True:
            advance = rng.random() >= stall
            ctx.set(dut.i_advance, advance)
            port.show(ctx, dut.i_data)
            if not ctx.get(dut.o_busy):
                break
            if ctx.get(dut.o_write):
                word = ctx.get(dut.o_word)
                assert word not in found
                found[word] = ctx.get(dut.o_codes)
            if advance:
                port.move(ctx.get(dut.o_address))
            await ctx.tick()
            cycle += 1
        assert not ctx.get(dut.o_reading)
        taken.append(cycle)

    simulate(dut, testbench)
    return found, taken[0]


def test_lanes_that_fill_no_whole_words_are_refused():
    with pytest.raises(ValueError, match="whole words of 8 codes, not 12"):
        row_words(make_config(lanes=12))
