"""Every memory of an accelerator, and the block RAMs that it takes on a family.

The rules are those by which Yosys maps memories; they are held against its counts of whole
accelerators (``docs/fit.md``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyhw.families import Device, Family, find_family
from pyhw.hdl.config import Config
from pyhw.hdl.isa import param_layout

from .area import accumulator_rows

__all__ = ["Memory", "block_rams", "in_blocks", "memories", "placed", "single_port_blocks",
           "single_port_rams", "word_blocks"]  # fmt: skip

COUNTERS, COUNTER_WIDTH = 8, 48
SMALL = 1024
"""Bits up to which Yosys takes distributed RAM for any memory: a block costs it more."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Equal memories of one kind.

    Attributes
    ----------
    name : str
        What they hold.
    depth, width : int
        Words, bits of a word.
    count : int
        How many there are.
    two_reads : bool
        Whether they have a second read port, at the address of the write port.
    distributed : bool
        Whether they are small enough, or read at once, so that they lie in LUTs where the family
        has such.
    single_port : bool
        Whether they lie in blocks of one port, for reading or writing.
    """

    name: str
    depth: int
    width: int
    count: int = 1
    two_reads: bool = False
    distributed: bool = False
    single_port: bool = False


_SINGLE_PORT = ((1 << 14, 16), (1 << 15, 8))
"""Words and bits that a block of one port may be."""


def memories(config: Config) -> list[Memory]:
    """List the memories of an accelerator.

    Parameters
    ----------
    config : Config

    Returns
    -------
    list of Memory
        Those of the data path first; what delays values for a few cycles is left out.
    """
    banks = config.groups * config.banks
    # Bits that nothing reads are dropped: of records, and of index lists beyond an address.
    address = min(24, (config.memory.scratch_bytes - 1).bit_length())
    found = [
        Memory(
            name="scratchpad",
            depth=config.memory.scratch_bytes // config.banks,
            width=8,
            count=banks,
            two_reads=config.build.distributed,
        ),
        Memory(name="weights", depth=config.weights.words, width=config.weights.load_bits,
               single_port=config.build.single_port),
        *_control(config),
    ]
    if config.memory.index_entries:
        found.append(Memory(name="index lists", depth=config.memory.index_entries, width=address))
    if config.post.tables:
        pairs, single = divmod(config.post.width, 2)
        table = Memory(name="tables", depth=256 * config.post.tables, width=8)
        found += [replace(table, count=pairs, two_reads=True)] * bool(pairs)
        found += [table] * single
    # a copy for each code made in a cycle
    if config.masked is not None and config.weights.prototypes:
        found.append(Memory(name="prototypes", depth=config.weights.prototypes,
                            width=config.engines[config.masked].code_width,
                            count=config.expand_lanes))
    found.append(Memory(name="received frames", depth=2 * config.port.max_payload, width=8))
    places = address + (config.groups - 1).bit_length() + max(config.post.width, 4).bit_length()
    found.append(Memory(name="places of results", depth=16, width=places, distributed=True))
    if config.port.counted_layers:
        found.append(Memory(name="counters", depth=COUNTERS, width=COUNTER_WIDTH, distributed=True))
    return found + _accumulators(config)


def _control(config: Config) -> list[Memory]:
    """Instructions and records: two memories, or one in a lean accelerator."""
    record = param_layout(config).width
    if not config.build.overlap:
        return [Memory(name="instructions and records", depth=config.control_depth,
                       width=max(record, 32))]  # fmt: skip
    return [Memory(name="records", depth=config.memory.param_records, width=record),
            Memory(name="instructions", depth=config.memory.program_words, width=32)]  # fmt: skip


def _accumulators(config: Config) -> list[Memory]:
    """Two banks a group: a word for each row, or (block RAM) one for all rows."""
    rows = [(int(count), int(width)) for count, width in accumulator_rows(
        config, {name: (one.rows, one.acc_width) for name, one in config.engines.items()}) if count]
    bank = Memory(name="accumulators", depth=config.burst_depth, width=0, distributed=True)
    if config.build.distributed:
        return [replace(bank, width=bits, count=2 * config.groups * count) for count, bits in rows]
    return [replace(bank, width=sum(count * bits for count, bits in rows),
                    count=2 * config.groups)]  # fmt: skip


def block_rams(memory: Memory, family: str) -> int:
    """Return the block RAMs of all memories of a kind.

    Parameters
    ----------
    memory : Memory
    family : str
        Name of a family of `pyhw.families`.

    Raises
    ------
    UserError
        If the family is not known.
    """
    rules = find_family(family)
    small = memory.distributed or memory.depth * memory.width <= SMALL
    if memory.single_port or (small and rules.lut_ram):
        return 0
    shapes = _shapes(rules, memory.two_reads)
    copies = 2 if memory.two_reads and not rules.both_ports_bits else 1
    least = min(-(-memory.depth // depth) * -(-memory.width // width) for depth, width in shapes)
    return memory.count * copies * least


def single_port_rams(memory: Memory) -> int:
    """Return the single-port blocks of all memories of a kind."""
    return memory.single_port * memory.count * int(single_port_blocks(memory.depth, memory.width))


def single_port_blocks(words: Any, bits: Any) -> Any:
    """Return the single-port blocks of a memory; words and bits may be arrays."""
    return _least(words, bits, _SINGLE_PORT)


def in_blocks(config: Config, family: str) -> Config:
    """Return a configuration with its accumulators where a family has memory for them."""
    return config.changed(distributed=find_family(family).lut_ram, single_port=False)


def placed(config: Config, device: Device) -> Config:
    """Return a configuration with its memories where a device has room for them."""
    single = in_blocks(config, device.family).changed(single_port=True)
    if sum(map(single_port_rams, memories(single))) <= device.single_port_rams:
        return single
    return single.changed(single_port=False)


def _shapes(family: Family, two_reads: bool) -> list[tuple[int, int]]:
    """Return the shapes that a block may take."""
    most = family.both_ports_bits if two_reads else 0
    return [shape for shape in family.block_shapes if not most or shape[1] <= most]


def word_blocks(words: Any, bits: Any, family: str) -> Any:
    """Return the block RAMs of a memory with one read port; words and bits may be arrays."""
    return _least(words, bits, find_family(family).block_shapes)


def _least(words: Any, bits: Any, shapes: Iterable[tuple[int, int]]) -> Any:
    each = [-(-words // depth) * -(-bits // width) for depth, width in shapes]
    return np.min(np.broadcast_arrays(*each), axis=0)
