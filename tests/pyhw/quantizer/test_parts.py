"""The quantiser's numbers: exact identities, digits, the affine step, scales."""

import numpy as np
import pytest

from pyhw.errors import UserError
from pyhw.hdl.formats import Format, apply_terms, round_shift, terms_value
from pyhw.hdl.signed_digits import signed_digits
from pyhw.quantizer.affine import (
    Line,
    Multipliers,
    affine_step,
    identity_step,
    multiplier,
    snap,
)
from pyhw.quantizer.scales import activation_scale, output_scale
from pyhw.quantizer.weights import (
    adder_weights,
    clip_weights,
    digit_grid,
    digits_of,
    fit_scales,
    round_to,
)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 15), (-128, 127), (-8, 7)])
def test_clipping_adder_weights_changes_no_sum(low, high):
    generator = np.random.default_rng(1)
    weight = generator.integers(-3 * (high + 1), 3 * (high + 1), (4, 3, 3, 2))
    clipped, constant = clip_weights(weight, low, high)
    assert low <= clipped.min()
    assert clipped.max() <= high
    for _ in range(100):
        x = generator.integers(low, high + 1, (1, 3, 3, 2))
        whole = -np.abs(x - weight).sum(axis=(1, 2, 3))
        assert (whole == -np.abs(x - clipped).sum(axis=(1, 2, 3)) + constant).all()


@pytest.mark.parametrize("fmt", ["u8", "u4", "s8", "s5"])
@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_adder_weights_lie_on_the_grid_of_the_input(fmt, bits):
    fmt = Format.parse(fmt)
    weight = np.random.default_rng(2).normal(0, 1, (3, 2, 2, 4))
    grid = adder_weights(weight, 0.01, fmt, bits)
    assert 0 in (grid.ex, grid.ew)
    assert fmt.width + grid.ex - grid.ew == bits
    low, high = fmt.min << grid.ex, fmt.max << grid.ex
    stored = grid.weight << grid.ew
    assert low <= stored.min()
    assert stored.max() <= high
    inside = (weight / grid.step).clip(low, high)
    assert np.abs(stored - inside).max() <= (1 << grid.ew) - (grid.ew == 0) * 0.5


@pytest.mark.parametrize(("digits", "count"), [(1, 15), (2, 77), (3, 183), (4, 247), (5, 255)])
def test_the_digit_grid_holds_what_the_digits_can_write(digits, count):
    grid = digit_grid(8, digits)
    assert len(grid) == count
    assert (grid == -grid[::-1]).all()
    assert max(len(signed_digits(int(v), 6)) for v in grid) == digits


def test_digits_of_weights_are_exact_and_the_fewest():
    weight = np.arange(-127, 128).reshape(5, 3, 17, 1)
    sign, exponent = digits_of(weight)
    assert (sum(s * (1 << e.astype(int)) for s, e in zip(sign, exponent)) == weight).all()
    assert len(sign) == 5
    assert len(digits_of(np.zeros((1, 1, 1, 1), int))[0]) == 1
    assert len(digits_of(np.full((1, 1, 1, 1), 96))[0]) == 2


def test_rounding_to_a_grid_takes_the_nearest():
    grid = np.array([-4, -1, 0, 2, 8])
    assert round_to(np.array([-9, -2.6, -0.4, 0.9, 1.1, 5.1]), grid).tolist() == [
        -4, -4, 0, 0, 2, 8]  # fmt: skip


def test_weight_scales_are_near_the_best_and_one_for_an_empty_channel():
    weight = np.random.default_rng(3).normal(size=(2, 50))
    weight[1] = 0
    grid = digit_grid(4, 5)
    scales = fit_scales(weight, grid)
    assert scales[1] == 1

    def error(s):
        return ((round_to(weight[0] / s, grid) * s - weight[0]) ** 2).sum()

    assert error(scales[0]) <= 1.05 * min(error(s) for s in np.linspace(0.05, 1, 500))


# The affine step


def lines(*columns):
    return [Line(*numbers) for numbers in zip(*(column.tolist() for column in columns))]


def test_the_line_goes_through_the_anchor_whatever_the_multiplier_lost():
    generator = np.random.default_rng(4)
    for _ in range(200):
        slope = float(generator.normal() * 10 ** generator.uniform(-4, 0))
        mean, out = float(generator.uniform(-50000, 0)), float(generator.uniform(-100, 200))
        terms, _, bias, shift = multiplier(Line(slope, mean, 100.0, out))
        value = terms_value(terms)
        assert abs((value * mean + bias) / 2**shift - out) <= 2.0**-shift
        # Three terms are within 5 %; where that is a thousandth of an output step, fewer do.
        assert abs(value / 2**shift - slope) <= max(0.05 * abs(slope), 1.1e-3 / 100)
        assert abs(bias) < 1 << 31


def test_batch_norm_in_integers_is_within_a_step_of_batch_norm_in_floats():
    generator = np.random.default_rng(5)
    channels, fmt = 32, Format(8)
    mean, deviation = generator.uniform(-40000, -500, channels), generator.uniform(5, 800, channels)
    gamma, beta = generator.normal(size=channels) * 60, generator.uniform(0, 255, channels)
    step = affine_step(lines(gamma / deviation, mean, deviation, beta), fmt, "bn")
    acc = (mean + deviation * generator.normal(size=(1000, channels))).round().astype(np.int64)
    real = gamma * (acc - mean) / deviation + beta
    u = round_shift(apply_terms(acc, step.m) + step.bias, step.shift.astype(np.int64))
    # Half a step of rounding, and 5 % of the deviation where three terms are worst.
    assert (np.abs(u - real) <= 0.51 + 0.05 * np.abs(real - beta)).all()
    assert np.abs(u - real).mean() < 0.6


def test_a_gamma_of_zero_leaves_beta():
    step = affine_step([Line(0.0, -1000.0, 5.0, 17.3)], Format(8), "bn")
    assert (apply_terms(-1234, step.m) + step.bias[0]) >> int(step.shift[0]) == 17


@pytest.mark.parametrize(("terms", "exponent"), [(1, 16), (2, 7), (3, 8)])
def test_multipliers_keep_to_what_is_allowed(terms, exponent):
    generator = np.random.default_rng(terms)
    allowed, single = Multipliers(terms, exponent), Multipliers(1)
    for _ in range(100):
        slope = float(generator.normal() * 10 ** generator.uniform(-4, 0))
        added = float(generator.uniform(0.1, 3))
        line = Line(slope, -900.0, 50.0, 7.0, added, 20.0, 5.0)
        m, r, bias, shift = multiplier(line, allowed, single)
        assert sum(s != 0 for s, _ in m) <= terms
        assert max(e for _, e in m) <= exponent
        assert sum(s != 0 for s, _ in r) <= 1
        assert abs(terms_value(r) / 2**shift - added) <= 0.34 * added
        centre = terms_value(m) * -900 + terms_value(r) * 20 + bias
        assert abs(centre / 2**shift - 7) <= 2.0**-shift
        near = snap(slope, allowed)
        assert terms_value(multiplier(Line(near, 0.0, 1e4, 0.0), allowed)[0]) != 0
        assert abs(near - slope) <= (0.34, 0.12, 0.05)[terms - 1] * abs(slope)


def test_snapped_slopes_are_exact_multipliers():
    for slope in (0.0213, -3.7, 1e-4):
        near = snap(slope)
        terms, _, _, shift = multiplier(Line(near, 0.0, 1e4, 0.0))
        assert terms_value(terms) / 2**shift == near
        assert abs(near - slope) < 0.05 * abs(slope)


def test_a_channel_that_cannot_be_written_is_named():
    wild = [Line(1.0, 0.0, 1.0, 0.0), Line(1e9, 0.0, 1.0, 0.0)]
    with pytest.raises(UserError, match=r"layer 'features\.bn', channel 1: its batch norm"):
        affine_step(wild, Format(8), "features.bn")


def test_identity_steps_keep_values_and_divide_sums():
    values = np.arange(256)
    same = identity_step(1, Format(8))
    assert (apply_terms(values, [(s[0], e[0]) for s, e in same.m]) == values).all()
    assert (same.shift[0], same.bias[0]) == (0, 0)
    for taps in (2, 3, 4, 9, 49):
        step = identity_step(1, Format(8), taps)
        sums = np.arange(255 * taps + 1)
        m = [(s[0], e[0]) for s, e in step.m]
        mean = round_shift(apply_terms(sums, m), int(step.shift[0]))
        factor = taps * terms_value(m) / 2 ** int(step.shift[0])
        assert np.abs(mean - factor * sums / taps).max() <= 0.5
        assert abs(factor - 1) <= (0 if taps & (taps - 1) == 0 else 0.03)


# Scales


def test_activation_scales_clip_outliers_but_not_uniform_values():
    fmt = Format(4)
    uniform = np.linspace(0, 1, 20000)
    assert activation_scale(uniform, fmt) == pytest.approx(1 / 15, rel=0.05)
    assert activation_scale(np.append(uniform, 3.0), fmt) < 1.5 / 15
    assert activation_scale(np.zeros(5), fmt) == 1 / 15


def test_an_adder_layers_weights_have_a_say_in_the_scale():
    generator = np.random.default_rng(6)
    values, weight = np.abs(generator.normal(size=5000)), generator.normal(size=500)
    fmt = Format(4)
    assert activation_scale(values, fmt, weight) <= activation_scale(values, fmt)


def test_output_scales_are_powers_of_two_with_room():
    scale = output_scale(np.array([-3.0, 5.0]), Format(24, True), 1e-4, 16)
    assert np.log2(scale) % 1 == 0
    assert 2 <= scale * 2**23 / 5 <= 4
    assert output_scale(np.zeros(3), Format(24, True), 1e-4, 16) > 0


def test_output_scales_are_not_much_finer_than_an_accumulators_unit():
    assert output_scale(np.array([5.0]), Format(24, True), 2.0, 16) == 2.0 / 1024
    assert output_scale(np.array([5.0]), Format(24, True), 2.0, 7) == 2.0 / 128
