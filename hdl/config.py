"""The one place where a hardware parameter is declared: `Config`, a record for each unit."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace

from .config_names import path_of
from .config_parts import (
    BuildConfig,
    DepthwiseConfig,
    EngineConfig,
    MemoryConfig,
    MovesConfig,
    PoolConfig,
    PortConfig,
    PostConfig,
    ResidualConfig,
    WeightsConfig,
    check_code,
    checked,
)
from .config_widths import Widths
from .engines.registry import POOLING, engine_of, known_engines
from .expansion import BURST_RESTART, visit_count
from .packing import codes_per_word, word_count
from .ranges import checked_ranges

__all__ = [
    "ISA_VERSION", "BuildConfig", "Config", "DepthwiseConfig", "EngineConfig", "MemoryConfig",
    "MovesConfig", "PoolConfig", "PortConfig", "PostConfig", "ResidualConfig", "WeightsConfig",
]

ISA_VERSION = 4
"""Version of descriptors, program image and frames; a device refuses any other."""

MOST_ENGINES = 3
"""Engines beside the pooling unit that an instruction can tell apart."""

CLUSTER_LANES = 128
"""Lanes of the rows of a cluster, where links have registers."""


@dataclass(frozen=True, kw_only=True)
class Config(Widths):
    """Everything that fixes one generated accelerator, unit by unit.

    Two accelerators with equal `hash` run each other's programs.
    """

    name: str = "custom"
    """Label for people; not part of the hash."""
    groups: int = 1
    """Copies of the array that share weights and work on different images, 1..16."""
    engines: dict[str, EngineConfig] = field(default_factory=dict, hash=False)
    """The engines there are, by name, at least one."""
    burst_depth: int = 32
    """Positions a burst may have: depth of one accumulator bank, 1..512."""
    pool: PoolConfig = field(default_factory=PoolConfig)
    depthwise: DepthwiseConfig = field(default_factory=DepthwiseConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    post: PostConfig = field(default_factory=PostConfig)
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    moves: MovesConfig = field(default_factory=MovesConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    port: PortConfig = field(default_factory=PortConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    """Lowest and highest value of fields of instructions and INPUT, as in
    ``{"nest.n_x": (1, 28)}``; other fields may hold anything. What a range rules out is left out
    of control."""

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"Config.name must be an identifier, not {self.name!r}")
        checked("Config", "groups", self.groups, 1, 16)
        checked("Config", "burst_depth", self.burst_depth, 1, 512)
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise ValueError(f"Config.{name} must be a {part.__name__}, "
                                 f"not {getattr(self, name)!r}")
        object.__setattr__(self, "engines", dict(sorted(self.engines.items())))
        self._check_engines()
        if self.build.links and self.depthwise.columns:
            raise ValueError("Config.depthwise.columns must be 0 with links, "
                             f"not {self.depthwise.columns}")
        object.__setattr__(self, "ranges", checked_ranges(self.ranges))
        if self.weights.prototypes and self.masked is None:
            raise ValueError("Config.weights.prototypes must be 0 without an engine whose codes "
                             f"masks can make, not {self.weights.prototypes}")
        if self.memory.scratch_bytes % self.banks:
            raise ValueError(f"Config.memory.scratch_bytes must be a multiple of the {self.banks} "
                             f"banks, not {self.memory.scratch_bytes}")

    def _check_engines(self):
        for name, engine in self.engines.items():
            if name == POOLING or name not in known_engines():
                names = ", ".join(known for known in known_engines() if known != POOLING)
                raise ValueError(f"Config.engines must be of {names}, not {name!r}")
            if not isinstance(engine, EngineConfig):
                raise ValueError(f"Config.engines.{name} must be an EngineConfig, not {engine!r}")
            check_code(name, engine, self.weights.load_bits)
            if self.depthwise.columns > engine.rows:
                raise ValueError(f"Config.depthwise.columns must be at most the rows of the {name} "
                                 f"engine ({engine.rows}), not {self.depthwise.columns}")
        if not self.engines:
            raise ValueError("Config must have an engine, not none")
        if len(self.engines) > MOST_ENGINES:
            raise ValueError(f"Config.engines must be at most {MOST_ENGINES}, "
                             f"not {len(self.engines)}")

    @classmethod
    def of(cls, **values):
        """Make a configuration of flat names (`hdl/config_names.py`), as in ``post_width=2``."""
        own = {name: values.pop(name) for name in list(values) if path_of(name)[0] == ""}
        return cls(engines=_engines({}, values), **_parts(cls, {}, values), **own)

    def changed(self, **values):
        """Return the configuration with other values, by flat or dotted names.

        An engine is an `EngineConfig`, or a dict of its fields; None takes it out. `TypeError` if
        there is no such field.
        """
        own = {name: values.pop(name) for name in list(values) if path_of(name)[0] == ""}
        parts = {name: getattr(self, name) for name in PARTS}
        return replace(self, engines=_engines(self.engines, values),
                       **_parts(type(self), parts, values), **own)

    def value(self, name):
        """Return the value of a field by its flat or dotted name; an engine may be None."""
        part, own = path_of(name)
        if part == "engines":
            return self.engines.get(own)
        return getattr(getattr(self, part) if part else self, own)

    def number(self, engine):
        """Return the number that an instruction gives for an engine, the pooling unit's last."""
        return (*self.engines, POOLING).index(engine)

    def engine(self, number):
        """Return the name of the engine of a number; `IndexError` if there is none."""
        return (*self.engines, POOLING)[number]

    @property
    def masked(self):
        """Name of the engine whose codes a weight expander makes, or None."""
        return next((name for name in self.engines if engine_of(name).masked), None)

    def clusters(self, engine):
        """Return the rows of each cluster of an engine; one where links have no registers.

        Rows of a cluster have up to `CLUSTER_LANES` lanes together, unless one has more.
        """
        shape = self.engines[engine]
        size = max(CLUSTER_LANES // shape.lanes, 1) if self.build.link_cycles else shape.rows
        return [range(first, min(first + size, shape.rows))
                for first in range(0, shape.rows, size)]

    @property
    def read_lanes(self):
        """Bytes of an activation vector: the most lanes of any unit."""
        return max([self.pool.lanes] + [e.lanes for e in self.engines.values()])

    @property
    def most_pad_words(self):
        """Weight-memory words with the pad values of a vector, whole bytes in each."""
        return word_count(self.read_lanes, self.weights.load_bits, 8)

    @property
    def control_depth(self):
        """Words of the one memory for instructions and records, without `overlap`: a power of
        two, instructions from the first up and records from the last down.
        """
        return 1 << (self.memory.program_words + self.memory.param_records - 1).bit_length()

    @property
    def expand_lanes(self):
        """Codes that the weight expander makes per cycle: a power of two, 0 without one.

        The fewest that make a step's codes within a full burst, but no more than rows, lanes or
        half the bits of a memory word.
        """
        if self.masked is None or not self.weights.prototypes:
            return 0
        engine, width = self.engines[self.masked], 1
        per_word = codes_per_word(self.weights.load_bits, engine.code_width)
        most = min(engine.rows, engine.lanes, self.weights.load_bits // 2)
        while (2 * width <= most and self.burst_depth < BURST_RESTART
               + visit_count(engine.rows, engine.lanes, per_word, width)):
            width *= 2
        return width

    @property
    def reads_in_run(self):
        """Whether the host may read the scratchpad in a run: not where its reads would take the
        place of a layer's and layers have none like them.
        """
        return self.build.keeps_vectors or self.residual.exists

    @property
    def residual_bytes(self):
        """Bytes of a stored map that are read at once to be added; 0 without that unit."""
        return self.residual.exists * self.post.width * (1 + self.residual.wide)

    @property
    def banks(self):
        """One-byte scratchpad banks per group: a power of two that holds every vector."""
        need = max(self.read_lanes, 4, self.post.width, self.residual_bytes)
        return 1 << (need - 1).bit_length()

    @property
    def address_width(self):
        """Bits of a scratch address; sums of addresses are modulo a power of two."""
        return (self.memory.scratch_bytes - 1).bit_length()

    @property
    def value_width(self):
        """Bits of the signed value that an engine hands to the post-processor."""
        widths = [self.pool.acc_width]
        for name, engine in self.engines.items():
            widths.append(engine.acc_width + engine_of(name).value_bits)
        return max(widths)

    @property
    def sum_width(self):
        """Bits of the post-processor's sum before its right shift (and of a stored bias)."""
        return self.post.sum_bits or max(self.value_width + self.post.exponent + 2, 34) + 2

    @property
    def hash(self):
        """First 8 bytes of the SHA-256 of the program-visible fields."""
        visible = asdict(self)
        del visible["name"], visible["build"]
        visible["port"] = {"max_payload": self.port.max_payload}
        text = json.dumps([ISA_VERSION, visible], sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]


PARTS = {entry.name: entry.type for entry in fields(Config) if is_dataclass(entry.type)}
"""The records of units, by the name of their field."""


def _engine(name, given):
    """Return an engine's shape from a dict of its fields."""
    try:
        return EngineConfig(**given)
    except TypeError as error:
        reason = str(error).split("__init__() ")[-1]
        raise ValueError(f"Config.engines.{name}: {reason}") from None


def _engines(before, values):
    """Return engines with those that are named among the values changed, and take these out."""
    engines = dict(before)
    for name in list(values):
        part, own = path_of(name)
        if part == "engines":
            given = values.pop(name)
            engines[own] = _engine(own, given) if isinstance(given, dict) else given
        elif part.startswith("engines."):
            owner = part.removeprefix("engines.")
            if engines.get(owner) is None:
                raise TypeError(f"no engine {owner!r}")
            engines[owner] = replace(engines[owner], **{own: values.pop(name)})
    return {name: engine for name, engine in engines.items() if engine is not None}


def _parts(cls, before, values):
    """Return the records of units that the values change."""
    changes = {}
    for name, value in values.items():
        part, own = path_of(name)
        if part not in PARTS:
            raise TypeError(f"{cls.__name__} has no field {name!r}")
        changes.setdefault(part, {})[own] = value
    return {part: replace(before[part], **own) if before else PARTS[part](**own)
            for part, own in changes.items()}
