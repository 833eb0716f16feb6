"""Datapath: feeder, scratchpads, engines, drain and post-processor of one accelerator."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from .delay_line import delay
from .drain import Drain, tag_layout
from .engine import DRAIN_LATENCY
from .expander import Expander, PrototypeWrite
from .feeder import Feeder
from .function_table import table_write_layout
from .isa import LAYER, Engine, param_layout
from .l1_engine import L1Engine
from .pool_engine import PoolEngine
from .post_processor import PostProcessor
from .records import Records
from .scratchpad import Scratchpad
from .shift_engine import ShiftEngine
from .weight_fetch import WeightFetch
from .weight_loader import WeightLoader
from .window import Window

__all__ = ["Datapath", "HostAccess"]


class HostAccess(data.Struct):
    """One byte of a scratchpad, read or written by the host."""

    write: 1
    group: 8
    address: 24
    data: 8


class Datapath(wiring.Component):
    """Run one layer at a time.

    Members
    -------
    i_layer : In(LAYER), i_total : In(32), i_start : In(1)
        The layer, its positions in all slots, start strobe; stable until `o_busy` falls.
    o_busy : Out(1)
        The layer is at work: from the cycle after `i_start` until its last result is stored.
    o_{weights,records,index}_address, o_{..}_enable, i_{..}
        Program memories with synchronous read.
    i_table_write : In(table_write_layout)
        Host writes to the function tables.
    i_prototype_write : In(PrototypeWrite)
        Host writes to the prototype memory.
    i_host : In(stream of HostAccess), o_host : Out(8), o_host_valid : Out(1)
        Host accesses to the scratchpads, taken when the drain leaves port B free; bytes read
        come in order, a fixed time later.
    o_vector, o_stall_weights, o_stall_bank, o_stall_port, o_result : Out(1)
        Strobes for the performance counters.
    """

    def __init__(self, config):
        self._config = config
        members = {
            "i_layer": In(LAYER.shape), "i_total": In(32), "i_start": In(1), "o_busy": Out(1),
            "i_table_write": In(table_write_layout()),
            "i_prototype_write": In(PrototypeWrite),
            "i_host": In(stream.Signature(HostAccess)), "o_host": Out(8), "o_host_valid": Out(1),
        }
        for name, address, width in (("weights", 24, config.load_bits),
                                     ("records", 16, param_layout(config).width),
                                     ("index", 16, 24)):
            members |= {f"o_{name}_address": Out(address), f"o_{name}_enable": Out(1),
                        f"i_{name}": In(width)}
        for name in ("vector", "stall_weights", "stall_bank", "stall_port", "result"):
            members[f"o_{name}"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scratchpad = scratchpad = Scratchpad(self._config)
        engines, advance = self._fill(m, scratchpad)
        drain = self._empty(m, scratchpad, engines)
        feeder = m.submodules.feeder
        m.d.comb += [
            feeder.i_freed.eq(drain.o_freed),
            self.o_busy.eq(feeder.o_busy | drain.o_busy),
            self.o_stall_weights.eq(~advance),
            self.o_stall_bank.eq(feeder.o_wait_bank),
            self.o_stall_port.eq(drain.o_wait_port),
            self.o_result.eq(drain.o_issue),
        ]
        return m

    def _fill(self, m, scratchpad):
        """Add what turns a layer into accumulated sums; return engines and pipeline enable."""
        config, layer = self._config, self.i_layer
        m.submodules.feeder = feeder = Feeder(config, scratchpad.a_latency)
        m.submodules.fetch = fetch = WeightFetch(config)
        m.submodules.loader = loader = WeightLoader(config)
        m.submodules.window = window = Window(config)
        if config.prototypes:
            m.submodules.expander = expander = Expander(config)
            connect(m, words=fetch.o_stream, expander=expander.i_stream)
            connect(m, codes=expander.o_stream, loader=loader.i_stream)
            m.d.comb += [expander.i_layer.eq(layer), expander.i_total.eq(self.i_total),
                         expander.i_start.eq(self.i_start),
                         expander.i_write.eq(self.i_prototype_write)]
        else:
            connect(m, words=fetch.o_stream, loader=loader.i_stream)
        advance = Signal()
        m.d.comb += [
            advance.eq(~(feeder.o_swap & ~loader.o_ready) & ~scratchpad.o_a_stall),
            loader.i_take.eq(feeder.o_swap & advance), loader.i_layer.eq(layer),
            fetch.i_layer.eq(layer), fetch.i_total.eq(self.i_total),
            fetch.i_start.eq(self.i_start), fetch.i_data.eq(self.i_weights),
            self.o_weights_address.eq(fetch.o_address), self.o_weights_enable.eq(fetch.o_enable),
            feeder.i_layer.eq(layer), feeder.i_total.eq(self.i_total),
            feeder.i_start.eq(self.i_start), feeder.i_advance.eq(advance),
            feeder.i_index_data.eq(self.i_index),
            self.o_index_address.eq(feeder.o_index_address), self.o_index_enable.eq(advance),
            scratchpad.i_a_address.eq(feeder.o_address), scratchpad.i_a_enable.eq(advance),
            window.i_layer.eq(layer), window.i_enable.eq(advance),
            window.i_raw.eq(scratchpad.o_a_data), window.i_pad.eq(loader.o_pad),
            window.i_border_left.eq(feeder.o_border_left),
            window.i_border_from.eq(feeder.o_border_from),
            window.i_run_left.eq(feeder.o_run_left),
        ]
        token = Signal.like(feeder.o_token)
        m.d.sync += [token.eq(feeder.o_token), token.valid.eq(feeder.o_token.valid & advance)]
        m.d.comb += self.o_vector.eq(token.valid)

        engines = {Engine.POOL: PoolEngine(config)}
        if config.l1 is not None:
            engines[Engine.L1] = L1Engine(config)
        if config.shift is not None:
            engines[Engine.SHIFT] = ShiftEngine(config)
        for kind, engine in engines.items():
            m.submodules[kind.name.lower()] = engine
            m.d.comb += [engine.i_token.eq(token),
                         engine.i_token.valid.eq(token.valid & (layer.engine == kind))]
            for group in range(config.groups):
                m.d.comb += Value.cast(engine.i_x[group]).eq(Value.cast(window.o_x[group]))
        m.d.comb += engines[Engine.POOL].i_maximum.eq(layer.pool_max)
        if Engine.L1 in engines:
            l1 = engines[Engine.L1]
            m.d.comb += [l1.i_load.eq(loader.o_l1), l1.i_swap.eq(loader.o_swap),
                         l1.i_w_signed.eq(layer.x_signed), l1.i_w_shift.eq(layer.w_shift)]
        if Engine.SHIFT in engines:
            shift = engines[Engine.SHIFT]
            m.d.comb += [shift.i_load.eq(loader.o_shift), shift.i_swap.eq(loader.o_swap)]
        return engines, advance

    def _empty(self, m, scratchpad, engines):
        """Add what stores accumulated sums; return the drain."""
        config, layer = self._config, self.i_layer
        # Values and residuals meet when the later of them arrives.
        meet = max(DRAIN_LATENCY, scratchpad.b_latency) if config.residual else DRAIN_LATENCY
        m.submodules.drain = drain = Drain(config)
        m.submodules.records = records = Records(config, meet)
        m.submodules.post = post = PostProcessor(config, tag_layout(config))
        last = Signal()
        m.d.comb += [
            last.eq(Cat(engine.o_last for engine in engines.values()).any()),
            drain.i_layer.eq(layer), drain.i_total.eq(self.i_total),
            drain.i_start.eq(self.i_start), drain.i_full.eq(last),
            drain.i_ready.eq(records.o_ready), drain.i_taken.eq(records.o_taken),
            drain.i_port_busy.eq(post.o_valid), drain.i_written.eq(post.o_valid),
            records.i_request.eq(drain.o_request), records.i_record.eq(drain.o_record),
            records.i_take.eq(drain.o_take), records.i_data.eq(self.i_records),
            self.o_records_address.eq(records.o_address),
            self.o_records_enable.eq(records.o_enable),
        ]
        values = Signal.like(engines[Engine.POOL].o_values)
        m.d.comb += values.eq(engines[Engine.POOL].o_values)
        for kind, engine in engines.items():
            m.d.comb += engine.i_drain.eq(drain.o_drain)
            with m.If(layer.engine == kind):
                m.d.comb += values.eq(engine.o_values)
        m.d.comb += [
            post.i_layer.eq(layer), post.i_table_write.eq(self.i_table_write),
            post.i_valid.eq(delay(m, drain.o_issue, meet, "issued", reset=True)),
            Value.cast(post.i_tag).eq(delay(m, Value.cast(drain.o_tag), meet, "tag")),
            Value.cast(post.i_values).eq(
                delay(m, Value.cast(values), meet - DRAIN_LATENCY, "values")),
            Value.cast(post.i_records).eq(records.o_records),
        ]
        if config.residual:
            for lane in range(config.post_width):
                low = scratchpad.o_b_data[lane]
                wide = Cat(scratchpad.o_b_data[2 * lane], scratchpad.o_b_data[2 * lane + 1])
                m.d.comb += post.i_residuals[lane].eq(Mux(
                    layer.res_wide, Cat(wide, wide[15] & layer.res_signed).as_signed(),
                    Cat(low, (low[7] & layer.res_signed).replicate(9)).as_signed()))

        # Port B: results first, then residuals, then the host.
        host, read, host_here = self.i_host, Signal(), Signal()
        m.d.comb += [
            read.eq(drain.o_issue & layer.res),
            host.ready.eq(~post.o_valid & ~read),
            host_here.eq(host.valid & host.ready),
            scratchpad.i_b_group.eq(host.payload.group),
            scratchpad.i_b_address.eq(host.payload.address),
            scratchpad.i_b_write.eq(host_here & host.payload.write),
            scratchpad.i_b_read.eq(host_here & ~host.payload.write),
            scratchpad.i_b_count.eq(1), scratchpad.i_b_data[0].eq(host.payload.data),
        ]
        with m.If(post.o_valid):
            m.d.comb += [
                scratchpad.i_b_group.eq(post.o_tag.group),
                scratchpad.i_b_address.eq(post.o_tag.address),
                scratchpad.i_b_write.eq(1), scratchpad.i_b_read.eq(0),
                scratchpad.i_b_count.eq(post.o_tag.count), scratchpad.i_b_data.eq(post.o_data),
            ]
        with m.Elif(read):
            m.d.comb += [
                scratchpad.i_b_group.eq(drain.o_tag.group),
                scratchpad.i_b_address.eq(drain.o_residual_address),
                scratchpad.i_b_write.eq(0), scratchpad.i_b_read.eq(1),
            ]
        host_reads = delay(m, host_here & ~host.payload.write, scratchpad.b_latency, "host_read",
                           reset=True)
        m.d.comb += [self.o_host.eq(scratchpad.o_b_data[0]), self.o_host_valid.eq(host_reads)]
        return drain
