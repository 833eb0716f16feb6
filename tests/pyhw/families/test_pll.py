"""PLLs: dividers against the data sheets' ranges, and against every setting there is."""

import itertools
from fractions import Fraction

import pytest

from pyhw.families import FAMILIES
from pyhw.families.ecp5 import Ecp5Pll
from pyhw.families.gatemate import GateMatePll
from pyhw.families.gowin import GowinPll
from pyhw.families.ice40 import Ice40Pll

MHZ = 1_000_000


@pytest.mark.parametrize(
    ("pll", "input_mhz", "wanted_mhz", "expected_mhz"),
    [
        # Settings that the vendors' own calculators give for these boards.
        (Ecp5Pll, 25, 80, 80), (Ecp5Pll, 25, 100, 100), (Ecp5Pll, 25, 62.5, 62.5),
        (Ice40Pll, 12, 24, 24), (Ice40Pll, 12, 48, 48), (Ice40Pll, 12, 40, 39.75),
        (GateMatePll, 10, 25, 25), (GateMatePll, 10, 50, 50), (GateMatePll, 25, 62.5, 62.5),
        (GowinPll, 27, 54, 54), (GowinPll, 27, 50, Fraction(27 * 13, 7)), (GowinPll, 27, 60, 60),
    ],
)  # fmt: skip
def test_known_clocks_are_made(pll, input_mhz, wanted_mhz, expected_mhz):
    found = pll.solve(input_mhz * MHZ, int(wanted_mhz * MHZ))
    assert found.output_hz == Fraction(expected_mhz) * MHZ


def reference_output(pll):
    """Compute the output from the data sheets' formulas, apart from the class."""
    if isinstance(pll, Ecp5Pll):
        vco = Fraction(pll.input_hz * pll.feedback * pll.loop, pll.reference)
        return vco / pll.output, vco, Fraction(pll.input_hz, pll.reference)
    if isinstance(pll, Ice40Pll):
        vco = Fraction(pll.input_hz * (pll.divf + 1), pll.divr + 1)
        return vco / 2**pll.divq, vco, Fraction(pll.input_hz, pll.divr + 1)
    if isinstance(pll, GateMatePll):
        loop = pll.input_hz * pll.n1 * pll.n2
        return Fraction(loop, 2 * pll.m1 * pll.m2), 2 * loop, pll.input_hz
    out = Fraction(pll.input_hz * (pll.fbdiv + 1), pll.idiv + 1)
    return out, out * pll.odiv, Fraction(pll.input_hz, pll.idiv + 1)


RANGES = {  # oscillator, phase detector, MHz
    "ecp5": ((400, 800), (3.125, 400)),
    "ice40": ((533, 1066), (10, 133)),
    "gowin": ((400, 1200), (3, 400)),
    "gatemate": ((1000, 2000), (10, 50)),
}


def outputs(family):
    """Return every frequency that a family's PLL can make of its boards' oscillator, by itself."""
    (vco_low, vco_high), (low, high) = RANGES[family]
    if family == "ecp5":
        makes = ((Fraction(25 * k, reference * output), Fraction(25 * k, reference),
                  Fraction(25, reference))
                 for reference in range(1, 9) for k in range(1, 257) for output in range(1, 129)
                 if any(k % loop == 0 and k // loop <= 128 and Fraction(25 * k, reference) / loop
                        <= 400 for loop in range(1, 129)))
    elif family == "ice40":
        makes = ((Fraction(12 * (f + 1), (r + 1) * 2**q), Fraction(12 * (f + 1), r + 1),
                  Fraction(12, r + 1))
                 for r, f, q in itertools.product(range(16), range(64), range(1, 7)))
    elif family == "gatemate":
        makes = ((Fraction(10 * n1 * n2, 2 * behind), 20 * n1 * n2, 10)
                 for n1, n2 in itertools.product(range(2, 65), range(1, 101))
                 if 1000 < 20 * n1 * n2 <= 2000
                 for behind in (1, *range(2, 1000, 2))
                 if any(behind % m1 == 0 and 10 * n1 * n2 / m1 <= 625 for m1 in range(1, 65))
                 and (Fraction(10_000_000 * n1 * n2, 2 * behind) % 100 == 0))
    else:
        makes = ((Fraction(27 * (f + 1), i + 1), Fraction(27 * (f + 1) * o, i + 1),
                  Fraction(27, i + 1))
                 for i, f in itertools.product(range(64), range(64))
                 for o in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128))
    least = {"ecp5": Fraction(25, 8), "ice40": 16, "gowin": Fraction(25, 8), "gatemate": 1}[family]
    most = {"ecp5": 400, "ice40": 275, "gowin": 600, "gatemate": 312.5}[family]
    return {out for out, vco, detector in makes
            if vco_low <= vco <= vco_high and low <= detector <= high and least <= out <= most}


@pytest.mark.parametrize("family", RANGES)
def test_every_solution_is_allowed_and_none_is_nearer(family):
    possible = outputs(family)
    input_hz = {"ecp5": 25, "ice40": 12, "gowin": 27, "gatemate": 10}[family] * MHZ
    refused = 0
    for wanted in (17, 24, 33, 50, 69, 80, 96, 113):
        nearest = min(abs(out - wanted) for out in possible)
        try:
            found = FAMILIES[family].solve_pll(input_hz, wanted * MHZ)
        except ValueError:
            assert nearest > Fraction(wanted, 100)
            refused += 1
            continue
        assert abs(found.output_hz / MHZ - wanted) == nearest
        output, vco, detector = reference_output(found)
        assert output == found.output_hz
        (vco_low, vco_high), (low, high) = RANGES[family]
        assert vco_low * MHZ <= vco <= vco_high * MHZ
        assert low * MHZ <= detector <= high * MHZ
    assert refused < 5


def ecp5(input_mhz, reference, feedback, loop, output):
    return Ecp5Pll(input_hz=input_mhz * MHZ, reference=reference, feedback=feedback, loop=loop,
                   output=output)


def gatemate(n1, n2, m1, m2, **more):
    return GateMatePll(input_hz=10 * MHZ, n1=n1, n2=n2, m1=m1, m2=m2, **more)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ecp5(25, 0, 16, 5, 5), "reference must"),
        (lambda: ecp5(25, 1, 16, 5, 5), "oscillator"),
        (lambda: ecp5(25, 1, 20, 1, 5), "feedback"),
        (lambda: ecp5(5, 1, 16, 8, 8), "input"),
        (lambda: ecp5(25, 25, 80, 7, 7), "detector"),
        (lambda: Ice40Pll(input_hz=12 * MHZ, divr=0, divf=64, divq=5), "divf must"),
        (lambda: Ice40Pll(input_hz=12 * MHZ, divr=0, divf=50, divq=6), "output"),
        (lambda: Ice40Pll(input_hz=12 * MHZ, divr=1, divf=63, divq=1), "detector"),
        (lambda: GowinPll(input_hz=27 * MHZ, idiv=0, fbdiv=1, odiv=3), "odiv must"),
        (lambda: GowinPll(input_hz=27 * MHZ, idiv=0, fbdiv=1, odiv=8, device="GW5A"), "device"),
        (lambda: GowinPll(input_hz=27 * MHZ, idiv=0, fbdiv=1, odiv=8, device="GW2AR-18C"),
         "oscillator"),
        (lambda: gatemate(60, 1, 3, 1), r"m1 \* m2 must be even or 1, not 3"),
        (lambda: gatemate(1, 64, 2, 5), "dividers n2 and m2"),
        (lambda: gatemate(61, 1, 7, 2), "whole number of 100 Hz"),
        (lambda: gatemate(40, 1, 2, 5), "oscillator"),
        (lambda: gatemate(60, 1, 2, 5, mode="TURBO"), "mode must be one of"),
    ],
)
def test_settings_outside_the_ranges_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("make", [
    # 800 and 400 MHz on an ECP5, 1066 MHz on an iCE40
    lambda off: Ecp5Pll(input_hz=25 * MHZ + off, reference=1, feedback=16, loop=2,
                        output=4),
    lambda off: Ecp5Pll(input_hz=25 * MHZ - off, reference=1, feedback=8, loop=2,
                        output=4),
    lambda off: Ice40Pll(input_hz=26 * MHZ + off, divr=0, divf=40, divq=2),
])  # fmt: skip
def test_an_oscillator_runs_at_its_limit_and_not_a_hertz_beyond(make):
    assert make(0).output_hz
    with pytest.raises(ValueError, match="oscillator"):
        make(1)


def test_clock_that_no_setting_makes_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="within 1% of 80 MHz, and the nearest is 81 MHz"):
        GowinPll.solve(27 * MHZ, 80 * MHZ)


@pytest.mark.parametrize(("divr", "number"), [(0, 1), (1, 1)])
def test_filter_range_follows_the_phase_detector(divr, number):
    assert Ice40Pll(input_hz=(divr + 1) * 12 * MHZ, divr=divr, divf=63, divq=5
                    ).filter_range == number
    assert Ice40Pll(input_hz=48 * MHZ, divr=0, divf=15, divq=4).filter_range == 4


def test_pad_and_core_are_different_primitives():
    from amaranth.hdl import Signal

    a, b, c = Signal(), Signal(), Signal()
    for pad, kind in ((True, "SB_PLL40_PAD"), (False, "SB_PLL40_CORE")):
        assert Ice40Pll.solve(12 * MHZ, 24 * MHZ, pad).instance(a, b, c).type == kind
