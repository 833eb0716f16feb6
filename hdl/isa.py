"""The one place where opcodes, memory spaces, counters, the `INPUT` record and channel parameters
are laid out; the records of instructions are in `hdl/records.py`.
"""

from amaranth.lib import enum

from .formats import MAX_EXPONENT
from .layout import Layout

__all__ = [
    "Opcode", "Space", "Counter", "INPUT", "absent", "input_record", "param_layout",
    "space_bytes", "space_depth",
]


class Opcode(enum.Enum, shape=4):
    """First four bits of every instruction."""

    END = 0
    """Stop; the run is done."""
    COMPUTE = 1
    """Run an engine over a map and store what it makes."""
    COPY = 2
    """Copy a map as it is, bytes of a position at once (with `Config.moves.copy`)."""


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
    then store unit and post-processor finish (the rest of the cycles), or nothing is at work
    (`FETCH`).
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
    """Result vectors stored."""
    LAYERS = 7
    """Layers completed."""
    FETCH = 8
    """Cycles with neither address generator nor store unit at work."""


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
