"""Activation address generator: goes through a layer's vectors and hands them, with masks and
tokens, to the engines.
"""

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.delay_line import delay
from ..common.odometer import Odometer
from ..common.thermometer import above
from ..engines.token import Token
from .bursts import Bursts
from .positions import Positions
from .sequencer import LayerRun

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
    i_run : In(LayerRun)
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

    Latency from issue to `o_address` 2 cycles, with `Config.spread` 3; one vector a cycle.
    """

    def __init__(self, config, read_latency):
        self._config = config
        self._read_latency = read_latency
        lanes = range(config.read_lanes + 1)
        self.token_layout = Token(config.burst_depth)
        super().__init__({
            "i_run": In(LayerRun), "i_stored": In(1), "i_tail": In(1), "i_advance": In(1),
            "i_freed": In(1), "o_index_address": Out(16), "i_index_data": In(24),
            "o_address": Out(24), "o_border_left": Out(lanes), "o_border_from": Out(lanes),
            "o_run_left": Out(lanes), "o_token": Out(self.token_layout), "o_swap": Out(1),
            "o_swap_ahead": Out(1),
            "o_busy": Out(1), "o_vector": Out(1), "o_wait_layer": Out(1), "o_wait_bank": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        layer, total, start = self.i_run.layer, self.i_run.total, self.i_run.start
        address_width, count_width = self._config.address_width, self._config.count_width
        xb_width, iy_width = self._config.coordinate_width, self._config.row_width
        bits = self._config.counter_width
        m.submodules.positions = positions = Positions(
            [address_width, xb_width, iy_width, 16], self._config.side_width)

        # Position in burst, bursts of a block, blocks. Warm-up columns are no positions.
        warmup, columns = Signal(), Signal(16)
        m.d.comb += columns.eq(layer.n_x)
        if self._config.depthwise.columns:
            m.d.comb += [warmup.eq(positions.o_x <= layer.warmup),
                         columns.eq(layer.n_x + layer.warmup)]
        block_base = Signal(address_width, reset_less=True)
        block = Signal(bits("n_blocks"), reset_less=True)
        m.submodules.bursts = bursts = Bursts(count_width, self._config.burst_depth)
        burst_last = bursts.o_last
        # Kernel row, kernel column, chunk, digit; each level keeps where it began.
        m.submodules.steps = steps = Odometer(
            {name: bits(f"n_{name}") for name in ("digits", "chunks", "kx", "ky")})
        digit_last, chunk_last, kx_last = (
            steps.o_digits_last, steps.o_chunks_last, steps.o_kx_last)
        addr, kx_addr, ky_addr = (Signal(address_width, name=name, reset_less=True)
                                  for name in ("addr", "kx_addr", "ky_addr"))
        xb, kx_xb = (Signal(xb_width, name=name, reset_less=True) for name in ("xb", "kx_xb"))
        iy = Signal(iy_width, reset_less=True)
        run_left = Signal(bits("run_bytes"), reset_less=True)
        # A step goes on from where the innermost level that has not ended began.
        next_addr, next_xb = Signal(address_width), Signal(xb_width)
        first_step = Signal()
        position_last, step_last, block_last = Signal(), steps.o_last, Signal()
        m.d.comb += [
            *(getattr(steps, f"i_{name}").eq(layer[f"n_{name}"])
              for name in ("digits", "chunks", "kx", "ky")),
            position_last.eq(bursts.o_position_last & ~warmup),
            block_last.eq(block == layer.n_blocks),
        ]

        addr_from, addr_by = Signal.like(addr), Signal.like(addr)
        m.d.comb += [addr_from.eq(addr), addr_by.eq(layer.chunk_bytes)]
        with m.If(chunk_last & kx_last):
            m.d.comb += [addr_from.eq(ky_addr), addr_by.eq(layer.ky_addr)]
        with m.Elif(chunk_last):
            m.d.comb += [addr_from.eq(kx_addr), addr_by.eq(layer.kx_addr)]
        m.d.comb += [
            next_addr.eq(addr_from + addr_by),
            next_xb.eq(Mux(chunk_last, kx_xb, xb)
                       + Mux(chunk_last, layer.kx_xb, layer.chunk_bytes)),
        ]

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

        def restart_steps():
            return [addr.eq(0), kx_addr.eq(0), ky_addr.eq(0), xb.eq(0), kx_xb.eq(0), iy.eq(0),
                    run_left.eq(layer.run_bytes), first_step.eq(1)]

        with m.If(start):
            m.d.sync += [busy.eq(1), block.eq(1), early.eq(layer.early), burst_first.eq(1),
                         *restart_steps()]
        with m.Elif(go):
            m.d.sync += [step_first.eq(position_last), burst_first.eq(position_last & step_last)]
            with m.If(position_last):
                m.d.sync += first_step.eq(0)
                with m.If(step_last):
                    m.d.sync += [*restart_steps(), bank.eq(~bank), early.eq(0)]
                    with m.If(burst_last):
                        m.d.sync += block.eq(block + 1)
                        with m.If(block_last):
                            m.d.sync += busy.eq(0)
                with m.Elif(digit_last & chunk_last & kx_last):
                    m.d.sync += [addr.eq(next_addr), kx_addr.eq(next_addr),
                                 ky_addr.eq(next_addr), xb.eq(0), kx_xb.eq(0),
                                 iy.eq(iy + layer.ky_iy), run_left.eq(layer.run_bytes)]
                with m.Elif(digit_last & chunk_last):
                    m.d.sync += [addr.eq(next_addr), kx_addr.eq(next_addr), xb.eq(next_xb),
                                 kx_xb.eq(next_xb), run_left.eq(layer.run_bytes)]
                with m.Elif(digit_last):
                    m.d.sync += [addr.eq(next_addr), xb.eq(next_xb),
                                 run_left.eq(run_left - layer.chunk_bytes)]

        burst_end, next_base = go & position_last & step_last, Signal(address_width)
        m.d.comb += [bursts.i_total.eq(total), bursts.i_burst.eq(layer.burst),
                     bursts.i_start.eq(start), bursts.i_next.eq(burst_end),
                     bursts.i_step.eq(go & ~warmup),
                     steps.i_start.eq(start), steps.i_step.eq(go & position_last)]
        m.d.comb += next_base.eq(Mux(start, layer.in_base, block_base + layer.block_in))
        with m.If(start | (burst_end & burst_last)):
            m.d.sync += block_base.eq(next_base)
        late = int(self._config.build.links)

        def later(value, name, reset_less=True):
            """With `spread` positions move, and meet their offsets, a stage after the issue."""
            for _ in range(late):
                held = Signal.like(value, name=f"{name}_later", reset_less=reset_less)
                with m.If(self.i_advance):
                    m.d.sync += held.eq(value)
                value = held
            return value

        m.d.comb += [
            positions.i_n_x.eq(columns), positions.i_n_y.eq(layer.n_y),
            positions.i_start.eq(delay(m, start, late, "start", reset=True)),
            positions.i_step.eq(later(go, "step", reset_less=False) & self.i_advance),
            positions.i_restart.eq(later(position_last & step_last & burst_last, "restart")),
            positions.i_rewind.eq(later(position_last & ~step_last, "rewind")),
            positions.i_commit.eq(later(position_last & step_last, "commit")),
            positions.i_base0.eq(block_base if late else next_base),
            positions.i_x0.eq(layer.in_x), positions.i_y0.eq(layer.in_y),
            positions.i_slot0.eq(layer.in_slot),
            positions.i_base1.eq(layer.xb_start), positions.i_x1.eq(layer.xb_x),
            positions.i_y1.eq(layer.xb_y), positions.i_slot1.eq(layer.xb_y),
            positions.i_base2.eq(layer.iy_start), positions.i_x2.eq(0),
            positions.i_y2.eq(layer.iy_y), positions.i_slot2.eq(layer.iy_slot),
            positions.i_base3.eq(layer.index_base), positions.i_x3.eq(1), positions.i_y3.eq(1),
            positions.i_slot3.eq(1 - layer.n_xy),
            self.o_index_address.eq(positions.o_value3),
        ]

        addr, xb, iy, run_left = (later(offset, offset.name) for offset in (addr, xb, iy, run_left))

        # Stage 1: sums. Stage 2: index added, masks clamped to lane counts.
        address1, address2 = (Signal(address_width, name=name, reset_less=True)
                              for name in ("address1", "address2"))
        iy1, xb1 = (Signal(signed(width), name=name, reset_less=True)
                    for name, width in (("iy1", iy_width), ("xb1", xb_width + 1)))
        run1 = Signal.like(run_left)
        masks2 = [Signal(range(self._config.read_lanes + 1), name=n, reset_less=True)
                  for n in ("border_left2", "border_from2", "run_left2")]
        tokens, swaps = [], []
        for stage in range(2 + late + self._read_latency):
            token = Signal(self.token_layout, name=f"token{stage + 1}")
            swap = Signal(name=f"swap{stage + 1}")
            with m.If(self.i_advance):
                if tokens:
                    m.d.sync += [token.eq(tokens[-1]), swap.eq(swaps[-1])]
                else:
                    m.d.sync += [token.valid.eq(go), token.clear.eq(first_step),
                                 token.last.eq(step_last & position_last),
                                 token.warmup.eq(warmup), token.bank.eq(bank),
                                 token.position.eq(bursts.o_position), swap.eq(go & step_first)]
            tokens.append(token)
            swaps.append(swap)

        lanes = self._config.read_lanes

        def clamp(target, value, most, negative=0, carry=0):
            """Register a number, if it is not negative and at most `most`, and a carry."""
            with m.If(negative):
                m.d.sync += target.eq(0)
            with m.Elif(above(value, most)):
                m.d.sync += target.eq(lanes)
            with m.Else():
                m.d.sync += target.eq(value[:len(target)] + carry)

        outside, right = Signal(), Signal(signed(xb_width + 2))
        m.d.comb += [outside.eq(iy1[-1] | (iy1[:-1] >= layer.in_rows)),
                     right.eq(layer.row_bytes - xb1)]
        with m.If(self.i_advance):
            m.d.sync += [
                address1.eq(positions.o_value0 + addr), run1.eq(run_left),
                xb1.eq(positions.o_value1 + xb), iy1.eq(positions.o_value2 + iy),
                address2.eq(address1 + Mux(layer.index_mode, self.i_index_data, 0)),
            ]
            # -xb1 is its complement and a carry.
            clamp(masks2[0], ~xb1[:-1], lanes - 1, ~xb1[-1], carry=1)
            with m.If(outside):
                m.d.sync += masks2[0].eq(lanes)
            clamp(masks2[1], right[:-1], lanes, right[-1])
            clamp(masks2[2], run1, lanes)
        m.d.comb += self.o_address.eq(address2)
        for mask, output in zip(masks2, (self.o_border_left, self.o_border_from,
                                         self.o_run_left), strict=True):
            for stage in range(self._read_latency):
                after = Signal.like(mask, name=f"{mask.name}_{stage}")
                with m.If(self.i_advance):
                    m.d.sync += after.eq(mask)
                mask = after
            m.d.comb += output.eq(mask)
        m.d.comb += [self.o_busy.eq(busy | Cat(token.valid for token in tokens).any()),
                     self.o_token.eq(tokens[-1]), self.o_swap.eq(swaps[-2]),
                     self.o_swap_ahead.eq(Mux(self.i_advance, swaps[-3], swaps[-2]))]
        return m
