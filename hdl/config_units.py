"""The units that compute, as a configuration declares them: one record each."""

from dataclasses import dataclass

from .config_checks import check_all
from .engines.registry import engine_of
from .packing import word_count

__all__ = ["DepthwiseConfig", "EngineConfig", "MovesConfig", "PoolConfig", "PostConfig",
           "ResidualConfig", "WeightsConfig", "check_code"]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Shape of an engine inside every group."""

    rows: int
    """Output channels computed at once, 1..256."""
    lanes: int
    """Terms a row takes per cycle, 1..128."""
    code_width: int
    """Bits of a stored weight code, 1..8: those that the engine has codes of."""
    acc_width: int
    """Bits of an accumulator, 8..32."""

    def __post_init__(self):
        check_all(self, "EngineConfig", rows=(1, 256), lanes=(1, 128), code_width=(1, 8),
                   acc_width=(8, 32))

    def load_words(self, load_bits):
        """Return the weight-memory words that hold the codes of all rows for one step."""
        return word_count(self.rows * self.lanes, load_bits, self.code_width)


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The pooling unit inside every group."""

    lanes: int = 4
    """Channels it takes per cycle, 1..128."""
    acc_width: int = 20
    """Bits of an accumulator (signed), 9..32."""
    maximum: bool = True
    """Whether it can take a maximum instead of a sum."""

    def __post_init__(self):
        check_all(self, "Config.pool", lanes=(1, 128), acc_width=(9, 32))


@dataclass(frozen=True, kw_only=True)
class DepthwiseConfig:
    """The unit for depthwise layers."""

    columns: int = 0
    """Kernel columns that are taken at once, `PoolConfig.lanes` channels at a time; 0 leaves the
    unit out; at most 8 and the rows of every engine."""

    def __post_init__(self):
        check_all(self, "Config.depthwise", columns=(0, 8))

    def check(self, engines, build):
        """Raise `ValueError` if the unit does not go with the engines or how they are built."""
        if build.links and self.columns:
            raise ValueError(f"Config.depthwise.columns must be 0 with links, not {self.columns}")
        for name, engine in engines.items():
            if self.columns > engine.rows:
                raise ValueError(f"Config.depthwise.columns must be at most the rows of the {name} "
                                 f"engine ({engine.rows}), not {self.columns}")


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """The weight memory, and the expander of masked weights."""

    words: int = 1024
    """Words of the weight memory, 1..2^22."""
    load_bits: int = 64
    """Bits of a word, one of which loads per cycle; 8..1024, a power of two or nine eighths of one
    (18, 36: block RAMs have nine bits a byte)."""
    prototypes: int = 0
    """Prototype codes for masked layers, 0..65536; 0 leaves the weight expander out."""

    def __post_init__(self):
        owner, bits = "Config.weights", self.load_bits
        check_all(self, owner, words=(1, 1 << 22), load_bits=(8, 1024), prototypes=(0, 1 << 16))
        unit = bits // 9 if bits % 9 == 0 else bits
        if unit & (unit - 1):
            raise ValueError(f"{owner}.load_bits must be a power of two or nine eighths of one, "
                             f"not {bits}")
        if self.prototypes and bits & (bits - 1):
            raise ValueError(f"{owner}.load_bits must be a power of two with prototypes, whose "
                             f"masks are addressed by the bit, not {bits}")

    @property
    def load_bytes(self):
        """Bytes of a word in the program image."""
        return -(-self.load_bits // 8)


@dataclass(frozen=True, kw_only=True)
class PostConfig:
    """The post-processor."""

    width: int = 1
    """Results per cycle, all groups together, 1..32."""
    terms: int = 3
    """Signed powers of two in a multiplier (T), 1..4."""
    exponent: int = 16
    """Largest exponent of one (E), 1..16; that of a residual's multiplier is always 16."""
    sum_bits: int = 0
    """Bits of the first step's sums before their right shift, 16..64; 0 takes as many as any
    program can need."""
    second_step: bool = True
    """Whether there is the second scale, add, round and clamp."""
    tables: int = 2
    """256-byte function tables held at a time, 0..16."""

    def __post_init__(self):
        check_all(self, "Config.post", width=(1, 32), terms=(1, 4), exponent=(1, 16),
                   sum_bits=(0, 64), tables=(0, 16))
        if 0 < self.sum_bits < 16:
            raise ValueError("Config.post.sum_bits must be 0 or at least 16, "
                             f"not {self.sum_bits}")


@dataclass(frozen=True, kw_only=True)
class ResidualConfig:
    """The part of the post-processor that adds a stored map."""

    terms: int = 3
    """Signed powers of two in the multiplier of that map, 1..4; 0 leaves the unit out."""
    wide: bool = True
    """Whether it may have two bytes a value."""

    def __post_init__(self):
        check_all(self, "Config.residual", terms=(0, 4))

    @property
    def exists(self):
        """Whether the post-processor can add a stored map."""
        return self.terms > 0

    @property
    def value_width(self):
        """Bits of a signed value of such a map, signed or not."""
        return 17 if self.wide else 9


@dataclass(frozen=True, kw_only=True)
class MovesConfig:
    """Units that move maps inside the accelerator, beside the engines."""

    copy: bool = False
    """Whether there is a unit that copies maps as they are, `post.width` bytes a cycle or four."""

    def __post_init__(self):
        check_all(self, "Config.moves")


def check_code(name, engine, load_bits):
    """Raise `ValueError` if a weight code does not fit the memory's words, or is none."""
    if engine.code_width > load_bits:
        raise ValueError(f"Config.weights.load_bits must hold one weight code of the {name} "
                         f"engine ({engine.code_width} bits), not {load_bits}")
    engine_of(name).check(engine)
