"""Datapath: address generator, scratchpads, engines, store unit and post-processor together."""

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from ..common.delay_line import delay
from ..common.links import Links
from ..common.technology import Technology
from ..contents import NOTHING
from ..engines.accumulator_array import AccumulatorArray, result_latency
from ..engines.depthwise import Depthwise
from ..engines.registry import POOLING, engine_of
from ..engines.window import Window
from ..instruction import STORE_STAGE, compute_stage, hand, run_layout
from ..isa import Opcode, param_layout
from ..memory.scratchpad import HostAccess, Scratchpad
from ..moves.copy import Copy
from ..post.function_table import table_write_layout
from ..post.parameter_loader import ParameterLoader
from ..post.processor import PostProcessor
from ..post.residual_bytes import residual_values
from ..weights.expander import PrototypeWrite
from ..weights.supply import WeightSupply
from .address_generator import AddressGenerator
from .store_unit import StoreUnit, tag_layout

__all__ = ["Datapath"]


class Datapath(wiring.Component):
    """Run a layer in the compute stage and one in the store stage: vectors and weights, drain and
    results.

    Parameters
    ----------
    config : Config
    contents : Contents
        Of the function tables and the prototype memory, from configuration on.

    Members
    -------
    i_compute : In(compute_stage), i_store : In(run_layout of STORE_STAGE),
    i_stored : In(1)
        As the `Sequencer` hands them out: stable until `o_compute_busy` or `o_store_busy` falls.
    o_compute_busy : Out(1)
        From the cycle after the start until the last vector has reached the engines.
    o_store_busy : Out(1)
        From the cycle after the start until the last result is stored.
    o_{weights,records,index}_address, o_{..}_enable, i_{..}
        Program memories with synchronous read.
    i_table_write : In(table_write_layout)
        Host writes to the function tables.
    i_prototype_write : In(PrototypeWrite)
        Host writes to the prototype memory.
    i_host : In(stream of HostAccess), o_host : Out(8), o_host_valid : Out(1)
        Host accesses to the scratchpads, taken when the store unit leaves port B free; bytes read
        come in order, a fixed time later.
    o_vector, o_stall_weights, o_stall_layer, o_stall_bank, o_stall_port, o_result : Out(1)
        Strobes for the performance counters; of the first four at most one at a time.
    """

    def __init__(self, config, contents=NOTHING):
        self._config, self._links = config, Links(config)
        self._contents = contents
        members = {
            "i_compute": In(compute_stage(config)),
            "i_store": In(run_layout(config, *STORE_STAGE)), "i_stored": In(1),
            "o_compute_busy": Out(1), "o_store_busy": Out(1),
            "i_table_write": In(table_write_layout()),
            "i_prototype_write": In(PrototypeWrite),
            "i_host": In(stream.Signature(HostAccess)), "o_host": Out(8), "o_host_valid": Out(1),
        }
        for name, address, width in (("weights", 24, config.weights.load_bits),
                                     ("records", 16, param_layout(config).width),
                                     ("index", 16, 24)):
            members |= {f"o_{name}_address": Out(address), f"o_{name}_enable": Out(1),
                        f"i_{name}": In(width)}
        for name in ("vector", "stall_weights", "stall_layer", "stall_bank", "stall_port",
                     "result"):
            members[f"o_{name}"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scratchpad = scratchpad = Scratchpad(self._config)
        # What starts a move starts nothing else.
        self._compute, self._store = Signal.like(self.i_compute), Signal.like(self.i_store)
        m.d.comb += [self._compute.eq(self.i_compute), self._store.eq(self.i_store)]
        accumulators, advance, moving = self._fill(m, scratchpad)
        store_unit = self._empty(m, scratchpad, accumulators)
        addresses = m.submodules.address_generator
        copies = copy_reads = copy_waits = copy_issues = Const(0)
        if self._config.moves.copy:
            copy = self._add_copy(m, scratchpad, advance)
            copies, copy_reads, copy_waits, copy_issues = (
                copy.o_busy, copy.o_reading, copy.o_wait, copy.o_issue)
        links = self._links
        m.d.comb += [
            addresses.i_freed.eq(store_unit.o_freed),
            addresses.i_tail.eq(links.delay(m, store_unit.o_tail, "tail", reset=True)),
            self.o_compute_busy.eq(links.state(
                m, addresses.o_busy | moving | accumulators.o_busy | copy_reads, "compute_busy",
                sets=self.i_compute.start)),
            self.o_store_busy.eq(links.state(m, store_unit.o_busy | copies, "store_busy",
                                             sets=self.i_store.start)),
            self.o_vector.eq(addresses.o_vector | copy_issues),
            self.o_stall_weights.eq(~advance & addresses.o_busy),
            self.o_stall_layer.eq(addresses.o_wait_layer | copy_waits),
            self.o_stall_bank.eq(addresses.o_wait_bank),
            self.o_stall_port.eq(store_unit.o_wait_port),
            self.o_result.eq(store_unit.o_issue | copy_issues),
        ]
        return m

    def _add_copy(self, m, scratchpad, advance):
        """Add the unit that copies maps, in front of the ports of scratchpads and index lists."""
        m.submodules.copy = copy = Copy(self._config, scratchpad.a_latency)
        is_copy = self.i_compute.control.opcode == Opcode.COPY
        m.d.comb += [
            *hand(copy.i_source, self.i_compute), *hand(copy.i_target, self.i_store),
            copy.i_source.start.eq(self.i_compute.start & is_copy),
            self._compute.start.eq(self.i_compute.start & ~is_copy),
            self._store.start.eq(self.i_store.start & ~copy.o_reading),
            copy.i_advance.eq(advance), copy.i_index_data.eq(self.i_index),
            copy.i_data.eq(scratchpad.o_a_data),
        ]
        with m.If(copy.o_busy):
            m.d.comb += scratchpad.i_a_address.eq(copy.o_address)
        with m.If(copy.o_reading):
            m.d.comb += self.o_index_address.eq(copy.o_index_address)
        with m.If(copy.o_write):
            m.d.comb += [
                scratchpad.i_w_enable.eq(1), scratchpad.i_w_group.eq(copy.o_group),
                scratchpad.i_w_address.eq(copy.o_target), scratchpad.i_w_count.eq(copy.o_count),
                Cat(scratchpad.i_w_data).eq(copy.o_data),
            ]
        return copy

    def _fill(self, m, scratchpad):
        """Add what turns a layer into accumulated sums.

        Return the results, the pipeline's enable, and whether a vector is between it and them.
        """
        config, run = self._config, self._compute
        m.submodules.address_generator = addresses = AddressGenerator(config, scratchpad.a_latency)
        m.submodules.supply = supply = WeightSupply(config, self._contents)
        m.submodules.window = window = Window(config)
        # All of the pipeline moves by it.
        advance = Signal()
        m.d.comb += [
            supply.i_swap.eq(addresses.o_swap), supply.i_swap_ahead.eq(addresses.o_swap_ahead),
            advance.eq(~supply.o_hold & ~scratchpad.o_a_stall),
            supply.i_take.eq(addresses.o_swap & advance), *hand(supply.i_run, run),
            supply.i_prototype_write.eq(self.i_prototype_write), supply.i_data.eq(self.i_weights),
            self.o_weights_address.eq(supply.o_address), self.o_weights_enable.eq(supply.o_enable),
            *hand(addresses.i_run, run), addresses.i_advance.eq(advance),
            addresses.i_stored.eq(self._links.delay(m, self.i_stored, "stored", reset=True)),
            addresses.i_index_data.eq(self.i_index),
            self.o_index_address.eq(addresses.o_index_address), self.o_index_enable.eq(advance),
            scratchpad.i_a_address.eq(addresses.o_address), scratchpad.i_a_enable.eq(advance),
            window.i_terms.eq(run.terms),
            window.i_raw.eq(scratchpad.o_a_data), window.i_pad.eq(supply.o_pad),
            window.i_border_left.eq(addresses.o_border_left),
            window.i_border_from.eq(addresses.o_border_from),
            window.i_run_left.eq(addresses.o_run_left),
        ]
        token = Signal.like(addresses.o_token)
        m.d.sync += [token.eq(addresses.o_token), token.valid.eq(addresses.o_token.valid & advance)]
        moving = token.valid
        token = delay(m, token, window.latency - 1, "token", reset=True)

        engines = {name: engine_of(name).array(config) for name in (POOLING, *config.engines)}
        for name, engine in engines.items():
            m.submodules[name] = engine
            for group in range(config.groups):
                m.d.comb += Value.cast(engine.i_x[group]).eq(Value.cast(window.o_x[group]))
        m.submodules.accumulators = accumulators = AccumulatorArray(config, engines)
        # A layer's first vector comes long after its start.
        m.d.sync += accumulators.i_engine.eq(Depthwise(config).accumulated_by(run))
        m.d.comb += [
            accumulators.i_token.eq(token),
            *(engine.i_on.eq(self._links.delay(
                m, accumulators.i_engine == config.number(name), f"{name}_on"))
              for name, engine in engines.items()),
            accumulators.i_maximum.eq(run.terms.pool_max & config.pool.maximum),
            *(getattr(accumulators, f"i_{name}_sums").eq(engine.o_sums)
              for name, engine in engines.items()),
        ]
        Depthwise(config).connect(m, run, token, engines, accumulators)
        for name in config.engines:
            engine = engines[name]
            m.d.comb += [engine.i_load.eq(getattr(supply, f"o_{name}")),
                         engine.i_swap.eq(supply.o_swap), *engine.controls(run.terms)]
        return accumulators, advance, moving

    def _empty(self, m, scratchpad, accumulators):
        """Add what stores accumulated sums; return the store unit."""
        config, run = self._config, self._store
        # Values and residuals meet when the later of them arrives.
        read = result_latency(config)
        meet = max(read, scratchpad.b_latency) if config.residual.exists else read
        m.submodules.store_unit = store_unit = StoreUnit(config)
        m.submodules.records = records = ParameterLoader(config, meet)
        m.submodules.post = post = PostProcessor(config, self._contents)
        # Where a result goes travels beside it.
        tag = Signal(tag_layout(config))
        m.submodules.tag = line = Technology(config).delay_line(
            len(tag.as_value()), meet + post.latency, large=True)
        m.d.comb += [
            *hand(store_unit.i_run, run), store_unit.i_full.eq(accumulators.o_last),
            accumulators.i_read.eq(store_unit.o_read),
            accumulators.i_read_engine.eq(Depthwise(config).accumulated_by(run)),
            store_unit.i_ready.eq(records.o_ready), store_unit.i_taken.eq(records.o_taken),
            store_unit.i_conflict.eq(scratchpad.o_conflict), store_unit.i_written.eq(post.o_valid),
            records.i_request.eq(store_unit.o_request), records.i_record.eq(store_unit.o_record),
            records.i_take.eq(store_unit.o_take), records.i_data.eq(self.i_records),
            self.o_records_address.eq(records.o_address),
            self.o_records_enable.eq(records.o_enable),
        ]
        m.d.comb += [
            post.i_post.eq(run.post), post.i_serial.eq(run.write.serial),
            post.i_table_write.eq(self.i_table_write),
            post.i_valid.eq(delay(m, store_unit.o_issue, meet, "issued", reset=True)),
            line.i_value.eq(store_unit.o_tag), tag.eq(line.o_value),
            Value.cast(post.i_values).eq(
                delay(m, Value.cast(accumulators.o_values), meet - read, "values")),
            Value.cast(post.i_records).eq(records.o_records),
        ]
        if config.residual.exists:
            values = residual_values(config, run.residual, scratchpad.o_r_data)
            m.d.comb += [post.i_adds.eq(run.residual), *(
                port.eq(value) for port, value in zip(post.i_residuals, values, strict=True))]
        connect(m, wiring.flipped(self.i_host), scratchpad.i_host)
        m.d.comb += [
            scratchpad.i_w_enable.eq(post.o_valid), scratchpad.i_w_data.eq(post.o_data),
            scratchpad.i_w_group.eq(tag.group), scratchpad.i_w_address.eq(tag.address),
            scratchpad.i_w_count.eq(tag.count),
            scratchpad.i_r_enable.eq(store_unit.o_residual),
            scratchpad.i_r_group.eq(store_unit.o_tag.group),
            scratchpad.i_r_address.eq(store_unit.o_residual_address),
            scratchpad.i_r_count.eq(store_unit.o_residual_count),
            self.o_host.eq(scratchpad.o_r_data[0]), self.o_host_valid.eq(scratchpad.o_host_valid),
        ]
        return store_unit
