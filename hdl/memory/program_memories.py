"""The program memories: instructions, weight words, records, index lists."""

import itertools
from typing import NamedTuple

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.links import Links
from ..common.technology import Technology
from ..contents import NOTHING
from ..control.stages import Stages
from ..isa import INPUT, Space, param_layout, space_bytes, space_depth
from ..port.bus import MemoryWrite
from ..ranges import narrowed

__all__ = ["ProgramMemories"]


class _Content(NamedTuple):
    """What one memory holds of one space: the names of its ports begin with `name`."""

    name: str
    space: Space
    width: int

    @property
    def bytes(self):
        """Bytes of a word in use."""
        return -(-self.width // 8)


class ProgramMemories(wiring.Component):
    """Hold the program; words are written when their last byte in use comes, and read whole.

    Where instructions and records are never read at once (`Stages.two_at_once`) they share a memory
    and its read port: instructions from the first word up, records from the last down.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of all memories and the input record, from configuration on.

    Members
    -------
    i_write : In(MemoryWrite), i_write_valid : In(1)
        One byte for any of the spaces; others are ignored. Always taken, and there three cycles
        later at the latest. All bytes of a word, or of an input record, come in order.
    i_{name}_address, i_{name}_enable : In, o_{name}_data : Out
        Synchronous read port of `program` (32 bits), `weights` (load_bits), `records`
        (one record) and, where the configuration has index lists, `index` (24 bits).
    o_input : Out(INPUT)
        The input record.

    Read latency 1 cycle; a read while the same word is written gives either value, and in a memory
    of one port a read gives nothing while any word is written. That happens in no run, since the
    host writes the program between runs.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        self._links, self._technology = Links(config), Technology(config)
        self._stages = stages = Stages(config)
        program = _Content("program", Space.PROGRAM, 32)
        records = _Content("records", Space.PARAMS, param_layout(config).width)
        weights = _Content("weights", Space.WEIGHTS, config.weights.load_bits)
        index = _Content("index", Space.INDEX, 24)
        self._memories = [[program], [records]] if stages.two_at_once else [[program, records]]
        self._memories += [[weights]] + [[index]] * bool(config.memory.index_entries)
        members = {"i_write": In(MemoryWrite), "i_write_valid": In(1), "o_input": Out(INPUT.shape)}
        for name, space, width in itertools.chain(*self._memories):
            depth = space_depth(config, space)
            members |= {f"i_{name}_address": In(range(depth)), f"i_{name}_enable": In(1),
                        f"o_{name}_data": Out(width)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        registers = self._stages.registers
        arrived = delay(m, self.i_write, registers, "arrived")
        valid = delay(m, self.i_write_valid, registers, "valid", reset=True)
        # Bytes wait for those that complete their word; the latest is the highest.
        longest = max(one.bytes for one in itertools.chain(*self._memories))
        waiting = Signal(8 * (longest - 1), reset_less=True)
        bytes_so_far = Cat(waiting, arrived.data)
        with m.If(valid):
            m.d.sync += waiting.eq(bytes_so_far[8:])
        for held in self._memories:
            self._add_memory(m, held, arrived, bytes_so_far)
        record = self._contents.words(Space.INPUT, INPUT.bytes)
        fields = Signal(INPUT.bytes * 8, init=record[0] if record else 0, reset_less=True)
        with m.If(valid & (arrived.space == Space.INPUT)):
            m.d.sync += fields.eq(Cat(fields[8:], arrived.data))
        m.d.comb += self.o_input.as_value().eq(narrowed(self._config, "input", fields))
        return m

    def _add_memory(self, m, held, arrived, bytes_so_far):
        """Add a memory of one content, or of two: the second from the last word down.

        A word takes its bits from where the longest one has them among the bytes so far: a shorter
        one lies at the memory's upper bits, and what is past these at the lowest.
        """
        first, *others = held
        config = self._config
        depth = config.control_depth if others else space_depth(config, first.space)
        width, most = (max(getattr(one, name) for one in held) for name in ("width", "bytes"))
        offsets = {one.name: 8 * (most - one.bytes) for one in held}
        init = [0] * depth if self._contents.sections else []
        for one in held:
            size = space_bytes(config, one.space)
            for k, value in enumerate(self._contents.words(one.space, size)):
                moved = (value & ((1 << one.width) - 1)) << offsets[one.name]
                init[k if one is first else -1 - k] = (moved | moved >> width) & ((1 << width) - 1)
        attributes = {"no_rw_check": 1} | self._contents.style
        store = memory.Memory(shape=width, depth=depth, init=init,
                              attrs=attributes | self._technology.attributes(first.space))
        m.submodules["_".join(one.name for one in held)] = store
        write, read = store.write_port(), store.read_port(transparent_for=())
        latest = bytes_so_far[-8 * most:]

        def port(name):
            return getattr(self, f"i_{name}_address"), getattr(self, f"i_{name}_enable")

        address, enable = port(first.name)
        target = arrived.address[:len(write.addr)]
        completed = [(self.i_write.space == one.space) & (self.i_write.lane == one.bytes - 1)
                     for one in held]
        en = self._stages.state(m, self.i_write_valid & Cat(completed).any(), "en")
        addr, data = (Signal.like(getattr(write, name), name=name) for name in ("addr", "data"))
        m.d.comb += [
            addr.eq(target), data.eq(latest),
            read.en.eq(enable), read.addr.eq(address),
        ]
        for one in held:
            past = max(offsets[one.name] + one.width - width, 0)
            with m.If(arrived.space == one.space):
                m.d.comb += data[:past].eq(latest[width:])
            m.d.comb += getattr(self, f"o_{one.name}_data").eq(
                Cat(read.data, read.data[:past])[offsets[one.name]:])
        for one in others:
            address, enable = port(one.name)
            with m.If(arrived.space == one.space):
                m.d.comb += addr.eq(~target)
            with m.If(enable):
                m.d.comb += [read.en.eq(1), read.addr.eq(~Cat(address, Const(0, len(read.addr))))]
        # It is a long way to many block RAMs.
        links = self._links
        self._technology.connect_write(
            m, first.space, write, read, enable=links.delay(m, en, "late_en", reset=True),
            address=links.delay(m, addr, "late_addr"))
        m.d.comb += write.data.eq(links.delay(m, data, "late_data"))
