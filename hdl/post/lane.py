"""One result lane of the post-processor."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.technology import Technology
from ..isa import param_layout
from ..records import Post, Residual
from .function_table import FunctionTable
from .scale_step import ScaleStep
from .term_sum import TermSum, record_terms

__all__ = ["PostLane"]

_SUM2_WIDTH = 38
"""Bits of the second step's sum: more than bias2, its terms and the residual can need."""


class PostLane(wiring.Component):
    """First step, table lookup, second step.

    Parameters
    ----------
    config : Config
    wide : bool
        Results of up to 32 bits (16 in the second step) instead of 8.

    Members
    -------
    i_post : In(Post), i_adds : In(Residual)
        Stable while results are on the way.
    i_value : In(signed(value_width)), i_record : In(param_layout)
    i_residual : In(signed(residual_width))
    o_index : Out(8), i_looked_up : In(8)
        To the table, and from it one cycle later (only with `config.tables`).
    o_result : Out(32 if wide else 8)

    Latency `latency` cycles, one result a cycle, no back-pressure.
    """

    def __init__(self, config, wide):
        self._config, self._technology = config, Technology(config)
        self._width = 32 if wide else 8
        addend_width, ready = 0, 0
        if config.residual.exists:
            self._residual = TermSum(config.residual.value_width, config.residual.terms)
            addend_width = self._residual.sum_width
            # One register more, to hold it back from the step that does not take it.
            ready = self._residual.latency + config.post.second_step
        self._first = ScaleStep(config.value_width, config.post.terms, config.sum_width,
                                self._width,
                                addend_width, ready, config.post.exponent)
        self._between = self._first.latency + (FunctionTable.latency if config.post.tables else 0)
        self.latency = self._between
        if config.post.second_step:
            self._second = ScaleStep(9, config.post.terms, _SUM2_WIDTH, min(self._width, 16),
                                     addend_width, exponent=config.post.exponent)
            self.latency += self._second.latency
        super().__init__({
            "i_post": In(Post.layout().shape), "i_adds": In(Residual.layout().shape),
            "i_value": In(signed(config.value_width)),
            "i_record": In(param_layout(config).shape),
            "i_residual": In(signed(config.residual.value_width)),
            "o_index": Out(8), "i_looked_up": In(8), "o_result": Out(self._width),
        })

    def elaborate(self, platform):
        m = Module()
        config, does, record = self._config, self.i_post, self.i_record

        def delayed(name, value, cycles):
            m.submodules[name] = line = self._technology.delay_line(len(value), cycles)
            m.d.comb += line.i_value.eq(value)
            return line.o_value

        m.submodules.first = first = self._first
        m.d.comb += [
            first.i_value.eq(self.i_value), first.i_terms.eq(record_terms(record, "m",
                                                                          config.post.terms)),
            first.i_bias.eq(record.bias), first.i_shift.eq(record.shift),
            first.i_signed.eq(does.u_signed), first.i_width.eq(does.u_width),
            self.o_index.eq(first.o_result),
        ]
        if config.residual.exists:
            m.submodules.residual = residual = self._residual
            m.d.comb += [residual.i_value.eq(self.i_residual),
                         residual.i_enable.eq(self.i_adds.res),
                         residual.i_terms.eq(record_terms(record, "r", config.residual.terms))]
            addend = Cat(residual.o_carry, residual.o_sum)

            def give(step, name, cycles, enable):
                """Bring the residual to a step, or 0 by the last register's reset."""
                at_step = addend
                if cycles > 1:
                    at_step = delayed(f"{name}_addend", addend, cycles - 1)
                if cycles > 0:
                    gated = Signal(len(addend), name=f"{name}_addend", reset_less=True)
                    m.d.sync += gated.eq(at_step)
                    with m.If(~enable):
                        m.d.sync += gated.eq(0)
                    at_step = gated
                m.d.comb += [step.i_addend_carry.eq(at_step[0]),
                             step.i_addend.eq(at_step[1:].as_signed())]

            to_second = self.i_adds.res_second if config.post.second_step else 0
            give(first, "first", first.addend_delay - residual.latency, ~to_second)

        result = first.o_result
        if config.post.tables:
            direct = delayed("beside_table", result, FunctionTable.latency)
            result = Signal(self._width, name="looked_up")
            m.d.comb += result.eq(Mux(does.table, self.i_looked_up, direct))
        if config.post.second_step:
            m.submodules.second = second = self._second
            fields = Cat(record.bias2, record.shift2, record_terms(record, "n", config.post.terms))
            fields = delayed("record", fields, self._between)
            bias, shift = len(record.bias2), len(record.shift2)
            m.d.comb += [
                second.i_value.eq(Cat(result[:8], result[7] & does.y_signed).as_signed()),
                second.i_bias.eq(fields[:bias].as_signed()),
                second.i_shift.eq(fields[bias:bias + shift]),
                second.i_terms.eq(fields[bias + shift:]),
                second.i_signed.eq(does.z_signed), second.i_width.eq(does.z_width),
            ]
            if config.residual.exists:
                give(second, "second",
                     self._between + second.addend_delay - residual.latency, to_second)
            raw = second.o_result
            raw = Cat(raw, (raw[-1] & does.z_signed).replicate(self._width - len(raw)))
            result = Mux(does.second, raw, delayed("beside_second", result, second.latency))
        m.d.comb += self.o_result.eq(result)
        return m
