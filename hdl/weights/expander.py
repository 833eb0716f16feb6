"""Weight expander: rebuilds the codes of masked layers from prototypes and one bit a weight."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import thermometer
from ..contents import NOTHING
from ..engines.depthwise import Depthwise
from ..engines.registry import engine_of
from ..expansion import visits
from ..instruction import hand, run_layout
from ..isa import Space
from ..packing import codes_per_word
from .mask_bits import MaskBits
from .prototype_address import PrototypeAddress, wrapped

__all__ = ["Expander", "PrototypeWrite"]


class PrototypeWrite(data.Struct):
    """A write of one code to the prototype memory."""

    enable: 1
    address: 16
    data: 8


class Expander(wiring.Component):
    """Pass the words of ordinary layers on; make those of masked layers.

    Weight (o, c, ky, kx) of a masked layer, i its index in that order, is the prototype's code
    ``i mod d`` where its mask bit is set, else the code of 0. The bits come in the order in which
    the codes are used: blocks, steps, rows, lanes, those past the run and the channels left out.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of the prototype memory, from configuration on.

    Members
    -------
    i_run : In(run_layout of nest, steps, chain, expansion)
        The layer in the compute stage: that of `WeightFetch`.
    i_write : In(PrototypeWrite)
        Host writes to the prototype memory.
    i_stream : In(stream of load_bits), i_ahead : In(1)
        Words from the weight memory; may stall in any cycle.
    o_stream : Out(stream of load_bits), o_ahead : Out(1)
        Words as `WeightLoader` takes them.

    Ordinary words pass in the same cycle. A masked layer's step takes a cycle for each of its
    `visits`, a burst `BURST_RESTART` more; a word comes `PIPELINE` cycles after the visit that
    completes it. Takes back-pressure.
    """

    def __init__(self, config, contents=NOTHING):
        self._config = config
        self._contents = contents
        super().__init__({
            "i_run": In(run_layout(config, "nest", "steps", "chain", "expansion")),
            "i_write": In(PrototypeWrite),
            "i_stream": In(stream.Signature(config.weights.load_bits)), "i_ahead": In(1),
            "o_stream": Out(stream.Signature(config.weights.load_bits)), "o_ahead": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        masked, source, sink = self.i_run.expansion.masked, self.i_stream, self.o_stream
        m.submodules.bits = bits = MaskBits(self._config)
        m.submodules.walker = walker = PrototypeAddress(self._config)
        for part in (bits, walker):
            m.d.comb += hand(part.i_run, self.i_run)
        # All stages stand still while a word is not taken.
        valid, enable = Signal(), Signal()
        word = Signal(self._config.weights.load_bits, reset_less=True)
        m.d.comb += [
            enable.eq(~valid | sink.ready), bits.i_enable.eq(enable), walker.i_enable.eq(enable),
            bits.i_stream.payload.eq(source.payload),
            bits.i_stream.valid.eq(source.valid & masked),
            source.ready.eq(Mux(masked, bits.i_stream.ready, sink.ready)),
            sink.valid.eq(Mux(masked, valid, source.valid)),
            sink.payload.eq(Mux(masked, word, source.payload)),
        ]
        engine = self._config.engines[self._config.masked]
        schedule = visits(engine.rows, engine.lanes,
                          codes_per_word(self._config.weights.load_bits, engine.code_width),
                          self._config.expand_lanes)
        here, visit, row_base = self._visit(m, bits, walker, enable, schedule)
        keep = Signal(self._config.expand_lanes)
        m.d.comb += keep.eq(bits.o_bits & Cat(thermometer(bits.i_count, len(keep))))
        codes, arrived, done = self._look_up(m, walker, enable, here, visit, row_base, keep)
        self._fill(m, enable, schedule, codes, arrived, done, word, valid)
        return m

    def _visit(self, m, bits, walker, enable, schedule):
        """Add the counters of visits; return the strobe, its number, its row's base."""
        nest, masks = self.i_run.nest, self.i_run.expansion
        width = self._config.expand_lanes
        groups = max(visit.group for visit in schedule) + 1
        here, number = Signal(), Signal(range(len(schedule)))
        rows = self._config.engines[self._config.masked].rows
        row, group = Signal(range(rows)), Signal(range(groups))
        rows_left = Signal(16)
        row_base, block_base = Signal(17), Signal(17)
        used = (row < nest.block_rows) & (row < rows_left)
        used = Depthwise(self._config).rows_in_use(self.i_run, row, used)
        cut, group_end, row_end, in_use = Signal(), Signal(), Signal(), Signal()
        step_end, block_end = Signal(), Signal()
        m.d.comb += [
            here.eq(enable & walker.o_valid & bits.o_ready),
            cut.eq(Cat(number == k for k, visit in enumerate(schedule)
                       if not visit.group_end).any()),
            group_end.eq(here & ~cut),
            row_end.eq(group_end & (group == groups - 1)),
            step_end.eq(here & (number == len(schedule) - 1)),
            in_use.eq(used),
            walker.i_group.eq(group), walker.i_next.eq(step_end),
            bits.i_take.eq(group_end), bits.i_end.eq(step_end & walker.o_last),
            block_end.eq(bits.i_end & bits.o_block_end),
        ]
        # Lanes of the group within the run.
        lanes = Signal(signed(len(walker.o_lanes) + 1))
        m.d.comb += lanes.eq(walker.o_lanes - (group << (width.bit_length() - 1)))
        with m.If(in_use & (lanes > 0)):
            m.d.comb += bits.i_count.eq(Mux(lanes > width, width, lanes))
        def stepped(base, step, name):
            total = Signal(18, name=name)
            m.d.comb += total.eq(base + step)
            return wrapped(m, total, masks.proto_size, masks.proto_size, f"{name}_wrapped")

        next_row = stepped(row_base, masks.proto_row, "next_row")
        next_block = stepped(block_base, masks.proto_block, "next_block")
        with m.If(here):
            m.d.sync += number.eq(number + 1)
        with m.If(row_end & in_use):
            m.d.sync += row_base.eq(next_row)
        with m.If(group_end):
            m.d.sync += group.eq(group + 1)
        with m.If(row_end):
            m.d.sync += [group.eq(0), row.eq(row + 1)]
        with m.If(step_end):
            m.d.sync += [number.eq(0), row.eq(0),
                         row_base.eq(Mux(block_end, next_block, block_base))]
        with m.If(block_end):
            m.d.sync += [block_base.eq(next_block), rows_left.eq(rows_left - nest.block_rows)]
        with m.If(self.i_run.start):
            m.d.sync += [row_base.eq(masks.proto_first), block_base.eq(masks.proto_first),
                         rows_left.eq(nest.rows)]
        return here, number, row_base

    def _look_up(self, m, walker, enable, here, number, row_base, keep):
        """Add what finds a visit's codes; return them, the strobe with them, and its number."""
        masks, config = self.i_run.expansion, self._config
        address_bits = len(walker.o_offsets) // config.expand_lanes
        code_width = config.engines[config.masked].code_width
        m.submodules.prototypes = store = memory.Memory(
            shape=code_width, depth=config.weights.prototypes,
            init=self._contents.words(Space.PROTOTYPES, 1), attrs=self._contents.style)
        write = store.write_port()
        m.d.comb += [write.addr.eq(self.i_write.address), write.data.eq(self.i_write.data),
                     write.en.eq(self.i_write.enable)]

        stages = [(here, number, keep)]
        for stage in range(3):
            after = [Signal.like(value, name=f"{name}_{stage + 1}") for name, value
                     in zip(("visit", "number", "keep"), stages[-1], strict=True)]
            with m.If(enable):
                m.d.sync += [new.eq(old) for new, old in zip(after, stages[-1], strict=True)]
            stages.append(tuple(after))
        base, limit = Signal.like(row_base, name="base_1"), Signal(17)
        m.d.sync += limit.eq(masks.proto_base + masks.proto_size)
        with m.If(enable):
            m.d.sync += base.eq(row_base)
        codes = []
        strobe, done, kept = stages[-1]
        for k in range(config.expand_lanes):
            total = Signal(address_bits + 2, name=f"total{k}")
            m.d.comb += total.eq(walker.o_offsets.word_select(k, address_bits) + base)
            address = wrapped(m, total, limit, masks.proto_size, f"wrapped{k}")
            found = Signal(address_bits, name=f"address{k}", reset_less=True)
            read = store.read_port(transparent_for=())
            with m.If(enable):
                m.d.sync += found.eq(address)
            m.d.comb += [read.addr.eq(found), read.en.eq(enable)]
            codes.append(Mux(kept[k], read.data, engine_of(config.masked).zero(code_width)))
        return codes, strobe, done

    def _fill(self, m, enable, schedule, codes, arrived, number, word, valid):
        """Add what puts codes in their places of a word, as `schedule` says."""
        width = self._config.engines[self._config.masked].code_width
        made = [Signal(width, name=f"code{k}") for k in range(len(codes))]
        m.d.comb += [signal.eq(code) for signal, code in zip(made, codes, strict=True)]
        now = [Signal(name=f"visit_is_{k}") for k in range(len(schedule))]
        m.d.comb += [strobe.eq(arrived & (number == k)) for k, strobe in enumerate(now)]
        sources = {}
        for k, visit in enumerate(schedule):
            for slot, lane in visit.slots:
                sources.setdefault(slot, {}).setdefault(lane, []).append(now[k])
        ahead = Signal()
        m.d.comb += [
            ahead.eq(~enable | Cat(now[k] for k, visit in enumerate(schedule)
                                   if visit.word_end).any()),
            self.o_ahead.eq(Mux(self.i_run.expansion.masked, ahead, self.i_ahead)),
        ]
        m.d.sync += valid.eq(ahead)
        with m.If(enable):
            for slot, lanes in sources.items():
                for lane, strobes in lanes.items():
                    with m.If(Cat(strobes).any()):
                        m.d.sync += word.word_select(slot, width).eq(made[lane])
