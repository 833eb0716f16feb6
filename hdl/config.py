"""The one place where a hardware parameter is declared: `Config` and the presets."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields

from .expansion import BURST_RESTART, visit_count
from .formats import ShiftCode
from .ranges import checked_ranges, full_range, value_bits

__all__ = ["EngineConfig", "Config", "PRESETS", "ISA_VERSION"]

ISA_VERSION = 3
"""Version of descriptors, program image and frames; a device refuses any other."""

CLUSTER_LANES = 128
"""Lanes of the rows of a cluster, with `Config.spread`."""


def _check(owner, name, value, low, high):
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{owner}.{name} must be an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Shape of the L1 or the shift engine inside every group."""

    rows: int
    """Output channels computed at once, 1..256."""
    lanes: int
    """Terms a row takes per cycle, 1..128."""
    code_width: int
    """Bits of a stored weight code: 2..8 for L1, 3..5 for shift."""
    acc_width: int
    """Bits of an accumulator, 8..32 (L1: unsigned, shift: signed)."""

    def __post_init__(self):
        _check("EngineConfig", "rows", self.rows, 1, 256)
        _check("EngineConfig", "lanes", self.lanes, 1, 128)
        _check("EngineConfig", "code_width", self.code_width, 2, 8)
        _check("EngineConfig", "acc_width", self.acc_width, 8, 32)

    def load_words(self, load_bits):
        """Return the weight-memory words that hold the codes of all rows for one step."""
        per_word = load_bits // self.code_width
        return -(-self.rows * self.lanes // per_word)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that fixes one generated accelerator.

    Two accelerators with equal `hash` run each other's programs.
    """

    name: str = "custom"
    """Label for people; not part of the hash."""
    groups: int = 1
    """Copies of the array that share weights and work on different images, 1..16."""
    l1: EngineConfig | None = None
    """L1 engine, or None."""
    shift: EngineConfig | None = None
    """Shift engine, or None."""
    pool_lanes: int = 4
    """Channels the pooling unit takes per cycle and group, 1..128."""
    pool_acc_width: int = 20
    """Bits of a pooling accumulator (signed), 9..32."""
    pool_max: bool = True
    """Whether the pooling unit can take a maximum instead of a sum."""
    taps: int = 0
    """Kernel columns that depthwise layers take at once, `pool_lanes` channels at a time; 0
    leaves their chains out; at most 8 and the rows of every engine."""
    burst_depth: int = 32
    """Positions a burst may have: depth of one accumulator bank, 1..512."""
    load_bits: int = 64
    """Bits of a weight-memory word, one of which loads per cycle; 8..1024, a power of two or nine
    eighths of one (18, 36: block RAMs have nine bits a byte)."""
    post_width: int = 1
    """Results post-processed per cycle, all groups together, 1..32."""
    terms: int = 3
    """Signed powers of two in a multiplier (T), 1..4."""
    exponent: int = 16
    """Largest exponent of one (E), 1..16; that of a residual's multiplier is always 16."""
    sum_bits: int = 0
    """Bits of the first step's sums before their right shift, 16..64; 0 takes as many as any
    program can need."""
    residual_terms: int = 3
    """Signed powers of two in the multiplier of a stored map that is added, 1..4; 0 leaves the
    unit out that adds it."""
    residual_wide: bool = True
    """Whether that map may have two bytes a value."""
    second_step: bool = True
    """Whether the post-processor has the second scale, add, round and clamp."""
    tables: int = 2
    """256-byte function tables held at a time, 0..16."""
    scratch_bytes: int = 16384
    """Activation bytes per group; a multiple of `banks`."""
    weight_words: int = 1024
    """Words of the weight memory."""
    param_records: int = 256
    """Post-processing records, one per output channel of every layer."""
    program_words: int = 1024
    """32-bit words of descriptors."""
    index_entries: int = 0
    """Entries of index lists (gathered positions); 0 leaves the unit out."""
    prototypes: int = 0
    """Prototype codes for masked layers, 0..65536; 0 leaves the weight expander out."""
    max_payload: int = 1024
    """Largest payload of a frame, bytes; a power of two, 64..4096."""
    overlap: bool = True
    """Whether a layer's weights and vectors may come while the one before is being stored; without,
    control keeps one instruction instead of three. Not part of the hash."""
    spread: bool = False
    """Whether long wires end in registers, and vectors and codes pass from a cluster of rows to the
    next, which arrays of hundreds of lanes need for their clock; it takes some cycles more. Not
    with `taps`, not part of the hash."""
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    """Lowest and highest value of LAYER and INPUT fields, as in ``{"layer.n_x": (1, 28)}``; other
    fields may hold anything. What a range rules out is left out of control."""
    frame_timeout: int = 1 << 20
    """Cycles of silence inside a frame after which it is dropped; not part of the hash."""
    counted_layers: int = 1
    """Sets of performance counters, one for each layer of a run, to 64; 0 leaves the counters out.
    Not part of the hash."""
    distributed: bool = True
    """Accumulators in distributed RAM (ECP5, Gowin) rather than block RAM (iCE40); not part
    of the hash."""
    single_port: bool = False
    """Weight words in a memory of one port (iCE40UP's single-port RAM): the host's writes come
    first. Not part of the hash."""
    flash_loader: bool = False
    """On a serial line, play commands out of the board's SPI flash before the line is heard
    (`hdl/boards/flash_loader.py`). Not part of the hash."""

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"Config.name must be an identifier, not {self.name!r}")
        for name, low, high in (
            ("groups", 1, 16), ("pool_lanes", 1, 128), ("pool_acc_width", 9, 32), ("taps", 0, 8),
            ("burst_depth", 1, 512), ("load_bits", 8, 1024), ("post_width", 1, 32),
            ("terms", 1, 4), ("exponent", 1, 16), ("tables", 0, 16), ("scratch_bytes", 64, 1 << 22),
            ("weight_words", 1, 1 << 22), ("param_records", 1, 1 << 16),
            ("program_words", 64, 1 << 16), ("index_entries", 0, 1 << 16),
            ("max_payload", 64, 4096), ("frame_timeout", 16, 1 << 30), ("counted_layers", 0, 64),
            ("prototypes", 0, 1 << 16), ("sum_bits", 0, 64), ("residual_terms", 0, 4),
        ):
            _check("Config", name, getattr(self, name), low, high)
        for name in ("residual_wide", "second_step", "pool_max", "distributed", "overlap",
                     "spread", "single_port", "flash_loader"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"Config.{name} must be true or false, "
                                 f"not {getattr(self, name)!r}")
        if self.spread and self.taps:
            raise ValueError(f"Config.taps must be 0 with spread rows, not {self.taps}")
        object.__setattr__(self, "ranges", checked_ranges(self.ranges))
        if 0 < self.sum_bits < 16:
            raise ValueError(f"Config.sum_bits must be 0 or at least 16, not {self.sum_bits}")
        if self.max_payload & (self.max_payload - 1):
            raise ValueError(f"Config.max_payload must be a power of two, not {self.max_payload}")
        bits = self.load_bits
        unit = bits // 9 if bits % 9 == 0 else bits
        if unit & (unit - 1):
            raise ValueError("Config.load_bits must be a power of two or nine eighths of one, "
                             f"not {bits}")
        if self.prototypes and bits & (bits - 1):
            raise ValueError("Config.load_bits must be a power of two with prototypes, whose masks "
                             f"are addressed by the bit, not {bits}")
        for name in ("l1", "shift"):
            engine = getattr(self, name)
            if engine is None:
                continue
            if not isinstance(engine, EngineConfig):
                raise ValueError(f"Config.{name} must be an EngineConfig or None, not {engine!r}")
            if engine.code_width > self.load_bits:
                raise ValueError(f"Config.load_bits must hold one weight code of the {name} "
                                 f"engine ({engine.code_width} bits), not {self.load_bits}")
            if self.taps > engine.rows:
                raise ValueError(f"Config.taps must be at most the rows of the {name} engine "
                                 f"({engine.rows}), not {self.taps}")
        if self.shift is not None:
            ShiftCode(self.shift.code_width)
        if self.l1 is None and self.shift is None:
            raise ValueError("Config must have an L1 engine, a shift engine or both, not neither")
        if self.prototypes and self.shift is None:
            raise ValueError("Config.prototypes must be 0 without a shift engine, "
                             f"not {self.prototypes}")
        if self.scratch_bytes % self.banks:
            raise ValueError(f"Config.scratch_bytes must be a multiple of the {self.banks} banks, "
                             f"not {self.scratch_bytes}")

    @property
    def engines(self):
        """The engines there are: dict of name to `EngineConfig`."""
        both = {"l1": self.l1, "shift": self.shift}
        return {name: engine for name, engine in both.items() if engine is not None}

    def clusters(self, engine):
        """Return the rows of each cluster of an engine, 'l1' or 'shift'; one without `spread`.

        Rows of a cluster have up to `CLUSTER_LANES` lanes together, unless one has more.
        """
        shape = self.engines[engine]
        size = max(CLUSTER_LANES // shape.lanes, 1) if self.spread else shape.rows
        return [range(first, min(first + size, shape.rows))
                for first in range(0, shape.rows, size)]

    @property
    def read_lanes(self):
        """Bytes of an activation vector: the most lanes of any unit."""
        return max([self.pool_lanes] + [e.lanes for e in self.engines.values()])

    @property
    def load_bytes(self):
        """Bytes of a weight-memory word in the program image."""
        return -(-self.load_bits // 8)

    @property
    def most_pad_words(self):
        """Weight-memory words with the pad values of a vector, whole bytes in each."""
        return -(-self.read_lanes // (self.load_bits // 8))

    @property
    def control_depth(self):
        """Words of the one memory for instructions and records, without `overlap`: a power of
        two, instructions from the first up and records from the last down.
        """
        return 1 << (self.program_words + self.param_records - 1).bit_length()

    @property
    def expand_lanes(self):
        """Codes that the weight expander makes per cycle: a power of two, 0 without one.

        The fewest that make a step's codes within a full burst, but no more than rows, lanes or
        half the bits of a memory word.
        """
        shift, width = self.shift, 1
        if shift is None or not self.prototypes:
            return 0
        per_word = self.load_bits // shift.code_width
        most = min(shift.rows, shift.lanes, self.load_bits // 2)
        while (2 * width <= most and self.burst_depth < BURST_RESTART
               + visit_count(shift.rows, shift.lanes, per_word, width)):
            width *= 2
        return width

    @property
    def residual(self):
        """Whether the post-processor can add a stored map."""
        return self.residual_terms > 0

    @property
    def reads_in_run(self):
        """Whether the host may read the scratchpad in a run: not where its reads would take the
        place of a layer's and layers have none like them.
        """
        return self.distributed or self.overlap or self.residual

    @property
    def residual_bytes(self):
        """Bytes of a stored map that are read at once to be added; 0 without that unit."""
        return self.residual * self.post_width * (1 + self.residual_wide)

    @property
    def residual_width(self):
        """Bits of a signed value of such a map, signed or not."""
        return 17 if self.residual_wide else 9

    @property
    def banks(self):
        """One-byte scratchpad banks per group: a power of two that holds every vector."""
        need = max(self.read_lanes, 4, self.post_width, self.residual_bytes)
        return 1 << (need - 1).bit_length()

    @property
    def address_width(self):
        """Bits of a scratch address; sums of addresses are modulo a power of two."""
        return (self.scratch_bytes - 1).bit_length()

    def range_of(self, name):
        """Return lowest and highest value of an instruction field, as in ``layer.n_x``."""
        return self.ranges.get(name) or full_range(name)

    def bits_of(self, name):
        """Return the bits of a field's values, a sign among them."""
        return value_bits(*self.range_of(name))

    def counter_width(self, name):
        """Return the bits that count up to a field of LAYER: blocks take a record or more each,
        runs and their chunks a byte of the scratchpad.
        """
        most = {"n_blocks": self.param_records, "rows": self.param_records,
                "n_chunks": self.scratch_bytes + 7, "run_bytes": self.scratch_bytes + 7}
        return min(self.bits_of(f"layer.{name}"), most.get(name, 1 << 32).bit_length())

    @property
    def count_width(self):
        """Bits that count the positions of all slots: each of them takes a byte of the
        scratchpad.
        """
        most = self.range_of("layer.n_xy")[1] * self.range_of("layer.n_slots")[1]
        return min((self.scratch_bytes + 7).bit_length(), most.bit_length())

    @property
    def side_width(self):
        """Bits that count the columns of a map, with warm-up columns, or its rows."""
        columns = self.range_of("layer.n_x")[1] + self.range_of("layer.warmup")[1] * bool(self.taps)
        most = max(columns, self.range_of("layer.n_y")[1])
        return min((self.scratch_bytes + 7).bit_length(), most.bit_length(), 16)

    @property
    def coordinate_width(self):
        """Bits of a signed byte coordinate in a row: up to two maps of the scratchpad's size
        beside it.
        """
        kernel = ((self.range_of("layer.n_kx")[1] - 1) * self.range_of("layer.kx_xb")[1]
                  + self.range_of("layer.run_bytes")[1])
        reach = self.range_of("layer.row_bytes")[1] + 2 * kernel + self.read_lanes
        return min(self.address_width + 2, reach.bit_length() + 1, 21)

    @property
    def row_width(self):
        """Bits of a signed row coordinate."""
        kernel = self.range_of("layer.n_ky")[1] * self.range_of("layer.ky_iy")[1]
        return min((self.range_of("layer.in_rows")[1] + 2 * kernel).bit_length() + 1, 17)

    @property
    def unfold_width(self):
        """Bits of an address of the map that images are written to, from any base."""
        size = self.range_of("input.out_rows")[1] * self.range_of("input.row_step")[1]
        return min((self.scratch_bytes + size).bit_length(), 24)

    @property
    def copies(self):
        """Whether all images are stored as they come, row behind row, by what INPUT may hold."""
        low, high = zip(*(self.range_of(f"input.{name}") for name in (
            "fold", "stride", "pad", "channels", "pixel_step", "row_values", "row_step", "rows",
            "out_rows")), strict=True)
        return low == high and low[:3] == (1, 1, 0) and low[3::2] == low[4::2]

    @property
    def loops(self):
        """Whether a program may have loops."""
        return any(self.range_of(f"layer.loop_{name}")[1] for name in ("in", "out", "res"))

    @property
    def value_width(self):
        """Bits of the signed value that an engine hands to the post-processor."""
        widths = [self.pool_acc_width]
        if self.l1 is not None:
            widths.append(self.l1.acc_width + 2)
        if self.shift is not None:
            widths.append(self.shift.acc_width)
        return max(widths)

    @property
    def sum_width(self):
        """Bits of the post-processor's sum before its right shift (and of a stored bias)."""
        return self.sum_bits or max(self.value_width + self.exponent + 2, 34) + 2

    @property
    def hash(self):
        """First 8 bytes of the SHA-256 of the program-visible fields."""
        visible = {key: value for key, value in asdict(self).items()
                   if key not in ("name", "frame_timeout", "counted_layers", "distributed",
                                  "overlap", "spread", "single_port", "flash_loader")}
        text = json.dumps([ISA_VERSION, visible], sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]

    def to_json(self):
        """Return the configuration as JSON text."""
        text = json.dumps({"isa": ISA_VERSION} | asdict(self), indent=2) + "\n"
        return re.sub(r"\[\s+(-?\d+),\s+(-?\d+)\s+\]", r"[\1, \2]", text)

    @classmethod
    def from_json(cls, text):
        """Read a configuration; `ValueError` says in one line what is wrong with it."""
        try:
            record = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"Configuration must be JSON: {error}") from None
        if not isinstance(record, dict):
            raise ValueError("Configuration must be a JSON object")
        version = record.pop("isa", None)
        if version != ISA_VERSION:
            raise ValueError(f"Configuration must be of instruction-set version {ISA_VERSION}, "
                             f"not {version!r}")
        for name in ("l1", "shift"):
            if isinstance(record.get(name), dict):
                record[name] = _build(EngineConfig, record[name])
        return _build(cls, record)


def _build(cls, record):
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(record) - known):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}")
    try:
        return cls(**record)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {str(error).split('__init__() ')[-1]}") from None


def _engines(rows, lanes, shift_rows=None, shift_lanes=None):
    return {
        "l1": EngineConfig(rows=rows, lanes=lanes, code_width=8, acc_width=20),
        "shift": EngineConfig(rows=shift_rows or rows, lanes=shift_lanes or lanes, code_width=4,
                              acc_width=24),
    }


PRESETS = {
    config.name: config
    for config in (
        Config(name="tiny", **_engines(4, 8), pool_lanes=4, burst_depth=16, load_bits=32,
               post_width=1, scratch_bytes=4096, weight_words=1024, param_records=64,
               program_words=512, tables=1, max_payload=256, distributed=False),
        Config(name="default", groups=2, **_engines(8, 16), pool_lanes=8, burst_depth=32,
               load_bits=256, post_width=2, scratch_bytes=65536, weight_words=2560,
               param_records=512, index_entries=1024),
        Config(name="large", groups=4, **_engines(16, 32, 16, 16), pool_lanes=16, burst_depth=32,
               load_bits=512, post_width=16, scratch_bytes=32768, weight_words=4608,
               param_records=1024, index_entries=1024),
    )
}
"""Named configurations: `tiny` (quick to simulate and to synthesise), `default` and
`large` (for simulation; no ECP5 holds it)."""
