"""The one place where instructions are laid out: a record for each unit that they drive.

A record is a frozen dataclass whose fields carry width, sign and meaning; `Record.layout` derives
the hardware's layout, encoder, decoder and the tables in ``docs/isa.md`` from it. An instruction is
the records of the units that a configuration has (`hdl/instruction.py`), in the order of
`Instruction`. Those that moves need as well come first, so that a move's instruction is the
beginning of a compute instruction.
"""

import dataclasses
from dataclasses import dataclass, field

from .layout import Record
from .layout import signed_field as _signed
from .layout import unsigned_field as _unsigned

__all__ = [
    "RECORDS", "RECORD_OF", "Chain", "Control", "Expansion", "IndexList", "Instruction", "Nest",
    "Operand", "Parameters", "Post", "ReadSchedule", "Record", "Residual", "Steps", "Terms",
    "WindowSchedule", "WriteSchedule",
]


@dataclass(frozen=True, kw_only=True)
class Control(Record):
    """The sequencer's: what the instruction is and how many images it works on."""

    opcode: int = _unsigned(4, "`Opcode`")
    slots_from_run: int = _unsigned(1, "take the slot count from the RUN command instead")
    n_slots: int = _unsigned(16, "image slots per group")


@dataclass(frozen=True, kw_only=True)
class Nest(Record):
    """Positions (x fastest, then y, then image slots), cut into bursts, and blocks of channels."""

    n_x: int = _unsigned(16, "output columns")
    n_y: int = _unsigned(16, "output rows")
    n_xy: int = _unsigned(24, "n_x * n_y")
    burst: int = _unsigned(10, "positions per burst, at most the accumulator depth")
    n_blocks: int = _unsigned(16, "row blocks (output channels), outermost")
    block_rows: int = _unsigned(9, "output channels of a row block")
    rows: int = _unsigned(16, "output channels in all")


@dataclass(frozen=True, kw_only=True)
class ReadSchedule(Record):
    """Where positions are read, and when the first of them may be."""

    early: int = _unsigned(
        1, "the first burst reads nothing that the last burst of the layer before writes")
    in_base: int = _unsigned(
        24, "scratch address of the first position's window (may wrap below 0)")
    in_x: int = _signed(24, "address step to the next column")
    in_y: int = _signed(24, "address step from a row's last column to the next row's first")
    in_slot: int = _signed(24, "address step from a slot's last position to the next slot's first")
    block_in: int = _signed(24, "input address step between row blocks")


@dataclass(frozen=True, kw_only=True)
class IndexList(Record):
    """Gathered positions."""

    index_mode: int = _unsigned(
        1, "add index-list entry n to `in_base` for the n-th position (all slots)")
    index_base: int = _unsigned(16, "first entry of the index list")


@dataclass(frozen=True, kw_only=True)
class WriteSchedule(Record):
    """Where results are stored."""

    serial: int = _unsigned(1, "store one result at a time instead of `post_width`")
    out_log_bytes: int = _unsigned(2, "log2 of the bytes of a stored result (0, 1, 2)")
    out_base: int = _unsigned(24, "scratch address of the first result")
    out_x: int = _signed(24, "as in_x")
    out_y: int = _signed(24, "as in_y")
    out_slot: int = _signed(24, "as in_slot")
    out_vector: int = _signed(24, "address step between result vectors along the channels")
    out_block: int = _signed(24, "address step between row blocks")


@dataclass(frozen=True, kw_only=True)
class Steps(Record):
    """Steps of a burst: digits fastest, then chunks of a run, kernel columns, kernel rows."""

    n_digits: int = _unsigned(8, "times each vector is used with other codes")
    n_chunks: int = _unsigned(16, "vectors per run")
    run_bytes: int = _unsigned(20, "bytes of a run")
    n_kx: int = _unsigned(8, "runs per kernel row")
    n_ky: int = _unsigned(8, "kernel rows")


@dataclass(frozen=True, kw_only=True)
class WindowSchedule(Record):
    """How vectors of a window follow each other, and which of their bytes lie outside the map."""

    chunk_bytes: int = _unsigned(8, "bytes between vectors of a run: the lanes of the engine")
    kx_addr: int = _signed(24, "address step between runs of a kernel row, from the run's start")
    ky_addr: int = _signed(24, "address step between kernel rows, from the first run's start")
    xb_start: int = _signed(20, "byte coordinate of the window's left end at column 0")
    xb_x: int = _unsigned(20, "its step per column")
    xb_y: int = _signed(20, "its step from a row's last column to the next row's first")
    kx_xb: int = _unsigned(20, "byte-coordinate step between runs of a kernel row")
    row_bytes: int = _unsigned(
        20, "bytes in a row of the input map; outside [0, row_bytes) is padding")
    iy_start: int = _signed(16, "row coordinate of the window's top at row 0")
    iy_y: int = _unsigned(8, "its step per row")
    iy_slot: int = _signed(16, "its step from a slot's last row to the next slot's first")
    ky_iy: int = _unsigned(8, "row-coordinate step between kernel rows")
    in_rows: int = _unsigned(16, "rows of the input map")


@dataclass(frozen=True, kw_only=True)
class Chain(Record):
    """Channel by channel: chains of the rows' taps instead of their trees."""

    depthwise: int = _unsigned(
        1, "engines work channel by channel: the taps of each lane are added up")
    warmup: int = _unsigned(
        3, "columns before the first of each row that only enter the chain of taps")


@dataclass(frozen=True, kw_only=True)
class Terms(Record):
    """How terms are formed."""

    engine: int = _unsigned(
        2, "number of the engine: the configuration's in the order of their names, then pooling")
    x_signed: int = _unsigned(1, "stored activations are two's complement")
    x_shift: int = _unsigned(3, "left shift ex of activations (and pad values)")
    w_shift: int = _unsigned(3, "left shift ew of weight codes")
    pool_max: int = _unsigned(1, "pooling takes the maximum instead of the sum")


@dataclass(frozen=True, kw_only=True)
class Operand(Record):
    """Where the codes of a step come from."""

    pad_words: int = _unsigned(
        8, "weight-memory words with pad values before each step's codes (0: pad is 0)")
    code_words: int = _unsigned(16, "weight-memory words with codes per step")
    w_base: int = _unsigned(24, "first weight-memory word")


@dataclass(frozen=True, kw_only=True)
class Expansion(Record):
    """Codes made of masks and prototypes (``docs/expander.md``)."""

    masked: int = _unsigned(
        1, "make codes from masks and prototypes (one digit, `pad_words` 0)")
    mask_bit: int = _unsigned(10, "bit of word `w_base` with the layer's first mask bit")
    block_bits: int = _unsigned(24, "mask bits of a row block")
    last_bits: int = _unsigned(24, "of the last row block")
    proto_base: int = _unsigned(16, "address of the layer's first prototype code")
    proto_size: int = _unsigned(17, "prototype codes d; indices are modulo d")
    proto_first: int = _unsigned(16, "index of the first weight of the first row")
    proto_row: int = _unsigned(16, "index step to the next row in use, modulo d")
    proto_block: int = _unsigned(16, "index step to the next row block, modulo d")
    proto_tap0: int = _unsigned(16, "index step to the next tap, modulo d")
    proto_tap1: int = _unsigned(16, "the same after `n_tap0` taps")
    proto_tap2: int = _unsigned(16, "the same after `n_tap0` * `n_tap1` taps")
    n_tap0: int = _unsigned(16, "taps between `proto_tap1` steps")
    n_tap1: int = _unsigned(5, "`n_tap0` taps between `proto_tap2` steps")


@dataclass(frozen=True, kw_only=True)
class Parameters(Record):
    """Which post-processing records results take."""

    param_base: int = _unsigned(16, "first post-processing record; one per output channel")


@dataclass(frozen=True, kw_only=True)
class Post(Record):
    """What the post-processor does."""

    u_signed: int = _unsigned(1, "format of the first step")
    u_width: int = _unsigned(6, "its bits, 1..32")
    table: int = _unsigned(1, "map u through a table")
    table_index: int = _unsigned(4, "which table")
    y_signed: int = _unsigned(1, "how the second step reads y (8 bits)")
    second: int = _unsigned(1, "do the second step")
    z_signed: int = _unsigned(1, "format of the second step")
    z_width: int = _unsigned(6, "its bits, 1..16")


@dataclass(frozen=True, kw_only=True)
class Residual(Record):
    """A stored map that is added."""

    res: int = _unsigned(1, "add a stored map")
    res_second: int = _unsigned(1, "in the second step instead of the first")
    res_signed: int = _unsigned(1, "the stored map is two's complement")
    res_wide: int = _unsigned(1, "its values take two bytes")
    res_base: int = _unsigned(24, "scratch address of its first value")
    res_x: int = _signed(24, "as in_x")
    res_y: int = _signed(24, "as in_y")
    res_slot: int = _signed(24, "as in_slot")
    res_vector: int = _signed(24, "as out_vector")
    res_block: int = _signed(24, "as out_block")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """The values of an instruction's records, those that a configuration lacks all 0."""

    control: Control = field(default_factory=Control)
    nest: Nest = field(default_factory=Nest)
    read: ReadSchedule = field(default_factory=ReadSchedule)
    index: IndexList = field(default_factory=IndexList)
    write: WriteSchedule = field(default_factory=WriteSchedule)
    steps: Steps = field(default_factory=Steps)
    window: WindowSchedule = field(default_factory=WindowSchedule)
    chain: Chain = field(default_factory=Chain)
    terms: Terms = field(default_factory=Terms)
    operand: Operand = field(default_factory=Operand)
    expansion: Expansion = field(default_factory=Expansion)
    parameters: Parameters = field(default_factory=Parameters)
    post: Post = field(default_factory=Post)
    residual: Residual = field(default_factory=Residual)

    @classmethod
    def of(cls, **fields: int) -> "Instruction":
        """Return an instruction with these fields, of whatever record; the others are 0."""
        return cls().changed(**fields)

    def changed(self, **fields: int) -> "Instruction":
        """Return a copy with other values of some fields, of whatever record."""
        changes: dict[str, dict[str, int]] = {}
        for name, value in fields.items():
            if name not in RECORD_OF:
                raise TypeError(f"Instruction has no field {name!r}")
            changes.setdefault(RECORD_OF[name], {})[name] = int(value)
        return dataclasses.replace(self, **{
            name: dataclasses.replace(getattr(self, name), **values)
            for name, values in changes.items()})

    def values(self) -> dict[str, dict[str, int]]:
        """Return the fields of every record, by the record's name."""
        return {name: dict(vars(getattr(self, name))) for name in RECORDS}


RECORDS: dict[str, type[Record]] = {f.name: f.type for f in dataclasses.fields(Instruction)}  # type: ignore[misc]
"""Every record by its name, in the order in which an instruction has them."""
for _name, _record in RECORDS.items():
    _record.name = _name
RECORD_OF = {f.name: name for name, kind in RECORDS.items() for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
"""The record of every field; no two records have a field of one name."""
