"""Phase-locked loops: what the settings of every family have in common.

A subclass is one setting of its primitive, checked against the ranges of the data sheet when it is
made; its `solve` searches for one. All frequencies are in Hz.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, ClassVar

__all__ = ["TOLERANCE", "Pll", "between", "choose", "every"]

TOLERANCE = Fraction(1, 100)
"""Most that the frequency of a setting may be off what was asked for."""
Range = tuple[float, float]


def between(what: str, value: float | Fraction, bounds: Range) -> None:
    """Raise `ValueError` if a frequency is outside its range."""
    low, high = bounds
    if not low <= value <= high:
        raise ValueError(f"{what} must be from {float(low) / 1e6:g} to {float(high) / 1e6:g} MHz, "
                         f"not {float(value) / 1e6:.6g}")


def choose(settings: Iterable[Any], wanted: int) -> Any:
    """Return the setting nearest to a frequency.

    Of several, one whose oscillator is not near an end of its range, then with the fastest phase
    detector, for the least jitter, then with the slowest oscillator, for the least power.

    Raises
    ------
    ValueError
        If there is none, or it is not within `TOLERANCE`.
    """
    def order(setting: Any) -> tuple[Any, ...]:
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


def every(make: Callable[..., Any], *choices: Iterable[int]) -> Iterator[Any]:
    """Yield the settings that are allowed, of all combinations of dividers."""
    for values in itertools.product(*choices):
        try:
            yield make(*values)
        except ValueError:
            continue


class Pll:
    """One setting.

    Attributes
    ----------
    DIVIDERS : dict of str to the values that are allowed
    INPUT, DETECTOR, OSCILLATOR, OUTPUT : (int, int)
        Ranges of the frequencies of the same names.
    input_hz : int
    detector_hz, oscillator_hz, output_hz : Fraction
        At which phases are compared, of the oscillator, of the design's clock.
    pad : bool
        The input is a pin with a way of its own, and not a signal.
    """

    DIVIDERS: ClassVar[dict[str, Any]] = {}
    INPUT: Any
    DETECTOR: Any
    OSCILLATOR: Any
    OUTPUT: Any
    pad = False
    input_hz: int

    def __post_init__(self) -> None:
        for name, allowed in self.DIVIDERS.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{type(self).__name__}.{name} must be one of {allowed!r}, not "
                                 f"{value!r}")
        between("the input of a PLL", self.input_hz, self.INPUT)
        between("the phase detector of a PLL", self.detector_hz, self.DETECTOR)
        between("the oscillator of a PLL", self.oscillator_hz, self.OSCILLATOR)
        between("the output of a PLL", self.output_hz, self.OUTPUT)

    @property
    def detector_hz(self) -> Fraction:
        """Frequency at which phases are compared."""
        raise NotImplementedError

    @property
    def oscillator_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        raise NotImplementedError

    @property
    def output_hz(self) -> Fraction:
        """Frequency that the PLL makes."""
        raise NotImplementedError

    def instance(self, i_clock: Any, o_clock: Any, o_locked: Any) -> Any:
        """Return the primitive between the oscillator's clock and the one it makes.

        Parameters
        ----------
        i_clock, o_clock, o_locked : amaranth.hdl.Signal
            With `pad` the clock is a port.

        Returns
        -------
        amaranth.hdl.Instance
        """
        raise NotImplementedError
