"""The one place where a hardware parameter is declared: `Config`, a record for each unit."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace

from .config_checks import checked
from .config_derived import Derived
from .config_names import path_of
from .config_system import BuildConfig, MemoryConfig, PortConfig
from .config_text import Shown
from .config_units import (
    DepthwiseConfig,
    EngineConfig,
    MovesConfig,
    PoolConfig,
    PostConfig,
    ResidualConfig,
    WeightsConfig,
    check_code,
)
from .engines.registry import POOLING, known_engines
from .ranges import checked_ranges

__all__ = [
    "ISA_VERSION", "BuildConfig", "Config", "DepthwiseConfig", "EngineConfig", "MemoryConfig",
    "MovesConfig", "PoolConfig", "PortConfig", "PostConfig", "ResidualConfig", "WeightsConfig",
]

ISA_VERSION = 4
"""Version of descriptors, program image and frames; a device refuses any other."""

MOST_ENGINES = 3
"""Engines beside the pooling unit that an instruction can tell apart."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Config(Shown, Derived):
    """Everything that fixes one generated accelerator, unit by unit.

    Two accelerators with equal `hash` run each other's programs. `pyhw.preset` gives one to begin
    with, `pyhw.fit` one for a network and a device.

    Examples
    --------
    >>> import pyhw
    >>> engine = pyhw.EngineConfig(rows=4, lanes=8, code_width=8, acc_width=24)
    >>> config = pyhw.Config(name="small", engines={"l1": engine})
    >>> config.changed(groups=2, post_width=2).post.width
    2
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
        self.depthwise.check(self.engines, self.build)
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
        if not self.engines:
            raise ValueError("Config must have an engine, not none")
        if len(self.engines) > MOST_ENGINES:
            raise ValueError(f"Config.engines must be at most {MOST_ENGINES}, "
                             f"not {len(self.engines)}")

    @classmethod
    def of(cls, **values):
        """Make a configuration of flat names (`hdl/config_names.py`), as in ``post_width=2``."""
        return _made(cls, None, values)

    def changed(self, **values):
        """Return the configuration with other values, by flat or dotted names.

        An engine is an `EngineConfig`, or a dict of its fields; None takes it out. `TypeError` if
        there is no such field.
        """
        return _made(type(self), self, values)

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


def _made(cls, before, values):
    """Return a configuration of values by flat or dotted names, the others as they were before."""
    engines, parts, own = dict(before.engines) if before else {}, {}, {}
    for name, value in values.items():
        part, entry = path_of(name)
        group, _, owner = part.partition(".")
        if group == "engines" and not owner:
            engines[entry] = _engine(entry, value) if isinstance(value, dict) else value
        elif group == "engines":
            if engines.get(owner) is None:
                raise TypeError(f"no engine {owner!r}")
            engines[owner] = replace(engines[owner], **{entry: value})
        elif part in PARTS:
            parts.setdefault(part, {})[entry] = value
        elif part:
            raise TypeError(f"{cls.__name__} has no field {name!r}")
        else:
            own[entry] = value
    changed = {part: replace(getattr(before, part), **fields) if before else PARTS[part](**fields)
               for part, fields in parts.items()}
    engines = {name: engine for name, engine in engines.items() if engine is not None}
    if before:
        return replace(before, engines=engines, **changed, **own)
    return cls(engines=engines, **changed, **own)
