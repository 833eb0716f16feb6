"""Phase-locked loops of the FPGA families: dividers for a frequency, and the primitive.

Each class is one setting of its primitive, checked against the ranges of the data sheet when it is
made; `solve` searches for one. All frequencies are in Hz.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import Instance, Signal

__all__ = ["Ecp5Pll", "GowinPll", "Ice40Pll", "PLLS", "TOLERANCE"]

TOLERANCE = Fraction(1, 100)
"""Most that the frequency of a setting may be off what was asked for."""


def _between(what, value, bounds):
    low, high = bounds
    if not low <= value <= high:
        raise ValueError(f"{what} must be from {float(low) / 1e6:g} to {float(high) / 1e6:g} MHz, "
                         f"not {float(value) / 1e6:.6g}")


def _divider(what, value, allowed):
    if value not in allowed:
        raise ValueError(f"{what} must be one of {allowed!r}, not {value!r}")


def _choose(settings, wanted):
    """Return the setting nearest to a frequency: of several, one whose oscillator is not near an
    end of its range, then with the fastest phase detector, for the least jitter, then with the
    slowest oscillator, for the least power.
    """
    def order(setting):
        low, high = setting.OSCILLATOR
        room = (high - low) / 10
        edge = not low + room <= setting.oscillator_hz <= high - room
        return (abs(setting.output_hz - wanted), edge, -setting.detector_hz,
                setting.oscillator_hz)

    best = min(settings, default=None, key=order)
    if best is None:
        raise ValueError(f"a PLL must have a setting for {wanted / 1e6:g} MHz, and has none")
    if abs(best.output_hz / Fraction(wanted) - 1) > TOLERANCE:
        raise ValueError(f"the PLL must come within {float(TOLERANCE):.0%} of {wanted / 1e6:g} "
                         f"MHz, and the nearest is {float(best.output_hz) / 1e6:.6g} MHz")
    return best


def _every(make, *choices):
    """Yield the settings that are allowed, of all combinations of dividers."""
    for values in itertools.product(*choices):
        try:
            yield make(*values)
        except ValueError:
            continue


class _Pll:
    def __post_init__(self):
        for name, allowed in self.DIVIDERS.items():
            _divider(f"{type(self).__name__}.{name}", getattr(self, name), allowed)
        _between("the input of a PLL", self.input_hz, self.INPUT)
        _between("the phase detector of a PLL", self.detector_hz, self.DETECTOR)
        _between("the oscillator of a PLL", self.oscillator_hz, self.OSCILLATOR)
        _between("the output of a PLL", self.output_hz, self.OUTPUT)


@dataclass(frozen=True, kw_only=True)
class Ecp5Pll(_Pll):
    """EHXPLLL with feedback from CLKOP, whose clock is that of CLKOS.

    Attributes
    ----------
    input_hz : int
    reference, feedback, loop, output : int
        CLKI_DIV, CLKFB_DIV, CLKOP_DIV and CLKOS_DIV: the oscillator runs at ``input * feedback *
        loop / reference``, the output is that by ``output``. Two outputs make more frequencies.

    Source: FPGA-DS-02012, sysCLOCK PLL Timing; FPGA-TN-02200.
    """

    input_hz: int
    reference: int
    feedback: int
    loop: int
    output: int

    DIVIDERS = {name: range(1, 129) for name in ("reference", "feedback", "loop", "output")}
    INPUT = (8_000_000, 400_000_000)
    DETECTOR = (3_125_000, 400_000_000)
    OSCILLATOR = (400_000_000, 800_000_000)
    OUTPUT = (3_125_000, 400_000_000)

    def __post_init__(self):
        super().__post_init__()
        _between("the feedback of a PLL", self.detector_hz * self.feedback, self.OUTPUT)

    @property
    def detector_hz(self):
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.reference)

    @property
    def oscillator_hz(self):
        """Frequency of the oscillator."""
        return self.detector_hz * self.feedback * self.loop

    @property
    def output_hz(self):
        """Frequency that the PLL makes."""
        return self.oscillator_hz / self.output

    @classmethod
    def solve(cls, input_hz, wanted_hz):
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        settings = []
        for reference in range(1, input_hz // cls.DETECTOR[0] + 1):
            low, high = (edge * reference // input_hz for edge in cls.OSCILLATOR)
            for multiple in range(low, high + 1):
                output = max(1, round(Fraction(input_hz * multiple, reference * wanted_hz)))
                # Of all ways to write the multiple, equal dividers, or the first allowed.
                settings += itertools.islice(_every(
                    lambda loop, reference=reference, multiple=multiple, output=output: cls(
                        input_hz=input_hz, reference=reference, feedback=multiple // loop,
                        loop=loop, output=output),
                    [loop for loop in (output, *range(2, 129)) if multiple % loop == 0]), 1)
        return _choose(settings, wanted_hz)

    def instance(self, i_clock, o_clock, o_locked):
        """Return the primitive between the oscillator's clock and the one it makes."""
        loop = Signal()
        return Instance(
            "EHXPLLL",
            # Attributes that the vendor's tools derive from the frequencies.
            a_FREQUENCY_PIN_CLKI=f"{self.input_hz / 1e6:.6f}",
            a_FREQUENCY_PIN_CLKOP=f"{float(self.detector_hz * self.feedback) / 1e6:.6f}",
            a_FREQUENCY_PIN_CLKOS=f"{float(self.output_hz) / 1e6:.6f}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD", p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.reference, p_CLKFB_DIV=self.feedback,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=self.loop,
            p_CLKOP_CPHASE=self.loop // 2, p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=self.output,
            p_CLKOS_CPHASE=self.output // 2, p_CLKOS_FPHASE=0,
            i_CLKI=i_clock, i_CLKFB=loop, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0,
            i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
            i_ENCLKOS=0, o_CLKOP=loop, o_CLKOS=o_clock, o_LOCK=o_locked)


@dataclass(frozen=True, kw_only=True)
class Ice40Pll(_Pll):
    """SB_PLL40 with simple feedback: ``input * (divf + 1) / ((divr + 1) << divq)``.

    Attributes
    ----------
    input_hz : int
    divr, divf, divq : int
    pad : bool
        The input is a pin with a way of its own to the PLL (SB_PLL40_PAD), not fabric
        (SB_PLL40_CORE).

    Source: iCE40 LP/HX Family Data Sheet (FPGA-DS-02029) and iCE40 UltraPlus (FPGA-DS-02008),
    sysCLOCK PLL Timing; FPGA-TN-02052.
    """

    input_hz: int
    divr: int
    divf: int
    divq: int
    pad: bool = False

    DIVIDERS = {"divr": range(16), "divf": range(64), "divq": range(1, 7)}
    INPUT = (10_000_000, 133_000_000)
    DETECTOR = (10_000_000, 133_000_000)
    OSCILLATOR = (533_000_000, 1_066_000_000)
    OUTPUT = (16_000_000, 275_000_000)
    FILTERS = ((17_000_000, 1), (26_000_000, 2), (44_000_000, 3), (66_000_000, 4),
               (101_000_000, 5))

    @property
    def detector_hz(self):
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.divr + 1)

    @property
    def oscillator_hz(self):
        """Frequency of the oscillator."""
        return self.detector_hz * (self.divf + 1)

    @property
    def output_hz(self):
        """Frequency that the PLL makes."""
        return self.oscillator_hz / (1 << self.divq)

    @property
    def filter_range(self):
        """FILTER_RANGE that belongs to the frequency of the phase detector."""
        return next((number for below, number in self.FILTERS if self.detector_hz < below), 6)

    @classmethod
    def solve(cls, input_hz, wanted_hz, pad=False):
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        return _choose(_every(
            lambda divr, divf, divq: cls(input_hz=input_hz, divr=divr, divf=divf, divq=divq,
                                         pad=pad), *cls.DIVIDERS.values()), wanted_hz)

    def instance(self, i_clock, o_clock, o_locked):
        """Return the primitive; with ``pad`` the clock is the port itself."""
        source = {"i_PACKAGEPIN": i_clock} if self.pad else {"i_REFERENCECLK": i_clock}
        return Instance(
            "SB_PLL40_PAD" if self.pad else "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE", p_DIVR=self.divr, p_DIVF=self.divf, p_DIVQ=self.divq,
            p_FILTER_RANGE=self.filter_range, **source, i_RESETB=1, i_BYPASS=0,
            o_PLLOUTGLOBAL=o_clock, o_LOCK=o_locked)


@dataclass(frozen=True, kw_only=True)
class GowinPll(_Pll):
    """Gowin rPLL: ``input * (fbdiv + 1) / (idiv + 1)``, its oscillator ``odiv`` times that.

    Attributes
    ----------
    input_hz : int
    idiv, fbdiv, odiv : int
        IDIV_SEL, FBDIV_SEL and ODIV_SEL.
    device : str
        The primitive's DEVICE; a GW2A has another range.

    Source: Gowin DS117 (GW1NR) and DS226 (GW2AR), PLL switching characteristics; UG286.
    """

    input_hz: int
    idiv: int
    fbdiv: int
    odiv: int
    device: str = "GW1NR-9C"

    DIVIDERS = {"idiv": range(64), "fbdiv": range(64),
                "odiv": (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)}
    RANGES = {  # input, phase detector, oscillator, output
        "GW1NR-9C": ((3_000_000, 400_000_000), (3_000_000, 400_000_000),
                     (400_000_000, 1_200_000_000), (3_125_000, 600_000_000)),
        "GW2AR-18C": ((3_000_000, 500_000_000), (3_000_000, 500_000_000),
                      (500_000_000, 1_250_000_000), (3_906_250, 625_000_000)),
    }

    def __post_init__(self):
        _divider("GowinPll.device", self.device, tuple(self.RANGES))
        super().__post_init__()

    INPUT = property(lambda self: self.RANGES[self.device][0])
    DETECTOR = property(lambda self: self.RANGES[self.device][1])
    OSCILLATOR = property(lambda self: self.RANGES[self.device][2])
    OUTPUT = property(lambda self: self.RANGES[self.device][3])

    @property
    def detector_hz(self):
        """Frequency at which phases are compared."""
        return Fraction(self.input_hz, self.idiv + 1)

    @property
    def output_hz(self):
        """Frequency that the PLL makes."""
        return self.detector_hz * (self.fbdiv + 1)

    @property
    def oscillator_hz(self):
        """Frequency of the oscillator."""
        return self.output_hz * self.odiv

    @classmethod
    def solve(cls, input_hz, wanted_hz, device="GW1NR-9C"):
        """Return the best setting; `ValueError` if none comes within `TOLERANCE`."""
        return _choose(_every(
            lambda idiv, fbdiv, odiv: cls(input_hz=input_hz, idiv=idiv, fbdiv=fbdiv, odiv=odiv,
                                          device=device), *cls.DIVIDERS.values()), wanted_hz)

    def instance(self, i_clock, o_clock, o_locked):
        """Return the primitive between the oscillator's clock and the one it makes."""
        return Instance(
            "rPLL", p_FCLKIN=f"{self.input_hz / 1e6:g}", p_DEVICE=self.device,
            p_IDIV_SEL=self.idiv, p_FBDIV_SEL=self.fbdiv, p_ODIV_SEL=self.odiv,
            p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false", p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_CLKOUT_FT_DIR=1,
            p_CLKOUTP_FT_DIR=1, p_CLKOUT_DLY_STEP=0, p_CLKOUTP_DLY_STEP=0,
            p_CLKFB_SEL="internal", p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false", p_DYN_SDIV_SEL=2, p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=i_clock, i_CLKFB=0, i_RESET=0, i_RESET_P=0, i_FBDSEL=0, i_IDSEL=0, i_ODSEL=0,
            i_PSDA=0, i_DUTYDA=0, i_FDLY=0, o_CLKOUT=o_clock, o_LOCK=o_locked)


PLLS = {"ecp5": Ecp5Pll, "ice40": Ice40Pll, "gowin": GowinPll}
"""The PLL of each family."""
