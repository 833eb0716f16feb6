"""Formats, codes and signed powers of two, exhaustively where the domain is small."""

import itertools

import numpy as np
import pytest

from pyhw.hdl.formats import (
    Format,
    ShiftCode,
    apply_terms,
    half,
    l1_term,
    requantise,
    round_shift,
    shift_term,
    terms_value,
    width_of,
)  # fmt: skip
from pyhw.hdl.signed_digits import nearest_terms, signed_digits


@pytest.mark.parametrize("width", range(1, 33))
@pytest.mark.parametrize("signed", [False, True])
def test_a_format_holds_its_range_and_reads_back_from_its_text(width, signed):
    fmt = Format(width, signed)
    assert fmt.max - fmt.min == 2**width - 1
    assert fmt.min == (-(2 ** (width - 1)) if signed else 0)
    assert Format.parse(str(fmt)) == fmt
    assert fmt.bytes == min(size for size in (1, 2, 4) if 8 * size >= width)
    assert width_of(fmt.min, fmt.max) == width + (not signed)


@pytest.mark.parametrize("width", [0, 33, -1, 8.0, "8", None])
def test_a_format_refuses_other_widths(width):
    with pytest.raises(ValueError, match="width must be an integer from 1 to 32"):
        Format(width)


@pytest.mark.parametrize("text", ["", "8", "i8", "u", "s-1", "u008", "u 8", "u8 ", None, 8, b"u8"])
def test_a_format_is_read_from_its_own_text_only(text):
    with pytest.raises(ValueError, match="must read like 'u8' or 's20'"):
        Format.parse(text)


def test_clamp_saturates_integers_and_arrays_alike():
    for fmt in (Format(3), Format(3, True), Format(1, True)):
        values = range(-20, 20)
        wanted = [min(max(v, fmt.min), fmt.max) for v in values]
        assert [fmt.clamp(v) for v in values] == wanted
        assert fmt.clamp(np.array(values)).tolist() == wanted


@pytest.mark.parametrize("width", [3, 4, 5])
def test_every_shift_code_but_one_is_one_weight(width):
    code = ShiftCode(width)
    assert code.max_exponent == {3: 2, 4: 6, 5: 14}[width]
    reserved = 2**width - 1
    weights = [code.decode(k) for k in range(reserved)]
    assert len(set(weights)) == len(weights)
    assert [code.encode(*weight) for weight in weights] == list(range(reserved))
    assert code.decode(code.zero) == (0, 0)
    assert code.encode(0, 9) == code.zero
    for bad in (reserved, -1, 2**width):
        with pytest.raises(ValueError, match="not reserved"):
            code.decode(bad)


@pytest.mark.parametrize("weight", [(1, -1), (1, 7), (2, 0), (-2, 1), (1, 15)])
def test_a_weight_without_a_code_is_refused(weight):
    with pytest.raises(ValueError, match="Shift weight must be 0 or"):
        ShiftCode(4).encode(*weight)


@pytest.mark.parametrize("width", [2, 6, 0, "4"])
def test_a_shift_code_has_3_to_5_bits(width):
    with pytest.raises(ValueError, match="width must be 3, 4 or 5"):
        ShiftCode(width)


def test_terms():
    for x in range(-9, 10):
        for w in range(-9, 10):
            assert l1_term(x, w, 2, 1) == -abs(4 * x - 2 * w)
        for e in range(4):
            assert [shift_term(x, s, e) for s in (-1, 0, 1)] == [-x * 2**e, 0, x * 2**e]
    terms = [(1, 3), (-1, 0), (0, 5)]
    assert terms_value(terms) == 7
    assert apply_terms(np.array([-3, 5]), terms).tolist() == [-21, 35]
    assert apply_terms(9, []) == 0


def test_rounding_is_to_nearest_with_halves_up():
    for shift in range(5):
        assert half(shift) == (2**shift // 2)
        for value in range(-100, 100):
            # floor(v / 2^S + 1/2), in integers
            assert round_shift(value, shift) == (2 * value + 2**shift) // 2 ** (shift + 1)
    assert [round_shift(v, 1) for v in (5, -5)] == [3, -2]


def test_requantise_is_the_example_of_the_numerics_page():
    m = [(1, 3), (-1, 0)]
    assert requantise(-13, m, 300, 4, Format(8)) == 13
    assert requantise(-13, m, 300, 4, Format(3)) == 7
    assert requantise(-13, m, 300, 4, Format(8), res=-2, r=[(1, 4)]) == 11


def fewest_digits(max_exponent, limit):
    """Return the least number of signed powers for every value, by breadth-first search."""
    steps = [s << e for s in (-1, 1) for e in range(max_exponent + 1)]
    found, edge = {0: 0}, [0]
    while edge:
        reached = {v + step for v in edge for step in steps} - found.keys()
        edge = [v for v in reached if abs(v) <= 2 * limit + 2**max_exponent]
        found |= dict.fromkeys(edge, found[0] + 1)
        found[0] += 1  # counts the rounds
    found[0] = 0
    return found


@pytest.mark.parametrize("max_exponent", range(6))
def test_signed_digits_are_the_fewest(max_exponent):
    limit = 5 << max_exponent
    fewest = fewest_digits(max_exponent, limit)
    for value in range(-limit, limit + 1):
        digits = signed_digits(value, max_exponent)
        assert sum(s << e for s, e in digits) == value
        assert len(digits) == fewest[value]
        exponents = [e for _, e in digits]
        assert exponents == sorted(exponents, reverse=True)
        assert all(s in (-1, 1) and 0 <= e <= max_exponent for s, e in digits)


def test_signed_digits_of_all_16_bit_values_have_no_neighbours():
    for value in range(1 << 16):
        exponents = [e for _, e in signed_digits(value, 16)]
        assert all(a - b > 1 for a, b in itertools.pairwise(exponents))


def test_five_digits_of_4_bits_are_any_8_bit_weight():
    assert max(len(signed_digits(w, 6)) for w in range(-128, 128)) <= 5


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_nearest_terms_pads_to_its_length_and_is_exact_where_it_can_be(terms):
    for value in range(-600, 601):
        found = nearest_terms(value, terms, 10)
        assert len(found) == terms
        assert all(term == (0, 0) or term[0] in (-1, 1) for term in found)
        if len(signed_digits(value, 10)) <= terms:
            assert terms_value(found) == value


@pytest.mark.parametrize(("terms", "exponent"), [(2, 6), (3, 5)])
def test_no_other_terms_are_nearer(terms, exponent):
    powers = [0, *(s << e for s in (-1, 1) for e in range(exponent + 1))]
    sums = np.array(sorted({sum(chosen) for chosen in itertools.product(powers, repeat=terms)}))
    for value in np.arange(-150, 151) + 0.3:
        error = abs(value - terms_value(nearest_terms(value, terms, exponent)))
        assert error == pytest.approx(np.abs(sums - value).min())


def test_one_term_is_the_nearest_power():
    for value in (v / 7 for v in range(8, 8000)):
        error = abs(value - terms_value(nearest_terms(value, 1)))
        assert error == min(abs(value - 2**e) for e in range(17))


def test_more_terms_come_closer():
    worst = [max(abs(v - terms_value(nearest_terms(v, terms))) / v for v in range(1, 1 << 11))
             for terms in (1, 2, 3, 4)]
    assert worst[0] <= 1 / 3
    assert all(after <= before * 3 / 8 for before, after in itertools.pairwise(worst))


def test_width_of_is_the_smallest_that_holds_both_ends():
    for low in range(-40, 40):
        for high in range(low, 40):
            width = next(w for w in range(1, 8)
                         if -(2 ** (w - 1)) <= low and high < 2 ** (w - 1))
            assert width_of(low, high) == width
