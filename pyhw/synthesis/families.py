"""What the cells of each FPGA family are worth when they are counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyhw.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Family:
    """How to synthesise for a family and how to count the result."""

    name: str
    #: Yosys command, without the name of the top module. Inference of DSP blocks is always on, so
    #: that a count of zero means something.
    command: str
    #: LUT4 equivalents of each kind of cell that takes up logic.
    lut4: Mapping[str, int]
    flip_flops: tuple[str, ...]  # what the names of these cells begin with
    block_rams: tuple[str, ...]
    dsps: tuple[str, ...]
    single_port_rams: tuple[str, ...] = field(default=())
    #: Simulation models of the cells: files of Yosys, below its data folder.
    models: tuple[str, ...] = field(default=())
    #: Files of models in `cells`, for block RAMs that Yosys has none of.
    own_models: tuple[str, ...] = field(default=())


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="ecp5",
            command="synth_ecp5",
            # A CCU2C is two LUT4 with their carry; a DPR16X4 takes four LUT4 as memory.
            lut4={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
            flip_flops=("TRELLIS_FF",),
            block_rams=("DP16KD", "PDPW16KD"),
            dsps=("MULT18X18", "MULT9X9", "ALU54", "ALU24"),
            models=("ecp5/cells_sim.v",),
            own_models=("block_ram.v", "ecp5.v"),
        ),
        Family(
            name="ice40",
            command="synth_ice40 -dsp",
            # A carry lies beside a LUT4 that is counted by itself.
            lut4={"SB_LUT4": 1},
            flip_flops=("SB_DFF",),
            block_rams=("SB_RAM40_4K",),
            dsps=("SB_MAC16",),
            single_port_rams=("SB_SPRAM256KA",),
            models=("ice40/cells_sim.v",),
        ),
        Family(
            name="gowin",
            command="synth_gowin -family gw2a",
            # Larger tables are LUT4 with multiplexers beside them; an adder bit is a LUT4, and a
            # slice of 16 x 4 memory takes four.
            lut4={"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
            flip_flops=("DFF",),
            block_rams=("SDPB", "SDPX9B", "DPB", "DPX9B", "SP", "SPX9"),
            dsps=("MULT", "ALU54", "PADD"),
            models=("gowin/cells_sim.v",),
            own_models=("block_ram.v", "gowin.v"),
        ),
    )
}


def find_family(name: str) -> Family:
    """Return a family by its name, or raise `UserError` with the names there are."""
    if name not in FAMILIES:
        raise UserError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]


def count(cells: Mapping[str, int], prefixes: tuple[str, ...]) -> int:
    """Count the cells whose kind begins with one of the prefixes."""
    return sum(number for kind, number in cells.items() if kind.startswith(prefixes))
