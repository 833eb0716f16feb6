"""Addresses of a memory access: check the whole range first, then step byte by byte."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.thermometer import above
from ..frames import Status
from ..isa import Space, space_bytes, space_depth

__all__ = ["SpaceCursor"]


class SpaceCursor(wiring.Component):
    """Check that an access lies inside its memory, then count words and lanes.

    The check walks over the words, one a cycle (spaces of 1-byte words: all at once), so that no
    word size needs a multiplication.

    Members
    -------
    i_start : In(1)
        Strobe: check the access that the next three ports describe; they must hold until the
        last step.
    i_space, i_address, i_length : In(8), In(32), In(13)
        Space number, first word (SCRATCH: group in bits 31:24), bytes.
    o_done, o_status : Out(1), Out(Status)
        Strobe with the result: OK, BAD_LENGTH (not whole words) or OUT_OF_RANGE. It comes 2
        cycles after ``i_start`` plus one for each word.
    i_step : In(1)
        Strobe: go on to the next byte.
    o_address, o_lane : Out(32), Out(8)
        Word address and byte in the word, from the cycle after ``o_done`` on.
    """

    i_start: In(1)
    i_space: In(8)
    i_address: In(32)
    i_length: In(13)
    o_done: Out(1)
    o_status: Out(Status)
    i_step: In(1)
    o_address: Out(32)
    o_lane: Out(8)

    def __init__(self, config):
        self._config = config
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        sizes = {space: space_bytes(self._config, space) for space in Space}
        depths = {space: space_depth(self._config, space) for space in Space}
        largest = max(depths.values())
        size = Signal(range(max(sizes.values()) + 1))  # bytes of a word
        depth = Signal(range(largest + 1))
        outside = Signal()
        scratch = Signal()
        m.d.comb += scratch.eq(self.i_space == Space.SCRATCH.value)
        with m.Switch(self.i_space):
            for space in Space:
                with m.Case(space.value):
                    m.d.comb += [size.eq(sizes[space]), depth.eq(depths[space])]
            with m.Default():
                m.d.comb += [size.eq(1), depth.eq(0), outside.eq(1)]
        start, beyond = self.i_address[:len(depth)], self.i_address[len(depth):24]
        group = self.i_address[24:]
        with m.If(beyond.any() | Mux(scratch, above(group, self._config.groups - 1), group.any())):
            m.d.comb += outside.eq(1)

        # Wide enough for the end of any access that starts within the bits of the largest space.
        word = Signal(range((1 << len(depth)) + self._config.port.max_payload), reset_less=True)
        left = Signal(range(self._config.port.max_payload + 1), reset_less=True)
        lane = Signal(range(max(sizes.values())), reset_less=True)
        m.d.comb += [
            self.o_address[:24].eq(word), self.o_address[24:].eq(Mux(scratch, group, 0)),
            self.o_lane.eq(lane),
        ]
        # One adder counts words, one subtractor tells what is left after a word.
        checking, at_once = Signal(), Signal()
        next_word = Signal.like(word)
        rest = Signal(signed(len(left) + 1))
        m.d.comb += [
            at_once.eq(size == 1),
            next_word.eq(word + Mux(checking & at_once, left, 1)),
            rest.eq(left - size),
        ]
        with m.FSM():
            with m.State("STEP"):
                with m.If(self.i_start):
                    m.d.sync += [word.eq(start), left.eq(self.i_length)]
                    m.next = "CHECK"
                with m.Elif(self.i_step):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane + 1 == size):
                        m.d.sync += [lane.eq(0), word.eq(next_word)]
            with m.State("CHECK"):
                m.d.comb += checking.eq(1)
                m.d.sync += [word.eq(next_word), left.eq(Mux(at_once, 0, rest))]
                with m.If(rest[-1]):
                    m.d.sync += [word.eq(start), lane.eq(0)]
                    m.d.comb += self.o_done.eq(1)
                    m.next = "STEP"
                with m.If(left != 0):
                    m.d.comb += self.o_status.eq(Status.BAD_LENGTH)
                with m.Elif(outside | (word > depth)):
                    m.d.comb += self.o_status.eq(Status.OUT_OF_RANGE)
        return m
