"""Formats and steps of stored values, from what all their readers see.

A value is stored once, in one format and with one step, whoever reads it. Values that are
concatenated share theirs.
"""

from dataclasses import dataclass

import numpy as np

from pyhw.hdl.formats import Format

from .activations import RELU, apply_activation
from .forms import form_of
from .operation import Weights
from .reference import Reals
from .scales import activation_scale
from .signs import is_signed
from .stage import IMAGES, Stage

__all__ = ["INNER_BITS", "Choice", "Chooser", "readers_of"]

INNER_BITS = 8
"""Bits of what is not read by engines: between the two steps, and residuals, which fill a byte."""


@dataclass(frozen=True)
class Choice:
    """Format and step of a value."""

    fmt: Format
    scale: float


def readers_of(stages: list[Stage]) -> dict[str, list[Stage]]:
    """Return the stages that read each value, by its path."""
    readers: dict[str, list[Stage]] = {path: [] for path in [IMAGES, *(s.path for s in stages)]}
    for stage in stages:
        for path in dict.fromkeys(stage.reads):
            readers[path].append(stage)
    return readers


class Chooser:
    """Chooses for one value after the other; concatenated ones are chosen for together.

    Parameters
    ----------
    stages : list of Stage
        Of the whole network.
    reals : Reals
        Their real values.
    bits : int
        Of what engines read.
    scales : dict of str to float
        Steps that are given, by path.
    stream_bits : int
        Of what is normalised token by token and added, and read by no engine.
    """

    def __init__(
        self, stages: list[Stage], reals: Reals, bits: int, scales: dict[str, float],
        stream_bits: int = INNER_BITS,
    ) -> None:  # fmt: skip
        self.stages = {stage.path: stage for stage in stages}
        self.reals, self.bits, self.scales, self.stream_bits = reals, bits, scales, stream_bits
        self.readers = readers_of(stages)
        self.ties = _ties(stages)
        self._chosen: dict[str, Choice] = {}
        self.weights = Weights()

    def keeps(self, stage: Stage) -> bool:
        """Return whether a pool keeps format and step of what it reads."""
        return stage.bare_pool and stage.path not in self.ties

    def stored(self, stage: Stage) -> Choice:
        """Choose for a stage's value."""
        if stage.path in self._chosen:
            return self._chosen[stage.path]
        tied = self.ties.get(stage.path, [stage.path])
        signed = any(is_signed(path, self.stages) for path in tied)
        fmt = Format(self.bits, signed)
        if all(stage.path not in reader.sources for reader in self.readers[stage.path]):
            fmt = Format(max(self.bits, INNER_BITS), signed)
        elif len(tied) == 1 and self._streams(stage):
            fmt = Format(min(self.stream_bits, longest(stage.channels)), signed)
        given = [self.scales[path] for path in tied if path in self.scales]
        if given:
            choice = Choice(fmt, given[0])
        else:
            seen: dict[str, None] = {}
            weights: list[np.ndarray] = []
            for path in tied:
                self._look(path, seen, weights)
            values = [self.reals[path].z for path in seen]
            choice = Choice(
                fmt,
                activation_scale(
                    values[0] if len(values) == 1 else np.concatenate([v.ravel() for v in values]),
                    fmt,
                    np.concatenate([w.ravel() for w in weights]) if weights else None,
                ),
            )
        self._chosen |= dict.fromkeys(tied, choice)
        return choice

    def _streams(self, stage: Stage) -> bool:
        """Return whether a value is normalised token by token and read by no engine."""
        table = stage.activation not in (None, RELU) and stage.second is None
        engines = [r for r in self.readers[stage.path] if stage.path in r.sources]
        return not table and all(reader.kind == "norm" for reader in engines)

    def inner(self, stage: Stage) -> Choice:
        """Choose for what lies between a stage's first step and its table or second step."""
        real = self.reals[stage.path]
        if stage.activation in (None, RELU):
            assert real.a is not None
            fmt = Format(INNER_BITS, stage.activation is None)
            return Choice(fmt, activation_scale(real.a, fmt))
        assert real.v is not None
        fmt = Format(INNER_BITS, True)
        scale = activation_scale(
            real.v, fmt, function=lambda v: apply_activation(stage.activation, v)
        )
        return Choice(fmt, scale)

    def _look(self, path: str, seen: dict[str, None], weights: list[np.ndarray]) -> None:
        """Collect the values that readers see, after maximum pools, and adder weights."""
        for reader in self.readers[path]:
            if reader.kind == "concat" or (reader.kind == "max" and self.keeps(reader)):
                self._look(reader.path, seen, weights)
                continue
            seen[path] = None
            compares = reader.weight is not None and form_of(reader).compares
            if compares and path in reader.sources:
                assert reader.weight is not None
                weights.append(reader.weight)
        if not self.readers[path]:
            seen[path] = None


def longest(channels: int) -> int:
    """Return the most bits of values whose norm over so many channels has 32-bit biases."""
    return min(16, 23 - (channels - 1).bit_length())


def _ties(stages: list[Stage]) -> dict[str, list[str]]:
    """Return, for every value that is concatenated, all values that share its step."""
    groups: dict[str, list[str]] = {}
    for stage in stages:
        if stage.kind != "concat":
            continue
        merged = dict.fromkeys(
            member for path in stage.sources for member in groups.get(path, [path])
        )
        members = [*merged, stage.path]
        for path in members:
            groups[path] = members
    return groups
