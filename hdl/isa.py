"""The one place where instructions, records and memory spaces are laid out.

Each layout is a table of fields; the encoder, the decoder, the hardware's
`data.StructLayout` and the tables in ``docs/isa.md`` are derived from it.
"""

from dataclasses import dataclass

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum

from .formats import MAX_EXPONENT

__all__ = [
    "Opcode", "Engine", "Space", "Counter", "Field", "Layout",
    "LAYER", "LOOP", "INPUT", "absent", "input_record", "param_layout", "space_bytes",
    "space_depth",
]


class Opcode(enum.Enum, shape=4):
    """First four bits of every instruction."""

    END = 0
    """Stop; the run is done."""
    LAYER = 1
    """Run one layer (`LAYER`)."""
    LOOP = 2
    """Start a loop (`LOOP`); loops do not nest."""
    NEXT = 3
    """End of the loop body: add the loop's strides to the bases and repeat."""


class Engine(enum.Enum, shape=2):
    """The unit that forms a layer's terms."""

    L1 = 0
    SHIFT = 1
    POOL = 2


class Space(enum.Enum, shape=4):
    """Memories that frames address; the word size is given in bytes."""

    SCRATCH = 0
    """Activations, 1 byte; address bits 31:24 select the group."""
    PROGRAM = 1
    """Instructions, 4 bytes."""
    WEIGHTS = 2
    """Weight codes, masks and pad values, ``load_bits`` in whole bytes."""
    PARAMS = 3
    """Post-processing records, `param_layout` bytes."""
    TABLES = 4
    """Function tables, 1 byte; address = table * 256 + index."""
    INDEX = 5
    """Index lists, 4 bytes."""
    INPUT = 6
    """The `INPUT` record (address 0), one word of its size."""
    COUNTERS = 7
    """Performance counters (read only), byte addresses, little endian, 8 bytes each."""
    PROTOTYPES = 8
    """Fixed weights of masked layers, 1 byte with one shift code each."""


COUNTER_SET = 128
"""Bytes of address space of one set of counters."""


class Counter(enum.Enum, shape=4):
    """Performance counters, cleared by a RUN that does not go on.

    In every cycle of a run the address generator does one thing: it issues a vector, it stalls for
    one of three reasons (`STALL_WEIGHTS`, `STALL_LAYER`, `STALL_BANK`), or it has none to issue:
    then drain and post-processor finish (the rest of the cycles) or nothing is at work (`FETCH`).
    """

    CYCLES = 0
    """Cycles from the start of the run to its end (running total over resumed runs)."""
    VECTORS = 1
    """Activation vectors issued to an engine (per group)."""
    STALL_WEIGHTS = 2
    """Cycles in which all vectors were held, for weight codes or (block RAM) a residual."""
    STALL_LAYER = 3
    """Cycles the address generator waited for results of the layer before."""
    STALL_BANK = 4
    """Cycles the address generator waited for a free accumulator bank (post-processing too
    slow)."""
    STALL_PORT = 5
    """Cycles the store unit waited for scratchpad port B (beside the others)."""
    RESULTS = 6
    """Result vectors drained."""
    LAYERS = 7
    """Layers completed."""
    FETCH = 8
    """Cycles with neither address generator nor drain at work."""


@dataclass(frozen=True)
class Field:
    """One field of a layout: name, width in bits, signedness, meaning."""

    name: str
    width: int
    signed: bool
    doc: str

    @property
    def low(self):
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self):
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1


class Layout:
    """An ordered set of fields, packed from bit 0 up and padded to whole 32-bit words.

    Parameters
    ----------
    name : str
        Name used in messages and documentation.
    rows : iterable of (str, int, str)
        Field name, width in bits (negative: signed), meaning.
    """

    def __init__(self, name, rows):
        self.name = name
        self.fields = {n: Field(n, abs(w), w < 0, doc) for n, w, doc in rows}

    @property
    def width(self):
        """Bits in use."""
        return sum(f.width for f in self.fields.values())

    @property
    def words(self):
        """32-bit words."""
        return -(-self.width // 32)

    @property
    def bytes(self):
        """Bytes, a multiple of 4."""
        return self.words * 4

    @property
    def shape(self):
        """`data.StructLayout` of the fields, without the padding."""
        return data.StructLayout({
            f.name: signed(f.width) if f.signed else unsigned(f.width)
            for f in self.fields.values()})

    def encode(self, **values):
        """Pack field values (missing ones are 0) into bytes; `ValueError` outside a range."""
        if unknown := sorted(set(values) - set(self.fields)):
            raise ValueError(f"{self.name} has no field {unknown[0]!r}")
        word, offset = 0, 0
        for f in self.fields.values():
            value = int(values.get(f.name, 0))
            if not f.low <= value <= f.high:
                raise ValueError(f"{self.name}.{f.name} must be from {f.low} to {f.high}, "
                                 f"not {value}")
            word |= (value & ((1 << f.width) - 1)) << offset
            offset += f.width
        return word.to_bytes(self.bytes, "little")

    def decode(self, raw):
        """Unpack bytes into a dict of field values."""
        if len(raw) != self.bytes:
            raise ValueError(f"{self.name} must be {self.bytes} bytes, not {len(raw)}")
        word, out = int.from_bytes(raw, "little"), {}
        for f in self.fields.values():
            value = word & ((1 << f.width) - 1)
            out[f.name] = value - (1 << f.width) if f.signed and value >> (f.width - 1) else value
            word >>= f.width
        return out

    def markdown(self):
        """Return the table of fields for the documentation."""
        lines, offset = ["| bits | field | type | meaning |", "|---|---|---|---|"], 0
        for f in self.fields.values():
            kind = f"{'s' if f.signed else 'u'}{f.width}"
            lines.append(f"| {offset + f.width - 1}:{offset} | `{f.name}` | {kind} | {f.doc} |")
            offset += f.width
        return "\n".join(lines) + "\n"


LAYER = Layout("LAYER", [
    ("opcode", 4, "`Opcode.LAYER`"),
    # How terms are formed.
    ("engine", 2, "`Engine`"),
    ("x_signed", 1, "stored activations are two's complement"),
    ("x_shift", 3, "left shift ex of activations (and pad values)"),
    ("w_shift", 3, "left shift ew of L1 weight codes"),
    ("pool_max", 1, "POOL takes the maximum instead of the sum"),
    ("depthwise", 1, "L1 and SHIFT work channel by channel: the taps of each lane are added up"),
    ("warmup", 3, "columns before the first of each row that only enter the chain of taps"),
    ("pad_words", 8, "weight-memory words with pad values before each step's codes (0: pad is 0)"),
    ("code_words", 16, "weight-memory words with codes per step"),
    ("w_base", 24, "first weight-memory word"),
    # Masked weights (docs/expander.md).
    ("masked", 1, "make codes from masks and prototypes (SHIFT, one digit, `pad_words` 0)"),
    ("mask_bit", 10, "bit of word `w_base` with the layer's first mask bit"),
    ("block_bits", 24, "mask bits of a row block"),
    ("last_bits", 24, "of the last row block"),
    ("proto_base", 16, "address of the layer's first prototype code"),
    ("proto_size", 17, "prototype codes d; indices are modulo d"),
    ("proto_first", 16, "index of the first weight of the first row"),
    ("proto_row", 16, "index step to the next row in use, modulo d"),
    ("proto_block", 16, "index step to the next row block, modulo d"),
    ("proto_tap0", 16, "index step to the next tap, modulo d"),
    ("proto_tap1", 16, "the same after `n_tap0` taps"),
    ("proto_tap2", 16, "the same after `n_tap0` * `n_tap1` taps"),
    ("n_tap0", 16, "taps between `proto_tap1` steps"),
    ("n_tap1", 5, "`n_tap0` taps between `proto_tap2` steps"),
    # Positions: x fastest, then y, then image slots.
    ("n_x", 16, "output columns"),
    ("n_y", 16, "output rows"),
    ("n_xy", 24, "n_x * n_y"),
    ("n_slots", 16, "image slots per group"),
    ("slots_from_run", 1, "take the slot count from the RUN command instead"),
    ("burst", 10, "positions per burst, at most the accumulator depth"),
    ("in_base", 24, "scratch address of the first position's window (may wrap below 0)"),
    ("in_x", -24, "address step to the next column"),
    ("in_y", -24, "address step from a row's last column to the next row's first"),
    ("in_slot", -24, "address step from a slot's last position to the next slot's first"),
    ("index_mode", 1, "add index-list entry n to `in_base` for the n-th position (all slots)"),
    ("index_base", 16, "first entry of the index list"),
    # Borders: byte coordinate along a map row, row coordinate.
    ("xb_start", -20, "byte coordinate of the window's left end at column 0"),
    ("xb_x", 20, "its step per column"),
    ("xb_y", -20, "its step from a row's last column to the next row's first"),
    ("row_bytes", 20, "bytes in a row of the input map; outside [0, row_bytes) is padding"),
    ("iy_start", -16, "row coordinate of the window's top at row 0"),
    ("iy_y", 8, "its step per row"),
    ("iy_slot", -16, "its step from a slot's last row to the next slot's first"),
    ("in_rows", 16, "rows of the input map"),
    # Steps of a burst: digits fastest, then chunks of a run, kernel columns, kernel rows.
    ("n_digits", 8, "times each vector is used with other codes"),
    ("n_chunks", 16, "vectors per run"),
    ("chunk_bytes", 8, "bytes between vectors of a run: the lanes of the engine"),
    ("run_bytes", 20, "bytes of a run"),
    ("n_kx", 8, "runs per kernel row"),
    ("kx_addr", -24, "address step between runs of a kernel row, from the run's start"),
    ("kx_xb", 20, "byte-coordinate step between runs of a kernel row"),
    ("n_ky", 8, "kernel rows"),
    ("ky_addr", -24, "address step between kernel rows, from the first run's start"),
    ("ky_iy", 8, "row-coordinate step between kernel rows"),
    # Row blocks (output channels), outermost.
    ("n_blocks", 16, "row blocks"),
    ("block_rows", 9, "output channels of a row block"),
    ("rows", 16, "output channels in all"),
    ("block_in", -24, "input address step between row blocks"),
    # Store unit.
    ("serial", 1, "drain one result at a time instead of `post_width`"),
    ("out_log_bytes", 2, "log2 of the bytes of a stored result (0, 1, 2)"),
    ("out_base", 24, "scratch address of the first result"),
    ("out_x", -24, "as in_x"),
    ("out_y", -24, "as in_y"),
    ("out_slot", -24, "as in_slot"),
    ("out_vector", -24, "address step between result vectors along the channels"),
    ("out_block", -24, "address step between row blocks"),
    ("param_base", 16, "first post-processing record; one per output channel"),
    ("u_signed", 1, "format of the first step"),
    ("u_width", 6, "its bits, 1..32"),
    ("table", 1, "map u through a table"),
    ("table_index", 4, "which table"),
    ("y_signed", 1, "how the second step reads y (8 bits)"),
    ("second", 1, "do the second step"),
    ("z_signed", 1, "format of the second step"),
    ("z_width", 6, "its bits, 1..16"),
    ("res", 1, "add a stored map"),
    ("res_second", 1, "in the second step instead of the first"),
    ("res_signed", 1, "the stored map is two's complement"),
    ("res_wide", 1, "its values take two bytes"),
    ("res_base", 24, "scratch address of its first value"),
    ("res_x", -24, "as in_x"),
    ("res_y", -24, "as in_y"),
    ("res_slot", -24, "as in_slot"),
    ("res_vector", -24, "as out_vector"),
    ("res_block", -24, "as out_block"),
    # Loops.
    ("early", 1, "the first burst reads nothing that the last burst of the layer before writes"),
    ("loop_in", 1, "add the loop's in offset to in_base"),
    ("loop_out", 1, "add the loop's out offset to out_base"),
    ("loop_res", 1, "add the loop's res offset to res_base"),
])
"""A layer or tile: one engine, one set of loops, one way to store results."""

LOOP = Layout("LOOP", [
    ("opcode", 4, "`Opcode.LOOP`"),
    ("count_from_run", 1, "take the count from the RUN command instead"),
    ("count", 16, "times the body runs; 0 skips nothing and counts as 1"),
    ("in_step", -24, "in offset added per turn"),
    ("out_step", -24, "out offset added per turn"),
    ("res_step", -24, "res offset added per turn"),
])
"""Loop head; the body ends at the next `Opcode.NEXT`, one word long like `Opcode.END`."""

INPUT = Layout("INPUT", [
    ("row_values", 16, "bytes of one image row: width * channels"),
    ("rows", 16, "image rows"),
    ("channels", 8, "bytes of one pixel"),
    ("fold", 8, "kernel rows folded into channels; 1 stores the image as it is"),
    ("stride", 8, "vertical stride of the folded convolution"),
    ("pad", 8, "rows of padding above the image"),
    ("out_rows", 16, "rows of the folded map"),
    ("pixel_step", 16, "address step per pixel: fold * channels"),
    ("row_step", 24, "address step per folded row"),
    ("copy_step", -24, "address step from a byte's copy to its next: stride * channels - row_step"),
    ("pad_value0", 8, "pad value of channel 0"),
    ("pad_value1", 8, "of channel 1"),
    ("pad_value2", 8, "of channel 2"),
    ("pad_value3", 8, "of channel 3"),
])
"""How images are written to the scratchpad (the unfold unit)."""


def input_record(*, width, rows, channels, fold=1, stride=1, pad=0, out_rows=None, row_step=None,
                 pad_values=()):
    """Return the field values of an `INPUT` record, derived steps included.

    Parameters
    ----------
    width, rows, channels : int
        Shape of the image.
    fold, stride, pad : int
        Kernel rows folded into channels, vertical stride, rows of padding above the image.
    out_rows : int
        Rows of the folded map; by default as many as fit with ``pad`` rows below as well.
    row_step : int
        Bytes from one folded row to the next; by default they follow each other.
    pad_values : sequence of int
        Stored byte of a padded value per channel, at most 4; missing ones are 0.
    """
    if len(pad_values) > 4:
        raise ValueError(f"INPUT holds 4 pad values, not {len(pad_values)}")
    if out_rows is None:
        out_rows = (rows + 2 * pad - fold) // stride + 1
    if row_step is None:
        row_step = width * fold * channels
    return {
        "row_values": width * channels, "rows": rows, "channels": channels, "fold": fold,
        "stride": stride, "pad": pad, "out_rows": out_rows, "pixel_step": fold * channels,
        "row_step": row_step, "copy_step": stride * channels - row_step,
    } | {f"pad_value{c}": value for c, value in enumerate(pad_values)}


def absent(most):
    """Return the exponent of a term that does not count, all ones, above `most`."""
    return (1 << (most + 1).bit_length()) - 1


def param_layout(config):
    """Return the `Layout` of one channel's post-processing record.

    A term is an exponent, `absent` for one that does not count, and a sign. The bias holds B, the
    rounding constant and the constants that engines leave out (``docs/architecture.md``).
    """
    def terms(prefix, count=config.post.terms, most=config.post.exponent):
        return [row for t in range(count) for row in (
            (f"{prefix}{t}_exponent", absent(most).bit_length(), f"term {t} of {prefix}"),
            (f"{prefix}{t}_negative", 1, "its sign"))]
    rows = [("bias", -config.sum_width, "B plus all constants of the first step"),
            ("shift", 5, "S"), *terms("m")]
    if config.residual.exists:
        rows += terms("r", config.residual.terms, MAX_EXPONENT)
    if config.post.second_step:
        rows += [("bias2", -36, "B2 plus the rounding constant"), ("shift2", 5, "S2"),
                 *terms("n")]
    return Layout("PARAM", rows)


def space_bytes(config, space):
    """Return the bytes of one word of a memory space."""
    return {
        Space.SCRATCH: 1, Space.PROGRAM: 4, Space.WEIGHTS: config.weights.load_bytes,
        Space.PARAMS: param_layout(config).bytes, Space.TABLES: 1, Space.INDEX: 4,
        Space.INPUT: INPUT.bytes, Space.COUNTERS: 1, Space.PROTOTYPES: 1,
    }[space]


def space_depth(config, space):
    """Return the words of a memory space (SCRATCH: of one group); 0 if there is none."""
    return {
        Space.SCRATCH: config.memory.scratch_bytes, Space.PROGRAM: config.memory.program_words,
        Space.WEIGHTS: config.weights.words, Space.PARAMS: config.memory.param_records,
        Space.TABLES: config.post.tables * 256, Space.INDEX: config.memory.index_entries,
        Space.INPUT: 1, Space.COUNTERS: COUNTER_SET * config.port.counted_layers,
        Space.PROTOTYPES: config.weights.prototypes,
    }[space]
