"""What reference implementations call their tensors, as tables from their names to pyhw's."""

from dataclasses import dataclass

__all__ = ["SOURCES", "WRAPPERS", "Source"]

WRAPPERS = ("state_dict", "model", "net")
"""Entries under which training scripts keep the tensors."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One reference implementation.

    Attributes
    ----------
    ops : str
        Kind of layers; another if a tensor says so, see `markers`.
    renames : tuple of (str, str)
        Regular expressions and what to put in their place, applied in order to every name.
    ignored : tuple of str
        Regular expressions of tensors that pyhw has no use for.
    markers : tuple of (str, str, str)
        A regular expression that some name fulfils, the kind of layers it tells, and ``frozen`` or
        nothing.
    refused : str
        Why nothing can be imported, if so.
    """

    ops: str
    renames: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    markers: tuple[tuple[str, str, str], ...] = ()
    refused: str = ""


SOURCES = {
    # huawei-noah/AdderNet: adder2d keeps its weight as `adder`; ResNet names are torchvision's.
    "addernet": Source(ops="adder", renames=((r"\.adder$", ".weight"),)),
    # GATECH-EIC/ShiftAddNet: a cascade is a Sequential of shift (0) and adder (1); older files
    # call the adder's tensor `weight`. The cascade of a downsample path is not nested there.
    "shiftaddnet": Source(
        ops="shiftadd",
        renames=(
            (r"\.adder$", ".weight"),
            (r"\.downsample\.([01])\.", r".downsample.0.\1."),
            (r"\.downsample\.2\.", ".downsample.1."),
        ),
        ignored=(r"\.quantize_input_fw\.", r"\.(p|s|mask)$"),
        markers=((r"\.mask$", "shiftadd", "frozen"),),
    ),
    # mostafaelhoushi/DeepShift: PS keeps latent shift and sign, Q a float weight.
    "deepshift": Source(ops="shift-q", markers=((r"\.shift$", "shift-ps", ""),)),
    "pemn": Source(
        ops="pemn",
        refused="its networks have GELU before each batch norm and random floats for weights, "
        "pyhw's ReLU after it and random powers of two, so they do not compute the same; "
        "train one with `pyhw train convmixer-256-6 --ops pemn`",
    ),
}
"""By name of the implementation; a new one needs an entry here and in the command line's list."""
