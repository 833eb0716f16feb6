"""Store unit: empties a full accumulator bank through the post-processor into the scratchpads."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.thermometer import above
from ..engines.token import ResultRequest
from ..timing import Timing
from .bursts import Bursts
from .positions import Positions
from .sequencer import LayerRun

__all__ = ["StoreUnit", "tag_layout"]


def tag_layout(config):
    """Return the layout that travels beside a result vector to its place in memory."""
    return data.StructLayout({
        "address": config.address_width, "group": range(config.groups),
        "count": range(max(config.post.width, 4) + 1)})


class StoreUnit(wiring.Component):
    """Walk blocks, bursts, result vectors, groups and positions, one vector a cycle.

    Members
    -------
    i_run : In(LayerRun)
        The layer in the store stage, its positions in all slots, start strobe; stable while
        `o_busy`.
    i_full : In(1)
        Strobe: an engine has filled a bank.
    o_freed : Out(1)
        Strobe: vectors for the bank may be issued again; they arrive when the last request has
        been made (`Timing.freed_ahead`).
    o_request : Out(1), o_record : Out(16), o_take : Out(1), i_ready : In(1), i_taken : In(1)
        To and from `Records`.
    o_issue : Out(1), o_read : Out(Result request)
        Read one result vector.
    o_tag : Out(tag_layout)
        Where the vector issued in this cycle goes.
    o_residual : Out(1), o_residual_address : Out(24), o_residual_count : Out
        A vector with a residual is to be issued; where that lies, in the tag's group, and how
        many bytes it takes.
    i_conflict : In(1)
        These bytes cannot be read in this cycle: the vector must wait.
    i_written : In(1)
        Strobe: a vector has been stored.
    o_busy : Out(1)
        The layer is not finished.
    o_tail : Out(1)
        Nothing but results of the layer's last burst is still to be stored; 0 without
        `Config.overlap`, when no layer waits for it.
    o_wait_port : Out(1)
        Waiting for the residual.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "i_run": In(LayerRun), "i_full": In(1),
            "o_freed": Out(1), "o_request": Out(1), "o_record": Out(16), "o_take": Out(1),
            "i_ready": In(1), "i_taken": In(1), "o_issue": Out(1),
            "o_read": Out(ResultRequest(config.burst_depth)), "o_tag": Out(tag_layout(config)),
            "o_residual": Out(1), "o_residual_address": Out(24),
            "o_residual_count": Out(range(2 * config.post.width + 1)), "i_conflict": In(1),
            "i_written": In(1), "o_busy": Out(1), "o_tail": Out(1), "o_wait_port": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer, total, start = self.i_run.layer, self.i_run.total, self.i_run.start
        width = self._config.post.width
        address_width, count_width = self._config.address_width, self._config.count_width
        residual = self._config.residual.exists
        m.submodules.positions = positions = Positions([address_width] * (1 + residual),
                                                       self._config.side_width)

        busy, bank = Signal(), Signal()
        full, full_next, some = Signal(2), Signal(2), Signal()  # banks, and whether any
        records = range(self._config.memory.param_records + 1)
        bits = self._config.counter_width
        block = Signal(bits("n_blocks"), reset_less=True)  # counted from 1
        m.submodules.bursts = bursts = Bursts(count_width, self._config.burst_depth)
        position = bursts.o_position
        group = Signal(range(max(self._config.groups, 2)), reset_less=True)
        vector, row, block_left = (Signal(bits("block_rows"), name=name, reset_less=True)
                                   for name in ("vector", "row", "block_left"))
        rows_left = Signal(bits("rows"), reset_less=True)
        record, block_record, next_record = (
            Signal(records, name=name, reset_less=True)
            for name in ("record", "block_record", "next_record"))
        out_vector, out_block, res_vector, res_block = (
            Signal(address_width, name=name, reset_less=True)
            for name in ("out_vector", "out_block", "res_vector", "res_block"))
        vector_first = Signal(reset_less=True)
        vector_last = Signal(init=1, reset_less=True)  # where blocks have one row, always

        take_rows, lanes_now = Signal(6), Signal(6)
        group_last, block_last = (Signal(name=f"{n}_last") for n in ("group", "block"))
        position_last, burst_last, burst_end = bursts.o_position_last, bursts.o_last, Signal()
        m.d.comb += [
            bursts.i_total.eq(total), bursts.i_burst.eq(layer.burst), bursts.i_start.eq(start),
            bursts.i_next.eq(burst_end),
            take_rows.eq(Mux(layer.serial, 1, width)),
            lanes_now.eq(Mux(vector_last, block_left, take_rows)),
            group_last.eq(group == self._config.groups - 1),
            block_last.eq(block == layer.n_blocks),
        ]

        # The last requests of a burst follow one another, unless residuals are in the way, and what
        # fills the bank next takes longer to reach it.
        ahead, free_at = Timing(self._config).freed_ahead, Signal.like(position)
        final = bursts.o_final
        m.d.comb += free_at.eq(Mux(layer.res & residual, final,
                                   Mux(above(final, ahead), final - ahead, 0)))

        wanted, issue = Signal(), Signal()
        m.d.comb += [
            wanted.eq(busy & some & (~vector_first | self.i_ready)),
            self.o_residual.eq(wanted & layer.res & residual),
            self.o_wait_port.eq(self.o_residual & self.i_conflict),
            issue.eq(wanted & ~self.o_wait_port),
            burst_end.eq(issue & position_last & group_last & vector_last),
            self.o_issue.eq(issue), bursts.i_step.eq(issue),
            self.o_freed.eq(issue & (position == free_at) & group_last & vector_last),
            self.o_take.eq(issue & vector_first),
            self.o_read.bank.eq(bank), self.o_read.position.eq(position),
            self.o_read.group.eq(group), self.o_read.vector.eq(vector),
            self.o_read.row.eq(row), self.o_read.serial.eq(layer.serial),
            self.o_tag.address.eq(positions.o_value0 + out_block + out_vector),
            self.o_tag.group.eq(group),
            self.o_tag.count.eq(Mux(layer.serial, 1 << layer.out_log_bytes, lanes_now)),
        ]
        m.d.comb += full_next.eq(full + self.i_full - burst_end)
        m.d.sync += [full.eq(full_next), some.eq(full_next != 0)]

        # The records of the next vector are requested as soon as the current ones are in use.
        first_request = Signal()
        more = Signal()
        m.d.sync += first_request.eq(start)
        m.d.comb += [
            self.o_request.eq(first_request | (self.i_taken & more)),
            self.o_record.eq(next_record),
        ]
        with m.If(self.o_take):
            m.d.sync += [
                more.eq(~(vector_last & burst_last & block_last)),
                next_record.eq(Mux(vector_last & ~burst_last, block_record,
                                   record + lanes_now)),
            ]

        m.d.comb += [
            positions.i_n_x.eq(layer.n_x), positions.i_n_y.eq(layer.n_y),
            positions.i_start.eq(start), positions.i_step.eq(issue),
            positions.i_restart.eq(position_last & group_last & vector_last & burst_last),
            positions.i_rewind.eq(position_last & ~(group_last & vector_last)),
            positions.i_commit.eq(position_last & group_last & vector_last),
            positions.i_base0.eq(layer.out_base), positions.i_x0.eq(layer.out_x),
            positions.i_y0.eq(layer.out_y), positions.i_slot0.eq(layer.out_slot),
        ]
        if residual:
            m.d.comb += [
                positions.i_base1.eq(layer.res_base), positions.i_x1.eq(layer.res_x),
                positions.i_y1.eq(layer.res_y), positions.i_slot1.eq(layer.res_slot),
                self.o_residual_address.eq(positions.o_value1 + res_block + res_vector),
                self.o_residual_count.eq(lanes_now << layer.res_wide),
            ]

        # Rows from the next block on, and how many of them it has.
        rows_after, rows_now = Signal(bits("rows")), Signal(bits("block_rows"))
        m.d.comb += [
            rows_after.eq(rows_left),
            rows_now.eq(Mux(rows_after < layer.block_rows, rows_after, layer.block_rows)),
        ]
        with m.If(start):
            m.d.comb += rows_after.eq(layer.rows)
        with m.Elif(burst_last):
            m.d.comb += rows_after.eq(rows_left - layer.block_rows)
        # A burst begins several cycles after the one before: records have to be loaded.
        late = int(self._config.build.links)
        begins = delay(m, start, late, "begins", reset=True) | burst_end

        def within(rows, vectors):
            """Whether so many vectors take these rows."""
            return ~Mux(layer.serial, above(rows, vectors), above(rows, vectors * width))

        with m.If(issue):
            m.d.sync += vector_first.eq(0)
            with m.If(position_last):
                m.d.sync += group.eq(Mux(group_last, 0, group + 1))
                with m.If(group_last):
                    m.d.sync += [
                        vector_first.eq(1), vector_last.eq(within(block_left, 2)),
                        vector.eq(vector + 1), row.eq(row + take_rows),
                        block_left.eq(block_left - take_rows), record.eq(record + lanes_now),
                        out_vector.eq(out_vector + layer.out_vector),
                        res_vector.eq(res_vector + layer.res_vector),
                    ]
        with m.If(burst_end):
            m.d.sync += [bank.eq(~bank), vector.eq(0), row.eq(0), out_vector.eq(0),
                         res_vector.eq(0), record.eq(block_record)]
            with m.If(burst_last):
                m.d.sync += [
                    block.eq(block + 1), record.eq(record + lanes_now),
                    block_record.eq(record + lanes_now),
                    out_block.eq(out_block + layer.out_block),
                    res_block.eq(res_block + layer.res_block),
                ]
                with m.If(block_last):
                    m.d.sync += busy.eq(0)
        following = [delay(m, value, late, name) for name, value in (
            ("only", within(rows_after, 1) | within(layer.block_rows, 1)),
            ("rows_after", rows_after), ("rows_now", rows_now))]
        with m.If(begins):
            m.d.sync += [register.eq(value) for register, value in zip(
                (vector_last, rows_left, block_left), following, strict=True)]
        with m.If(start):
            m.d.sync += [
                busy.eq(1), block.eq(1), group.eq(0), vector.eq(0), row.eq(0),
                vector_first.eq(1), record.eq(layer.param_base),
                block_record.eq(layer.param_base), next_record.eq(layer.param_base),
                out_vector.eq(0), out_block.eq(0), res_vector.eq(0), res_block.eq(0),
            ]

        in_flight = Signal(6)
        m.d.sync += in_flight.eq(in_flight + issue - self.i_written)
        m.d.comb += self.o_busy.eq(busy | (in_flight != 0))
        if self._config.build.overlap:
            # Of the results on their way, `older` belong to bursts before the one being drained.
            # What the compute stage waits for begins in registers; in a block's first cycle there
            # are some.
            older, left, none, final = Signal(6), Signal(6), Signal(init=1), Signal()
            m.d.comb += left.eq(older)
            with m.If(burst_end & ~(burst_last & block_last)):
                m.d.comb += left.eq(in_flight + 1 - self.i_written)
            with m.Elif(self.i_written & ~none):
                m.d.comb += left.eq(older - 1)
            m.d.sync += [older.eq(left), none.eq(left == 0), final.eq(block_last)]
            # `final` is the layer's own from its second cycle on.
            m.d.comb += self.o_tail.eq(none & ~first_request & (~busy | (burst_last & final)))
        return m
