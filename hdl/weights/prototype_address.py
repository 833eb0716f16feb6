"""Tap walker: where in the prototype the weights of a step's lanes lie."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..instruction import run_layout

__all__ = ["PrototypeAddress", "wrapped"]


def wrapped(m, total, limit, size, name):
    """Return ``total`` less ``size`` where it reaches ``limit``: one step of a modulo."""
    result = Signal(total.shape(), name=name)
    m.d.comb += result.eq(Mux(total >= limit, total - size, total))
    return result


class PrototypeAddress(wiring.Component):
    """Make the lane offsets of step after step, one lane a cycle, up to two steps ahead.

    The taps of a burst's steps follow each other in one order, (ky, kx, c) or, of a folded input,
    (kx, ky, c); an offset is the prototype's address for the tap in row 0 of the layer.

    Members
    -------
    i_run : In(run_layout of steps, expansion)
        The layer and its start strobe; steps repeat burst after burst until the next start.
    o_valid : Out(1)
        The next step's offsets are there; the next three ports describe it.
    o_lanes : Out
        Lanes of the step in use, 1 to `lanes`.
    o_last : Out(1)
        It is the last one of its burst.
    i_next : In(1)
        Go on to the step after it.
    i_group : In, i_enable : In(1)
        Read the offsets of a group of lanes of the step.
    o_offsets : Out(width * address bits)
        They, a cycle later; lanes not in use mean nothing.

    A step takes as many cycles as it has lanes in use, at the start from the cycle after it.
    """

    def __init__(self, config):
        self._lanes, self._width = config.engines[config.masked].lanes, config.expand_lanes
        self._address = (config.weights.prototypes - 1).bit_length() or 1
        self._groups = -(-self._lanes // self._width)
        super().__init__({
            "i_run": In(run_layout(config, "steps", "expansion")), "o_valid": Out(1),
            "o_lanes": Out(range(self._lanes + 1)), "o_last": Out(1), "i_next": In(1),
            "i_group": In(range(self._groups)), "i_enable": In(1),
            "o_offsets": Out(self._width * self._address),
        })

    def elaborate(self, platform):
        m = Module()
        steps, masks, bits = self.i_run.steps, self.i_run.expansion, self._address
        group_bits, lane_bits = (self._groups - 1).bit_length(), self._width.bit_length() - 1
        m.submodules.offsets = store = memory.Memory(
            shape=self._width * bits, depth=2 << group_bits, init=[])
        write = store.write_port(granularity=bits)
        read = store.read_port(transparent_for=())

        # Two halves of the memory hold one step each.
        ready = [Signal(name=f"ready{half}") for half in range(2)]
        used = Array(Signal.like(self.o_lanes, name=f"used{half}") for half in range(2))
        last = Array(Signal(name=f"last{half}") for half in range(2))
        fill, drain = Signal(), Signal()
        active, work = Signal(), Signal()
        lane, run_left = Signal(range(self._lanes)), Signal(20)
        kx, ky = Signal(8), Signal(8)
        tap0, tap1 = Signal(16), Signal(8)
        offset, limit = Signal(bits + 1), Signal(bits + 1)
        run_end, step_end, burst_end = Signal(), Signal(), Signal()
        end0, end1 = Signal(), Signal()
        m.d.comb += [
            work.eq(active & ~Mux(fill, ready[1], ready[0])),
            run_end.eq(run_left == 1),
            step_end.eq(run_end | (lane == self._lanes - 1)),
            burst_end.eq(run_end & (kx == steps.n_kx - 1) & (ky == steps.n_ky - 1)),
            end0.eq(tap0 == masks.n_tap0 - 1), end1.eq(tap1 == masks.n_tap1 - 1),
            write.addr.eq(lane >> lane_bits | fill << group_bits),
            write.data.eq(offset[:bits].replicate(self._width)),
            read.addr.eq(Cat(self.i_group[:group_bits], drain)),
            read.en.eq(self.i_enable), self.o_offsets.eq(read.data),
            self.o_valid.eq(Mux(drain, ready[1], ready[0])),
            self.o_lanes.eq(used[drain]), self.o_last.eq(last[drain]),
        ]
        for k in range(self._width):
            m.d.comb += write.en[k].eq(work & (lane[:lane_bits] == k))
        m.d.sync += limit.eq(masks.proto_base + masks.proto_size)
        step = Mux(end0, Mux(end1, masks.proto_tap2, masks.proto_tap1), masks.proto_tap0)
        total = Signal(bits + 2)
        m.d.comb += total.eq(offset + step)
        following = wrapped(m, total, limit, masks.proto_size, "following")
        with m.If(work):
            m.d.sync += [lane.eq(lane + 1), run_left.eq(run_left - 1), offset.eq(following),
                         tap0.eq(Mux(end0, 0, tap0 + 1))]
            with m.If(end0):
                m.d.sync += tap1.eq(Mux(end1, 0, tap1 + 1))
            with m.If(step_end):
                m.d.sync += [lane.eq(0), fill.eq(~fill), used[fill].eq(lane + 1),
                             last[fill].eq(burst_end)]
            with m.If(run_end):
                m.d.sync += [run_left.eq(steps.run_bytes), kx.eq(kx + 1)]
                with m.If(kx == steps.n_kx - 1):
                    m.d.sync += [kx.eq(0), ky.eq(ky + 1)]
            with m.If(burst_end):
                m.d.sync += [ky.eq(0), tap0.eq(0), tap1.eq(0), offset.eq(masks.proto_base)]
        for half in range(2):
            with m.If(work & step_end & (fill == half)):
                m.d.sync += ready[half].eq(1)
            with m.If(self.i_next & (drain == half)):
                m.d.sync += ready[half].eq(0)
        with m.If(self.i_next):
            m.d.sync += drain.eq(~drain)
        with m.If(self.i_run.start):
            m.d.sync += [active.eq(masks.masked), lane.eq(0), run_left.eq(steps.run_bytes),
                         kx.eq(0), ky.eq(0), tap0.eq(0), tap1.eq(0), offset.eq(masks.proto_base),
                         fill.eq(0), drain.eq(0), ready[0].eq(0), ready[1].eq(0)]
        return m
