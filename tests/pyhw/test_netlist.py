"""What synthesis makes of an accelerator runs a network like the accelerator itself."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from amaranth import Cat, Module, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from pyhw.cli import main as cli
from pyhw.compiler import compile_graph
from pyhw.errors import MissingTool
from pyhw.families import FAMILIES
from pyhw.families.family import BLOCK_RAMS
from pyhw.fitter.memories import in_blocks
from pyhw.graph.execute import run as execute
from pyhw.graph.file import save
from pyhw.hdl.config import Config, EngineConfig
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.isa import Space
from pyhw.hdl.memory.program_memories import ProgramMemories
from pyhw.simulation.launch import run_bench
from pyhw.simulation.network import Case, simulate
from pyhw.synthesis.netlist import cell_models, netlist
from pyhw.synthesis.yosys import to_rtlil
from pyhw.tools import Tool, find_yosys
from pyhw.verilog import cached_verilog
from tests.pyhw.cli.test_input import small_graph, small_images

SMALL = Config.of(
    name="small", l1=EngineConfig(rows=1, lanes=2, code_width=8, acc_width=16), pool_lanes=1,
    pool_max=False, burst_depth=4, load_bits=16, tables=0, residual_terms=0,
    second_step=False, scratch_bytes=256, weight_words=64, param_records=4, program_words=64,
    max_payload=64, distributed=False)
"""As small as it can be, so that its netlist is quick in Icarus."""


@pytest.fixture(scope="module")
def network():
    graph = small_graph(channels=2)
    return graph, small_images(1)


@pytest.mark.slow
@pytest.mark.parametrize("family", [
    family if family == "ice40" else pytest.param(family, marks=pytest.mark.long)
    for family in FAMILIES
])
def test_a_synthesised_accelerator_runs_a_network_as_the_executor(family, network, yosys, icarus):
    graph, images = network
    config = in_blocks(SMALL, family)
    text = netlist(cached_verilog(config), "top", family)
    result = simulate(
        [Case(graph=graph, program=compile_graph(graph, config, 1), images=images)], config,
        verilog=text, simulator=icarus)[0]
    assert result.difference is None
    assert np.array_equal(result.outputs, execute(graph, images.astype(np.int64)))
    assert len(np.unique(result.outputs)) > 8


BYTES = 512


class Store(wiring.Component):
    """Take `BYTES` bytes into block RAM with words of a width, give them back, and so on.

    Narrow words lie side by side in as many memories; wide ones are written byte by byte.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def __init__(self, width):
        self._width = width
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        width = self._width
        lanes, bits = max(1, width // 8), width // (width // 8 or 1)
        filled, emptied = Signal(range(BYTES + 1)), Signal(range(BYTES + 1))
        asked, lane = Signal(), Signal(range(lanes))
        take = Signal()
        m.d.comb += [self.i.ready.eq(filled != BYTES), take.eq(self.i.valid & self.i.ready)]
        words = []
        for part in range(max(1, 8 // width)):
            # Deep enough to be a block RAM, and with bytes of nine bits the last one in use.
            m.submodules[f"ram{part}"] = ram = memory.Memory(
                shape=width, depth=max(BYTES // lanes, 16384 // width), init=[],
                attrs={"ram_style": "block", "no_rw_check": 1})
            write = ram.write_port(granularity=bits if width > bits else None)
            read = ram.read_port(transparent_for=())
            byte = Cat(self.i.payload, self.i.payload.xor()) if bits == 9 else (
                self.i.payload if bits == 8 else self.i.payload.word_select(part, width))
            m.d.comb += [
                write.addr.eq(filled // lanes), read.addr.eq(emptied // lanes),
                write.data.eq(Value.cast(byte).replicate(lanes)),
                write.en.eq(take << (filled % lanes) if lanes > 1 else take),
                read.en.eq(~asked | self.o.ready),
            ]
            words.append(read.data)
        m.d.sync += filled.eq(filled + take)
        with m.If((filled == BYTES) & (~asked | self.o.ready)):
            m.d.sync += [asked.eq(emptied != BYTES), lane.eq(emptied % lanes),
                         emptied.eq(emptied + 1)]
            with m.If(emptied == BYTES):
                m.d.sync += [filled.eq(0), emptied.eq(0)]
        word = Cat(words)
        got = Signal(bits if width >= 8 else 8)
        m.d.comb += [got.eq(word.word_select(lane, bits) if lanes > 1 else word),
                     self.o.valid.eq(asked),
                     self.o.payload.eq(got[:8])]
        if bits == 9:
            m.d.comb += self.o.payload.eq(got[:8] ^ (got[8] ^ got[:8].xor()).replicate(8))
        return m


class Weights(wiring.Component):
    """Do the same with the weights of `ProgramMemories`, in a memory of one port."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def __init__(self, width):
        self._lanes = width // 8
        self._config = SMALL.changed(load_bits=width, single_port=True, overlap=False,
                                           weight_words=BYTES // self._lanes)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.memories = memories = ProgramMemories(self._config)
        filled, emptied, asked = Signal(range(BYTES + 1)), Signal(range(BYTES + 1)), Signal()
        m.d.comb += [
            self.i.ready.eq(filled != BYTES),
            memories.i_write.space.eq(Space.WEIGHTS),
            memories.i_write.address.eq(filled // self._lanes),
            memories.i_write.lane.eq(filled % self._lanes),
            memories.i_write.data.eq(self.i.payload),
            memories.i_write_valid.eq(self.i.valid & self.i.ready),
            memories.i_weights_address.eq(emptied // self._lanes),
            memories.i_weights_enable.eq(~asked),
            self.o.valid.eq(asked),
            self.o.payload.eq(memories.o_weights_data.word_select(emptied % self._lanes, 8)),
        ]
        m.d.sync += filled.eq(filled + memories.i_write_valid)
        with m.If(filled == BYTES):
            m.d.sync += asked.eq(1)
            with m.If(asked & self.o.ready):
                m.d.sync += [asked.eq(0), emptied.eq(emptied + 1)]
                with m.If(emptied == BYTES - 1):
                    m.d.sync += [filled.eq(0), emptied.eq(0)]
        return m


class Chain(wiring.Component):
    """Bytes through stores of several widths."""

    def __init__(self, widths, kind=Store):
        self._widths, self._kind = widths, kind
        super().__init__({
            "rx_payload": In(8), "rx_valid": In(1), "rx_ready": Out(1), "tx_payload": Out(8),
            "tx_valid": Out(1), "tx_ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        stores = [self._kind(width) for width in self._widths]
        for store in stores:
            m.submodules += store
        for before, after in itertools.pairwise(stores):
            wiring.connect(m, before.o, after.i)
        first, last = stores[0].i, stores[-1].o
        m.d.comb += [
            first.payload.eq(self.rx_payload), first.valid.eq(self.rx_valid),
            self.rx_ready.eq(first.ready), self.tx_payload.eq(last.payload),
            self.tx_valid.eq(last.valid), last.ready.eq(self.tx_ready)]
        return m


@pytest.mark.slow
@pytest.mark.parametrize(("family", "widths"), [
    ("ecp5", (1, 4, 9, 18, 36)), ("gowin", (1, 2, 8, 16, 32, 36)), ("ice40", (2, 4, 8, 16)),
    ("gatemate", (1, 2, 4, 8, 16, 32))])
def test_block_rams_of_all_widths_keep_what_is_written(family, widths, yosys, icarus):
    text = netlist(to_rtlil(Chain(widths)), "top", family)
    cells = [name for name in FAMILIES[family].kinds_of(BLOCK_RAMS) if f"  {name} #(" in text]
    assert cells, "the memories must be block RAMs"
    bench = run_bench(verilog=text, bench="pyhw.sim.tb_stream_echo", simulator=icarus,
                      testcase="bytes_come_back_in_order",
                      parameters={"count": 2 * BYTES, "gap": 0.1, "stall": 0.1})
    assert bench.passed, bench.failures


@pytest.mark.slow
def test_single_port_rams_of_all_widths_keep_what_is_written(yosys, icarus, monkeypatch):
    monkeypatch.setitem(FAMILIES, "ice40", dataclasses.replace(
        FAMILIES["ice40"], command="synth_ice40 -device u -spram"))
    design = re.sub(r"^  cell \$meminit_v2 .*?^  end\n", "", to_rtlil(Chain((8, 16, 32), Weights)),
                    flags=re.M | re.S)
    text = netlist(design, "top", "ice40")
    assert len(re.findall(r"^  SB_SPRAM256KA ", text, re.M)) == 1 + 1 + 2
    bench = run_bench(verilog=text, bench="pyhw.sim.tb_stream_echo", simulator=icarus,
                      testcase="bytes_come_back_in_order",
                      parameters={"count": 2 * BYTES, "gap": 0.1, "stall": 0.1})
    assert bench.passed, bench.failures


def test_pyhw_simulate_runs_a_netlist(network, yosys, icarus, tmp_path, monkeypatch, capsys):
    graph, images = network
    monkeypatch.chdir(tmp_path)
    save(graph, "net.pyhw")
    np.save("images.npy", images)
    (tmp_path / "small.json").write_text(config_to_json(SMALL))
    asked = []
    monkeypatch.setattr("pyhw.synthesis.netlist.netlist",
                        lambda text, top, family: asked.append((top, family)) or text)
    assert cli.main(["simulate", "net.pyhw", "--config", "small.json", "--data", "images.npy",
                     "--images", "1", "--batch", "1", "--netlist", "ecp5", "--simulator",
                     "icarus"]) == 0
    assert asked == [("top", "ecp5")]
    assert "0 differences" in capsys.readouterr().out


def test_a_netlist_for_another_family_is_refused(network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(network[0], "net.pyhw")
    assert cli.main(["simulate", "net.pyhw", "--netlist", "nexus"]) != 0
    assert "family must be one of ecp5, gatemate, gowin, ice40, not" in capsys.readouterr().err


def test_a_yosys_without_its_models_is_named(tmp_path):
    tool = Tool(name="yosys", command=(str(tmp_path / "bin" / "yosys"),), version="1",
                origin=str(tmp_path / "bin" / "yosys"))
    with pytest.raises(MissingTool, match="the cell models of Yosys"):
        cell_models(FAMILIES["ecp5"], tool, "")


def test_only_models_that_are_used_come_along(yosys):
    text = cell_models(FAMILIES["ecp5"], find_yosys(), "LUT4 x (); DP16KD y ();")
    names = re.findall(r"^module (\w+)", text, re.M)
    assert sorted(names) == ["DP16KD", "LUT4", "pyhw_block_ram"]
