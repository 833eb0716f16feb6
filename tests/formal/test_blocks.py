"""Properties of small blocks for every input, not for some: `make formal`."""

import pytest
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from pyhw.hdl.common.odometer import Odometer
from pyhw.hdl.common.stream_register import StreamRegister
from pyhw.hdl.port.axi import AxiLitePort
from tests.support.formal import prove

pytestmark = pytest.mark.formal


def past(m, value, name):
    """Return a value of the cycle before."""
    before = Signal(value.shape(), name=name)
    m.d.sync += before.eq(value)
    return before


def holds(m, valid, ready, payload, name):
    """Assert that what is offered stays, as it is, until it is taken."""
    waits = past(m, valid & ~ready, f"{name}_waits")
    m.d.comb += Assert(~waits | (valid & (payload == past(m, payload, f"{name}_payload"))))


class RegisterTop(wiring.Component):
    """A `StreamRegister` between a source and a sink that do as they like."""

    def __init__(self, spare, *, watch=True, wrong=False):
        self._spare, self._watch, self._wrong = spare, watch, wrong
        super().__init__({"valid": In(1), "ready": In(1), "payload": In(2), "mark": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = StreamRegister(2, spare=self._spare)
        m.d.comb += [dut.i.valid.eq(self.valid), dut.i.payload.eq(self.payload),
                     dut.o.ready.eq(self.ready)]
        ready = self.valid if self._wrong else self.ready
        holds(m, dut.o.valid, ready, dut.o.payload, "out")
        started = past(m, ~Signal(), "started")
        m.d.comb += Assert(~started | (dut.o.valid == past(m, dut.o_ahead, "told")))
        if self._watch:
            self._follow(m, dut)
        return m

    def _follow(self, m, dut):
        """Watch one payload, whichever, from its way in to its way out."""
        held, ahead = Signal(3), Signal(3)
        watching, watched = Signal(), Signal(2)
        comes, goes = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        m.d.sync += held.eq(held + comes - goes)
        with m.If(goes & watching):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += watching.eq(0)
        with m.If(comes & self.mark & ~watching):
            m.d.sync += [watching.eq(1), watched.eq(self.payload), ahead.eq(held - goes)]
        m.d.comb += [
            Assert(held <= 1 + self._spare), Assert(~dut.o.valid | (held != 0)),
            Assert(~(watching & goes & (ahead == 0)) | (dut.o.payload == watched)),
        ]


@pytest.mark.parametrize("spare", [False, True])
def test_a_stream_register_holds_what_is_offered_at_all_times(spare, tmp_path):
    proved, said = prove(RegisterTop(spare, watch=False), tmp_path, depth=4)
    assert proved, said[-2000:]


@pytest.mark.parametrize("spare", [False, True])
def test_a_stream_register_keeps_the_order_of_what_it_takes(spare, tmp_path):
    proved, said = prove(RegisterTop(spare), tmp_path, depth=12, mode="bmc")
    assert proved, said[-2000:]


def test_an_assertion_that_is_wrong_is_refuted(tmp_path):
    refuted, said = prove(RegisterTop(False, wrong=True), tmp_path, depth=6, mode="bmc")
    assert not refuted, said[-2000:]


class AxiTop(wiring.Component):
    """The AXI4-Lite port with a manager that does as it likes."""

    def __init__(self, *, count):
        self.port, self._count = AxiLitePort(4), count
        super().__init__({name: In(1) for name in (
            "awvalid", "wvalid", "bready", "arvalid", "rready")} | {
            "response": In(2), "data": In(32), "address": In(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.port = port = self.port
        axi = port.axi
        m.d.comb += [
            *(getattr(axi, name).eq(getattr(self, name)) for name in (
                "awvalid", "wvalid", "bready", "arvalid", "rready")),
            axi.araddr.eq(self.address), axi.awaddr.eq(self.address), axi.wdata.eq(self.data),
            port.i_write_response.eq(self.response), port.i_read_response.eq(self.response),
            port.i_read_data.eq(self.data),
        ]
        holds(m, axi.bvalid, axi.bready, axi.bresp, "b")
        holds(m, axi.rvalid, axi.rready, axi.rresp, "r")
        holds(m, axi.rvalid, axi.rready, axi.rdata, "rdata")
        if self._count:
            self._ask(m, axi)
        return m

    def _ask(self, m, axi):
        """Assert that answers are no more than what was asked."""
        for asked, answered, name in (
                (axi.awvalid & axi.awready, axi.bvalid & axi.bready, "aw"),
                (axi.wvalid & axi.wready, axi.bvalid & axi.bready, "w"),
                (axi.arvalid & axi.arready, axi.rvalid & axi.rready, "ar")):
            open_ = Signal(3, name=f"open_{name}")
            m.d.sync += open_.eq(open_ + asked - answered)
            m.d.comb += [Assert(open_ <= 2), Assert(~answered | (open_ != 0))]


def test_axi_answers_stay_as_they_are_until_they_are_taken_at_all_times(tmp_path):
    proved, said = prove(AxiTop(count=False), tmp_path, depth=4)
    assert proved, said[-2000:]


def test_axi_answers_follow_what_was_asked(tmp_path):
    proved, said = prove(AxiTop(count=True), tmp_path, depth=12, mode="bmc")
    assert proved, said[-2000:]


class OdometerTop(wiring.Component):
    """Two loops beside counters that are counted plainly."""

    def __init__(self):
        super().__init__({"start": In(1), "step": In(1), "a": In(2), "b": In(2)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = Odometer({"a": 2, "b": 2})
        a, b, running = Signal(2), Signal(2), Signal()
        m.d.comb += [
            dut.i_start.eq(self.start), dut.i_step.eq(self.step & running),
            dut.i_a.eq(self.a), dut.i_b.eq(self.b),
            Assume((self.a != 0) & (self.b != 0)),
            Assume(self.start | ((self.a == past(m, self.a, "a_past"))
                                 & (self.b == past(m, self.b, "b_past"))) | ~running),
        ]
        with m.If(self.start):
            m.d.sync += [running.eq(1), a.eq(1), b.eq(1)]
        with m.Elif(self.step & running):
            m.d.sync += [a.eq(Mux(a == self.a, 1, a + 1))]
            with m.If(a == self.a):
                m.d.sync += b.eq(Mux(b == self.b, 1, b + 1))
        # A start may bring other limits: what was said before them does not count.
        with m.If(running & ~self.start):
            m.d.comb += [Assert(dut.o_a_last == (a == self.a)),
                         Assert(dut.o_b_last == (b == self.b)),
                         Assert(dut.o_last == ((a == self.a) & (b == self.b)))]
        return m


def test_an_odometer_knows_its_ends_as_plain_counters_do(tmp_path):
    proved, said = prove(OdometerTop(), tmp_path, depth=14, mode="bmc")
    assert proved, said[-2000:]
