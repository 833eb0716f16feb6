"""Store unit: empties a full accumulator bank through the post-processor into the scratchpads."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.links import Links
from ..common.thermometer import above
from ..engines.token import ResultRequest
from ..instruction import run_layout
from ..timing import Timing
from .bursts import Bursts
from .positions import Positions
from .record_requests import RecordRequests
from .results_on_way import ResultsOnWay
from .stages import Stages

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
    i_run : In(run_layout of nest, write, parameters, residual)
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
        `Config.build.overlap`, when no layer waits for it.
    o_wait_port : Out(1)
        Waiting for the residual.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "i_run": In(run_layout(config, "nest", "write", "parameters", "residual")),
            "i_full": In(1),
            "o_freed": Out(1), "o_request": Out(1), "o_record": Out(16), "o_take": Out(1),
            "i_ready": In(1), "i_taken": In(1), "o_issue": Out(1),
            "o_read": Out(ResultRequest(config.burst_depth)), "o_tag": Out(tag_layout(config)),
            "o_residual": Out(1), "o_residual_address": Out(24),
            "o_residual_count": Out(range(2 * config.post.width + 1)), "i_conflict": In(1),
            "i_written": In(1), "o_busy": Out(1), "o_tail": Out(1), "o_wait_port": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        run, config, tail = self.i_run, self._config, Stages(self._config).two_at_once
        m.submodules.positions = positions = Positions(
            [config.address_width] * (1 + config.residual.exists), config.side_width)
        m.submodules.bursts = bursts = Bursts(config.count_width, config.burst_depth)
        m.submodules.on_way = on_way = ResultsOnWay(tail)
        busy, block = Signal(), Signal(config.counter_width("nest.n_blocks"), reset_less=True)
        group = Signal(range(max(config.groups, 2)), reset_less=True)
        vector_first = Signal(reset_less=True)
        vector_last = Signal(init=1, reset_less=True)  # where blocks have one row, always
        issue, burst_end, group_last, block_last = (
            Signal(name=name) for name in ("issue", "burst_end", "group_last", "block_last"))
        last_place, vector_end, take_rows, lanes_now = Signal(), Signal(), Signal(6), Signal(6)
        m.d.comb += [
            group_last.eq(group == config.groups - 1), block_last.eq(block == run.nest.n_blocks),
            last_place.eq(bursts.o_position_last & group_last),
            vector_end.eq(issue & last_place), burst_end.eq(vector_end & vector_last),
            bursts.i_total.eq(run.total), bursts.i_burst.eq(run.nest.burst),
            bursts.i_start.eq(run.start), bursts.i_next.eq(burst_end), bursts.i_step.eq(issue),
            take_rows.eq(Mux(run.write.serial, 1, config.post.width)),
        ]
        with m.If(issue):
            m.d.sync += vector_first.eq(last_place)
            with m.If(bursts.o_position_last):
                m.d.sync += group.eq(Mux(group_last, 0, group + 1))
        with m.If(burst_end & bursts.o_last):
            m.d.sync += block.eq(block + 1)
            with m.If(block_last):
                m.d.sync += busy.eq(0)
        with m.If(run.start):
            m.d.sync += [busy.eq(1), block.eq(1), group.eq(0), vector_first.eq(1)]

        block_left = self._rows(m, vector_last, vector_end, burst_end, bursts.o_last, take_rows)
        m.d.comb += lanes_now.eq(Mux(vector_last, block_left, take_rows))
        m.submodules.requests = requests = RecordRequests(config.memory.param_records)
        m.d.comb += [
            requests.i_start.eq(run.start), requests.i_base.eq(run.parameters.param_base),
            requests.i_take.eq(self.o_take), requests.i_taken.eq(self.i_taken),
            requests.i_lanes.eq(lanes_now), requests.i_vector_last.eq(vector_last),
            requests.i_vector_end.eq(vector_end), requests.i_burst_end.eq(burst_end),
            requests.i_burst_last.eq(bursts.o_last), requests.i_block_last.eq(block_last),
            self.o_request.eq(requests.o_request), self.o_record.eq(requests.o_record),
        ]
        self._issue(m, bursts, busy & (~vector_first | self.i_ready), issue, burst_end)
        out, residual = self._place(m, positions, bursts, vector_end, burst_end)
        m.d.comb += [
            positions.i_step.eq(issue), positions.i_commit.eq(last_place & vector_last),
            positions.i_restart.eq(last_place & vector_last & bursts.o_last),
            positions.i_rewind.eq(bursts.o_position_last & ~(group_last & vector_last)),
            self.o_freed.eq(issue & (bursts.o_position == self._free_at(bursts.o_final))
                            & group_last & vector_last),
            self.o_take.eq(issue & vector_first), self.o_read.group.eq(group),
            self.o_tag.address.eq(out), self.o_tag.group.eq(group),
            self.o_tag.count.eq(Mux(run.write.serial, 1 << run.write.out_log_bytes, lanes_now)),
            on_way.i_issue.eq(issue), on_way.i_written.eq(self.i_written),
            on_way.i_burst_end.eq(burst_end), on_way.i_last_burst.eq(bursts.o_last & block_last),
            self.o_busy.eq(busy | on_way.o_any),
        ]
        if config.residual.exists:
            m.d.comb += [self.o_residual_address.eq(residual),
                         self.o_residual_count.eq(lanes_now << run.residual.res_wide)]
        if tail:
            # `final` is the layer's own from its second cycle on; in a block's first cycle there
            # are results on their way.
            final = Signal()
            m.d.sync += final.eq(block_last)
            m.d.comb += self.o_tail.eq(~on_way.o_older & ~requests.o_first
                                       & (~busy | (bursts.o_last & final)))
        return m

    def _free_at(self, final):
        """Return the position with which a burst's bank may be filled again.

        The last requests of a burst follow one another, unless residuals are in the way, and what
        fills the bank next takes longer to reach it.
        """
        ahead = Timing(self._config).freed_ahead
        free_at = Mux(above(final, ahead), final - ahead, 0)
        if self._config.residual.exists:
            free_at = Mux(self.i_run.residual.res, final, free_at)
        return free_at[:len(final)]

    def _issue(self, m, bursts, may, issue, burst_end):
        """Add what decides whether a result vector is read, and from which bank."""
        bank, full, full_next, some = Signal(), Signal(2), Signal(2), Signal()
        wanted = Signal()
        if self._config.residual.exists:
            m.d.comb += self.o_residual.eq(wanted & self.i_run.residual.res)
        m.d.comb += [
            wanted.eq(may & some), self.o_wait_port.eq(self.o_residual & self.i_conflict),
            issue.eq(wanted & ~self.o_wait_port), self.o_issue.eq(issue),
            self.o_read.bank.eq(bank), self.o_read.position.eq(bursts.o_position),
            self.o_read.serial.eq(self.i_run.write.serial),
            full_next.eq(full + self.i_full - burst_end),
        ]
        m.d.sync += [full.eq(full_next), some.eq(full_next != 0)]
        with m.If(burst_end):
            m.d.sync += bank.eq(~bank)

    def _rows(self, m, vector_last, vector_end, burst_end, burst_last, take_rows):
        """Count the rows of blocks and of their vectors; return those left of the block."""
        config, run, start = self._config, self.i_run, self.i_run.start
        nest, bits, width = run.nest, config.counter_width, config.post.width
        vector, row, block_left = (Signal(bits("nest.block_rows"), name=name, reset_less=True)
                                   for name in ("vector", "row", "block_left"))
        rows_left = Signal(bits("nest.rows"), reset_less=True)
        # Rows from the next block on, and how many of them it has.
        rows_after, rows_now = Signal(bits("nest.rows")), Signal(bits("nest.block_rows"))
        m.d.comb += [
            rows_after.eq(rows_left),
            rows_now.eq(Mux(rows_after < nest.block_rows, rows_after, nest.block_rows)),
            self.o_read.vector.eq(vector), self.o_read.row.eq(row),
        ]
        with m.If(start):
            m.d.comb += rows_after.eq(nest.rows)
        with m.Elif(burst_last):
            m.d.comb += rows_after.eq(rows_left - nest.block_rows)

        def within(rows, vectors):
            """Whether so many vectors take these rows."""
            return ~Mux(run.write.serial, above(rows, vectors), above(rows, vectors * width))

        with m.If(vector_end):
            m.d.sync += [vector_last.eq(within(block_left, 2)), vector.eq(vector + 1),
                         row.eq(row + take_rows), block_left.eq(block_left - take_rows)]
        with m.If(start | burst_end):
            m.d.sync += [vector.eq(0), row.eq(0)]
        # A burst begins several cycles after the one before: records have to be loaded.
        links = Links(config)
        begins = links.delay(m, start, "begins", reset=True) | burst_end
        following = [links.delay(m, value, name) for name, value in (
            ("only", within(rows_after, 1) | within(nest.block_rows, 1)),
            ("rows_after", rows_after), ("rows_now", rows_now))]
        with m.If(begins):
            m.d.sync += [register.eq(value) for register, value in zip(
                (vector_last, rows_left, block_left), following, strict=True)]
        return block_left

    def _place(self, m, positions, bursts, vector_end, burst_end):
        """Add the addresses of a result and of what is added to it; return both."""
        run, width = self.i_run, self._config.address_width
        m.d.comb += [positions.i_n_x.eq(run.nest.n_x), positions.i_n_y.eq(run.nest.n_y),
                     positions.i_start.eq(run.start)]
        places, tracks = [], [("out", run.write)]
        if self._config.residual.exists:
            tracks.append(("res", run.residual))
        for track, (prefix, strides) in enumerate(tracks):
            vector, block = (Signal(width, name=f"{prefix}_{name}", reset_less=True)
                             for name in ("vector", "block"))
            m.d.comb += [getattr(positions, f"i_{name}{track}").eq(strides[f"{prefix}_{name}"])
                         for name in ("base", "x", "y", "slot")]
            with m.If(vector_end):
                m.d.sync += vector.eq(vector + strides[f"{prefix}_vector"])
            with m.If(burst_end):
                m.d.sync += vector.eq(0)
                with m.If(bursts.o_last):
                    m.d.sync += block.eq(block + strides[f"{prefix}_block"])
            with m.If(run.start):
                m.d.sync += [vector.eq(0), block.eq(0)]
            places.append(getattr(positions, f"o_value{track}") + block + vector)
        return places[0], places[-1]
