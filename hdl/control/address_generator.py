"""Activation address generator: goes through a layer's vectors and hands them, with masks and
tokens, to the engines.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.links import Links
from ..engines.depthwise import Depthwise
from ..engines.token import Token
from ..instruction import hand, run_layout
from .bursts import Bursts
from .lane_masks import LaneMasks
from .positions import Positions
from .window_steps import WindowSteps

__all__ = ["AddressGenerator"]


class AddressGenerator(wiring.Component):
    """Issue one activation vector a cycle: blocks, bursts, steps, positions.

    The pipeline behind the issue (index lookup, address, scratchpad, alignment) moves only
    with `i_advance`; the masks and the token come out beside the vector they belong to.

    Parameters
    ----------
    config : Config
    read_latency : int
        Cycles from `o_address` to the vector, at least 2.

    Members
    -------
    i_run : In(run_layout of nest, read, index, steps, window, chain)
        The layer in the compute stage, its positions in all slots, start strobe; stable while
        `o_busy`.
    i_stored : In(1)
        The results of the layers before are stored.
    i_tail : In(1)
        All but those of the last burst of the layer before are. A layer with `early` issues its
        first burst then, and any layer waits with the rest until `i_stored`.
    i_advance : In(1)
        Let the pipeline move.
    i_freed : In(1)
        Strobe: the store unit has emptied an accumulator bank.
    o_index_address : Out(16), i_index_data : In(24)
        Index-list memory, synchronous read enabled by `i_advance`.
    o_address : Out(24)
        Scratchpad address of a vector.
    o_border_left, o_border_from, o_run_left : Out
        Lanes below the first, and from the second on, are border; lanes from the third on
        are past the run. Valid beside the vector.
    o_token : Out(Token)
        Beside the vector.
    o_swap : Out(1)
        One stage before the vector: it is the first of a step.
    o_swap_ahead : Out(1)
        `o_swap` of the next cycle.
    o_busy : Out(1)
        Vectors are still to be issued, or on their way to the engines.
    o_vector, o_wait_layer, o_wait_bank : Out(1)
        What is done while `i_advance`: a vector is issued; waiting for the layer before; waiting
        for a free bank.

    Latency from issue to `o_address` 2 cycles and a link; one vector a cycle.
    """

    def __init__(self, config, read_latency):
        self._config, self._links = config, Links(config)
        self._read_latency = read_latency
        lanes = range(config.read_lanes + 1)
        self.token_layout = Token(config.burst_depth)
        super().__init__({
            "i_run": In(run_layout(config, "nest", "read", "index", "steps", "window", "chain")),
            "i_stored": In(1), "i_tail": In(1), "i_advance": In(1),
            "i_freed": In(1), "o_index_address": Out(16), "i_index_data": In(24),
            "o_address": Out(24), "o_border_left": Out(lanes), "o_border_from": Out(lanes),
            "o_run_left": Out(lanes), "o_token": Out(self.token_layout), "o_swap": Out(1),
            "o_swap_ahead": Out(1),
            "o_busy": Out(1), "o_vector": Out(1), "o_wait_layer": Out(1), "o_wait_bank": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        run, config = self.i_run, self._config
        m.submodules.bursts = bursts = Bursts(config.count_width, config.burst_depth)
        m.submodules.steps = steps = WindowSteps(config)
        tracks = [config.address_width, config.coordinate_width, config.row_width]
        m.submodules.positions = positions = Positions(
            tracks + [16] * bool(config.memory.index_entries), config.side_width)
        # Warm-up columns are no positions.
        warmup, columns = Signal(), Signal(16)
        m.d.comb += [signal.eq(value) for signal, value in zip(
            (columns, warmup), Depthwise(config).columns(run, positions.o_x), strict=True)]
        step_last, position_last = steps.o_last, Signal()
        m.d.comb += position_last.eq(bursts.o_position_last & ~warmup)
        go, busy, bank, step_first = self._issue(m, bursts, steps, position_last)
        burst_end = go & position_last & step_last
        m.d.comb += [
            *hand(steps.i_run, run), steps.i_step.eq(go & position_last),
            bursts.i_total.eq(run.total), bursts.i_burst.eq(run.nest.burst),
            bursts.i_start.eq(run.start), bursts.i_next.eq(burst_end),
            bursts.i_step.eq(go & ~warmup), positions.i_n_x.eq(columns),
        ]
        self._move(m, positions, go, burst_end, bursts.o_last, step_last, position_last)
        token = Signal(self.token_layout)
        m.d.comb += [
            token.valid.eq(go), token.clear.eq(steps.o_first),
            token.last.eq(step_last & position_last), token.warmup.eq(warmup),
            token.bank.eq(bank), token.position.eq(bursts.o_position),
        ]
        tokens = self._accompany(m, token, go & step_first)
        self._address(m, positions, steps)
        m.d.comb += self.o_busy.eq(busy | Cat(token.valid for token in tokens).any())
        return m

    def _issue(self, m, bursts, steps, position_last):
        """Add what decides whether a vector is issued, and goes from block to block.

        Return the strobe, whether some are left, their bank, and whether one begins a step.
        """
        run, step_last = self.i_run, steps.o_last
        block = Signal(self._config.counter_width("nest.n_blocks"), reset_less=True)
        busy, bank, used, go = Signal(), Signal(), Signal(2), Signal()
        # What decides whether a vector is issued begins in registers.
        early, step_first, burst_first = Signal(), Signal(init=1), Signal()
        asks, may, both, used_next = Signal(), Signal(), Signal(), Signal(2)
        m.d.comb += [
            asks.eq(busy & self.i_advance),
            may.eq(self.i_stored | (early & self.i_tail)),
            self.o_wait_layer.eq(asks & ~may),
            self.o_wait_bank.eq(asks & may & burst_first & both),
            go.eq(asks & may & ~(burst_first & both)), self.o_vector.eq(go),
            used_next.eq(used + (go & burst_first) - self.i_freed),
        ]
        m.d.sync += [used.eq(used_next), both.eq(used_next == 2)]
        with m.If(run.start):
            m.d.sync += [busy.eq(1), block.eq(1), early.eq(run.read.early), burst_first.eq(1)]
        with m.Elif(go):
            m.d.sync += [step_first.eq(position_last), burst_first.eq(position_last & step_last)]
            with m.If(position_last & step_last):
                m.d.sync += [bank.eq(~bank), early.eq(0)]
                with m.If(bursts.o_last):
                    m.d.sync += block.eq(block + 1)
                    with m.If(block == run.nest.n_blocks):
                        m.d.sync += busy.eq(0)
        return go, busy, bank, step_first

    def _later(self, m, value, name, reset=False):
        """Positions move, and meet their offsets, behind a link."""
        return self._links.delay(m, value, name, reset=reset, enable=self.i_advance)

    def _move(self, m, positions, go, burst_end, burst_last, step_last, position_last):
        """Let the positions follow the vectors that are issued."""
        run, config, links = self.i_run, self._config, self._links
        nest, read, window, start = run.nest, run.read, run.window, run.start
        block_base = Signal(config.address_width, reset_less=True)
        next_base = Signal(config.address_width)
        m.d.comb += next_base.eq(Mux(start, read.in_base, block_base + read.block_in))
        with m.If(start | (burst_end & burst_last)):
            m.d.sync += block_base.eq(next_base)
        moves = (
            ("restart", position_last & step_last & burst_last),
            ("rewind", position_last & ~step_last), ("commit", position_last & step_last))
        m.d.comb += [
            positions.i_n_y.eq(nest.n_y),
            positions.i_start.eq(links.delay(m, start, "start", reset=True)),
            positions.i_step.eq(self._later(m, go, "step", reset=True) & self.i_advance),
            *(getattr(positions, f"i_{name}").eq(self._later(m, move, name))
              for name, move in moves),
            positions.i_base0.eq(links.newest(next_base, block_base)),
            positions.i_x0.eq(read.in_x), positions.i_y0.eq(read.in_y),
            positions.i_slot0.eq(read.in_slot),
            positions.i_base1.eq(window.xb_start), positions.i_x1.eq(window.xb_x),
            positions.i_y1.eq(window.xb_y), positions.i_slot1.eq(window.xb_y),
            positions.i_base2.eq(window.iy_start), positions.i_x2.eq(0),
            positions.i_y2.eq(window.iy_y), positions.i_slot2.eq(window.iy_slot),
        ]
        if config.memory.index_entries:
            m.d.comb += [
                positions.i_base3.eq(run.index.index_base), positions.i_x3.eq(1),
                positions.i_y3.eq(1), positions.i_slot3.eq(1 - nest.n_xy),
                self.o_index_address.eq(positions.o_value3),
            ]

    def _accompany(self, m, token, swap):
        """Add the registers of tokens beside their vectors; return all of them."""
        tokens, swaps = [token], [swap]
        for stage in range(2 + self._links.cycles + self._read_latency):
            token = Signal(self.token_layout, name=f"token{stage + 1}")
            swap = Signal(name=f"swap{stage + 1}")
            with m.If(self.i_advance):
                m.d.sync += [token.eq(tokens[-1]), swap.eq(swaps[-1])]
            tokens.append(token)
            swaps.append(swap)
        m.d.comb += [self.o_token.eq(tokens[-1]), self.o_swap.eq(swaps[-2]),
                     self.o_swap_ahead.eq(Mux(self.i_advance, swaps[-3], swaps[-2]))]
        return tokens[1:]

    def _address(self, m, positions, steps):
        """Add the two stages of address and coordinates, and the masks behind them."""
        run, config = self.i_run, self._config
        addr, xb, iy, run_left = (self._later(m, offset, name) for offset, name in (
            (steps.o_address, "addr"), (steps.o_xb, "xb"), (steps.o_iy, "iy"),
            (steps.o_run_left, "run_left")))
        # Stage 1: sums. Stage 2: index added, masks clamped to lane counts.
        address1, address2 = (Signal(config.address_width, name=name, reset_less=True)
                              for name in ("address1", "address2"))
        m.submodules.masks = masks = LaneMasks(config, 1 + self._read_latency)
        iy1, xb1, run1 = (Signal.like(port, name=name, reset_less=True) for port, name in (
            (masks.i_iy, "iy1"), (masks.i_xb, "xb1"), (masks.i_run_left, "run1")))
        index = 0
        if config.memory.index_entries:
            index = Mux(run.index.index_mode, self.i_index_data, 0)
        with m.If(self.i_advance):
            m.d.sync += [
                address1.eq(positions.o_value0 + addr), run1.eq(run_left),
                xb1.eq(positions.o_value1 + xb), iy1.eq(positions.o_value2 + iy),
                address2.eq(address1 + index),
            ]
        m.d.comb += [
            self.o_address.eq(address2), masks.i_window.eq(run.window),
            masks.i_advance.eq(self.i_advance), masks.i_iy.eq(iy1), masks.i_xb.eq(xb1),
            masks.i_run_left.eq(run1), self.o_border_left.eq(masks.o_border_left),
            self.o_border_from.eq(masks.o_border_from), self.o_run_left.eq(masks.o_run_left),
        ]
