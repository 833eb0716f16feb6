"""Copy: a map of bytes from one place of the scratchpads to another."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import above
from ..control.positions import Positions
from ..instruction import run_layout
from ..timing import copy_bytes

__all__ = ["Copy"]


class Copy(wiring.Component):
    """Read `rows` bytes of every position, and write them as they are, `copy_bytes` a cycle.

    The order is positions, bytes, groups. Reading begins when the store stage takes the
    instruction: then all results before it are stored. Beside a copy no engine reads and nothing
    else is stored, so both ports are its own.

    Parameters
    ----------
    config : Config
    read_latency : int
        Cycles from `o_address` to the bytes.

    Members
    -------
    i_source : In(run_layout of nest, read, index)
        In the compute stage; its strobe announces a copy. Stable while `o_reading`.
    i_target : In(run_layout of write)
        In the store stage; its strobe, while `o_reading`, begins the copy. Stable while `o_busy`.
    i_advance : In(1)
        Let the pipeline move.
    o_index_address : Out(16), i_index_data : In(24)
        Index-list memory, synchronous read enabled by `i_advance`.
    o_reading : Out(1), o_busy : Out(1)
        Bytes are still to be read; or to be written.
    o_wait : Out(1), o_issue : Out(1)
        Strobes: it waits for the layer before; it asks for bytes.
    o_address : Out(address_width), i_data : In((8 x read_lanes) x groups)
        Port A of the scratchpads.
    o_write : Out(1), o_group : Out, o_target : Out(address_width), o_count : Out,
    o_data : Out(8 x copy_bytes)
        Port B of the scratchpads.

    Latency 2 + `read_latency` cycles from `o_issue` to `o_write`; one piece a cycle.
    """

    def __init__(self, config, read_latency):
        self._config, self._read_latency = config, read_latency
        self.width = copy_bytes(config)
        groups = range(max(config.groups, 2))
        super().__init__({
            "i_source": In(run_layout(config, "nest", "read", "index")),
            "i_target": In(run_layout(config, "write")), "i_advance": In(1),
            "o_index_address": Out(16), "i_index_data": In(24), "o_reading": Out(1),
            "o_busy": Out(1), "o_wait": Out(1), "o_issue": Out(1),
            "o_address": Out(config.address_width),
            "i_data": In(data.ArrayLayout(data.ArrayLayout(8, config.read_lanes), config.groups)),
            "o_write": Out(1), "o_group": Out(groups), "o_target": Out(config.address_width),
            "o_count": Out(range(self.width + 1)), "o_data": Out(8 * self.width),
        })

    @staticmethod
    def compute(memory, layer, slots, index=()):
        """Copy inside one group's memory.

        Parameters
        ----------
        memory : bytearray
        layer : Instruction
        slots : int
            Image slots.
        index : sequence of int
            The index memory.
        """
        nest, read, write = layer.nest, layer.read, layer.write
        source, target = read.in_base, write.out_base
        for place in range(nest.n_xy * slots):
            here = source
            if layer.index.index_mode:
                here += int(index[layer.index.index_base + place % nest.n_xy])
            memory[target:target + nest.rows] = memory[here:here + nest.rows]
            if (place + 1) % nest.n_x:
                source, target = source + read.in_x, target + write.out_x
            elif (place + 1) % nest.n_xy:
                source, target = source + read.in_y, target + write.out_y
            else:
                source, target = source + read.in_slot, target + write.out_slot

    def elaborate(self, platform):
        m = Module()
        config, source, target = self._config, self.i_source, self.i_target
        indexed = config.memory.index_entries > 0
        m.submodules.positions = positions = Positions(
            [config.address_width] * 2 + [16] * indexed, config.side_width)
        running, left = Signal(), Signal(16, reset_less=True)
        places = Signal(config.count_width, reset_less=True)
        offset = Signal(config.address_width, reset_less=True)
        group = Signal(range(max(config.groups, 2)), reset_less=True)
        group_last, ends, begins, issue = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            begins.eq(target.start & self.o_reading), issue.eq(running & self.i_advance),
            group_last.eq(group == config.groups - 1),
            ends.eq(issue & group_last & ~above(left, self.width)),
            self.o_issue.eq(issue), self.o_wait.eq(self.o_reading & ~running),
            positions.i_n_x.eq(source.nest.n_x), positions.i_n_y.eq(source.nest.n_y),
            positions.i_start.eq(begins), positions.i_step.eq(ends),
            positions.i_base0.eq(source.read.in_base), positions.i_x0.eq(source.read.in_x),
            positions.i_y0.eq(source.read.in_y), positions.i_slot0.eq(source.read.in_slot),
            positions.i_base1.eq(target.write.out_base), positions.i_x1.eq(target.write.out_x),
            positions.i_y1.eq(target.write.out_y), positions.i_slot1.eq(target.write.out_slot),
        ]
        if indexed:
            m.d.comb += [
                positions.i_base2.eq(source.index.index_base), positions.i_x2.eq(1),
                positions.i_y2.eq(1), positions.i_slot2.eq(1 - source.nest.n_xy),
                self.o_index_address.eq(positions.o_value2),
            ]
        with m.If(source.start):
            m.d.sync += self.o_reading.eq(1)
        with m.If(issue):
            m.d.sync += group.eq(Mux(group_last, 0, group + 1))
            with m.If(group_last):
                m.d.sync += [offset.eq(offset + self.width), left.eq(left - self.width)]
        with m.If(ends):
            m.d.sync += [offset.eq(0), left.eq(source.nest.rows), places.eq(places - 1)]
            with m.If(places == 1):
                m.d.sync += [running.eq(0), self.o_reading.eq(0)]
        with m.If(begins):
            m.d.sync += [running.eq(1), offset.eq(0), left.eq(source.nest.rows), group.eq(0),
                         places.eq(source.total)]
        self._pipeline(m, positions, issue, offset, left, group)
        m.d.comb += self.o_busy.eq(running | self._on_way)
        return m

    def _pipeline(self, m, positions, issue, offset, left, group):
        """Add the way of a piece from its issue to its write."""
        config = self._config
        piece = data.StructLayout({"valid": 1, "target": config.address_width,
                                   "group": group.shape(), "count": self.o_count.shape()})
        first, address = Signal(piece), Signal(config.address_width, reset_less=True)
        m.d.comb += [
            first.valid.eq(issue), first.target.eq(positions.o_value1 + offset),
            first.group.eq(group), first.count.eq(Mux(above(left, self.width), self.width, left)),
        ]
        index = 0
        if config.memory.index_entries:
            index = Mux(self.i_source.index.index_mode, self.i_index_data, 0)
        stages = [first]
        for stage in range(2 + self._read_latency):
            after = Signal(piece, name=f"piece{stage + 1}")
            with m.If(self.i_advance):
                m.d.sync += after.eq(stages[-1])
            stages.append(after)
        with m.If(self.i_advance):
            m.d.sync += [address.eq(positions.o_value0 + offset),
                         self.o_address.eq(address + index)]
        last = stages[-1]
        m.d.comb += [
            self.o_write.eq(last.valid & self.i_advance), self.o_target.eq(last.target),
            self.o_group.eq(last.group), self.o_count.eq(last.count),
            self.o_data.eq(self.i_data[0].as_value()[:8 * self.width]),
        ]
        for number in range(1, config.groups):
            with m.If(last.group == number):
                m.d.comb += self.o_data.eq(self.i_data[number].as_value()[:8 * self.width])
        self._on_way = Cat(stage.valid for stage in stages[1:]).any()
