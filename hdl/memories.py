"""The program memories: instructions, weight words, records, index lists."""

from amaranth import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .bus import MemoryWrite
from .contents import NOTHING
from .isa import INPUT, Space, param_layout
from .ranges import narrowed

__all__ = ["ProgramMemories"]


class ProgramMemories(wiring.Component):
    """Hold the program; written a byte at a time, read a word at a time.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of all memories and the input record, from configuration on.

    Members
    -------
    i_write : In(MemoryWrite), i_write_valid : In(1)
        One byte for any of the spaces; others are ignored. Always taken, and there two cycles
        later at the latest. All bytes of an input
        record come, in order.
    i_{name}_address, i_{name}_enable : In, o_{name}_data : Out
        Synchronous read port of `program` (32 bits), `weights` (load_bits), `records`
        (one record) and, where the configuration has index lists, `index` (24 bits).
    o_input : Out(INPUT)
        The input record.

    Read latency 1 cycle; a read while the same word is written gives either value, and with
    `config.single_port` one of weights gives nothing while any of them is written. That happens in
    no run, since the host writes the program between runs.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        record = param_layout(config)
        self._memories = {
            "program": (Space.PROGRAM, config.program_words, 4, 32),
            "weights": (Space.WEIGHTS, config.weight_words, config.load_bits // 8,
                        config.load_bits),
            "records": (Space.PARAMS, config.param_records, record.bytes, record.width),
        }
        if config.index_entries:
            self._memories["index"] = (Space.INDEX, config.index_entries, 4, 24)
        members = {"i_write": In(MemoryWrite), "i_write_valid": In(1), "o_input": Out(INPUT.shape)}
        for name, (_, depth, _, width) in self._memories.items():
            members |= {f"i_{name}_address": In(range(depth)), f"i_{name}_enable": In(1),
                        f"o_{name}_data": Out(width)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arrived, valid = self.i_write, self.i_write_valid
        if self._config.distributed:
            # Such devices have registers to spare, and clocks to meet.
            arrived, valid = Signal.like(self.i_write, reset_less=True), Signal()
            m.d.sync += [arrived.eq(self.i_write), valid.eq(self.i_write_valid)]
        for name, (space, depth, lanes, width) in self._memories.items():
            single = name == "weights" and self._config.single_port
            # Whole bytes, so that each has its write enable.
            style = {"ram_style": "huge"} if single else self._contents.style
            store = memory.Memory(shape=lanes * 8, depth=depth,
                                  init=self._contents.words(space, lanes),
                                  attrs={"no_rw_check": 1, **style})
            m.submodules[name] = store
            write = store.write_port(granularity=8)
            read = store.read_port(transparent_for=())
            chosen = valid & (arrived.space == space)
            m.d.comb += [
                write.addr.eq(arrived.address),
                write.data.eq(arrived.data.replicate(lanes)),
                read.addr.eq(getattr(self, f"i_{name}_address")),
                read.en.eq(getattr(self, f"i_{name}_enable")),
                getattr(self, f"o_{name}_data").eq(read.data[:width]),
            ]
            if single:
                # One address for both, never both at once: what Yosys makes one port of.
                with m.If(chosen):
                    m.d.comb += [read.addr.eq(self.i_write.address), read.en.eq(0)]
                m.d.comb += write.addr.eq(read.addr)
            for lane in range(lanes):
                m.d.comb += write.en[lane].eq(chosen & (arrived.lane == lane))
        record = self._contents.words(Space.INPUT, INPUT.bytes)
        fields = Signal(INPUT.bytes * 8, init=record[0] if record else 0)
        with m.If(valid & (arrived.space == Space.INPUT)):
            m.d.sync += fields.eq(Cat(fields[8:], arrived.data))
        m.d.comb += self.o_input.as_value().eq(narrowed(self._config, INPUT, "input", fields))
        return m
