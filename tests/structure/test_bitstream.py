"""What is in a bitstream is what was routed (ECP5), and behaves like the design (iCE40)."""

import re

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bench.bitstream import logic, missing, round_trip, run_tool, settings
from pyhw.compiler import compile_graph
from pyhw.compiler.specialise import specialise
from pyhw.contents import contents_of
from pyhw.graph.execute import run as execute
from pyhw.hdl.port.uart import Uart
from pyhw.host import DeviceError, connect
from pyhw.simulation.launch import run_bench
from pyhw.verilog import cached_verilog
from tests.pyhw.cli.test_input import small_graph, small_images
from tests.pyhw.test_netlist import SMALL
from tests.support.emulated import emulated

ECP5 = ("nextpnr-ecp5", "ecppack", "ecpunpack")
ICE40 = ("nextpnr-ice40", "icepack", "iceunpack", "icebox_vlog")
DIVISOR = 4
PINS = dict(zip(("clk", "rst", "rx", "tx", "overrun", "running", "program_valid", "framing"),
                ("J3", "B5", "B4", "A2", "C4", "A1", "C5", "B3"), strict=True))


def need(tools):
    if reason := missing(*tools):
        pytest.skip(reason)


INITIAL = list(np.random.default_rng(4).bytes(512))


class Echo(wiring.Component):
    """A serial line whose bytes go through block RAM and come back inverted; it holds `INITIAL`."""

    rx: In(1)
    tx: Out(1, init=1)
    overrun: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(DIVISOR)
        m.submodules.ram = ram = memory.Memory(shape=8, depth=512, init=INITIAL,
                                               attrs={"no_rw_check": 1})
        write, read = ram.write_port(), ram.read_port()
        head, tail, loaded = Signal(9), Signal(9), Signal()
        took = Signal()
        m.d.comb += [
            uart.i_rx.eq(self.rx), self.tx.eq(uart.o_tx), self.overrun.eq(uart.o_overrun),
            uart.o.ready.eq(1), write.en.eq(uart.o.valid), write.addr.eq(head),
            write.data.eq(uart.o.payload), read.addr.eq(tail),
            took.eq(loaded & uart.i.ready), read.en.eq((head != tail) & ~loaded),
            uart.i.valid.eq(loaded), uart.i.payload.eq(~read.data),
        ]
        m.d.sync += head.eq(head + uart.o.valid)
        with m.If(read.en):
            m.d.sync += [loaded.eq(1), tail.eq(tail + 1)]
        with m.Elif(took):
            m.d.sync += loaded.eq(0)
        return m


@pytest.fixture(scope="module")
def echo():
    from amaranth.back import verilog

    return verilog.convert(Echo(), name="top")


def test_settings_know_order_blanks_and_places():
    text = ".device X\n\n.tile A:T\nenum: B 1\nword: C 01\n\n.bram_init 2\n001 002\n003\n"
    again = ".device X\n.tile E:T\n\n.bram_init 2\n001 002\n003\n.tile A:T\nword: C 01\nenum: B 1\n"
    assert settings(text) == settings(again)
    for changed in (text.replace("01\n", "00\n"), text.replace("A:T", "B:T"),
                    text.replace("001 002\n003", "003\n001 002"), text.replace("X", "Y"),
                    text.replace("enum: B 1\n", "")):
        assert settings(changed) != settings(text)


@pytest.mark.slow
def test_an_ecp5_bitstream_holds_what_was_routed(echo, yosys, tmp_path):
    need(ECP5)
    found = round_trip(echo, tmp_path)
    contents = found.contents(found.routed)
    assert len(contents) > 300
    assert found.contents(found.unpacked) == contents
    # A block RAM's bytes lie in words of nine bits.
    words = [int(word, 16) for section, line in sorted(contents) if section.startswith(".bram_init")
             for word in line.split()[1:]]
    assert sorted(word for word in words if word) == sorted(byte for byte in INITIAL if byte)
    # Defaults are not spelled out when a bitstream is unpacked, so the rest is compared as bits.
    assert found.again == found.bitstream
    # One bit of one table more, and the bitstream is another.
    text = (tmp_path / "unpacked.config").read_text()
    word = re.search(r"word: SLICE\S+\.INIT [01]*0", text)
    (tmp_path / "changed.config").write_text(
        text[:word.end() - 1] + "1" + text[word.end():])
    run_tool("ecppack", "changed.config", "changed.bit", folder=tmp_path)
    assert (tmp_path / "changed.bit").read_bytes() != found.bitstream


@pytest.mark.slow
def test_an_ice40_bitstream_turned_back_into_logic_echoes_bytes(echo, yosys, icarus, tmp_path):
    need(ICE40)
    pins = {name: PINS[name] for name in ("clk", "rst", "rx", "tx", "overrun")}
    text = logic(echo, pins, tmp_path)
    bench = run_bench(verilog=text, bench="pyhw.sim.tb_serial", testcase="echo", simulator=icarus,
                      parameters={"divisor": DIVISOR, "count": 40})
    assert bench.passed, bench.failures
    assert (bench.report["sent"], bench.report["framing"]) == (40, 0)
    assert "SB_RAM40_4K" in text


@pytest.mark.long
def test_an_accelerator_out_of_an_ice40_bitstream_runs_its_program_and_a_loaded_one(
        yosys, verilator, tmp_path):
    pytest.importorskip("serial")
    need(ICE40)
    graphs, images = [small_graph(channels=2, seed=seed) for seed in (5, 6)], small_images(2)
    config = SMALL.changed(overlap=False)
    config = specialise(config, *(compile_graph(graph, config, 1) for graph in graphs))
    first, second = (compile_graph(graph, config, 1) for graph in graphs)
    contents = contents_of(first, config)
    text = logic(cached_verilog(config, DIVISOR, contents=contents), PINS, tmp_path)
    with emulated(config, divisor=DIVISOR, verilog=text) as (port, _):
        with connect(first, port, config=config, timeout_s=60, loaded=True) as device:
            outputs = [device.infer(images)]
            with pytest.raises(DeviceError, match="holds another program"):
                device.start(second, loaded=True)
            device.start(second)
            outputs.append(device.infer(images))
    for graph, values in zip(graphs, outputs, strict=True):
        assert np.array_equal(values, execute(graph, images.astype(np.int64)))
        assert len(np.unique(values)) > 8
    assert not np.array_equal(*outputs)
