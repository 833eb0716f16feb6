"""Accelerators whose memories hold a program from configuration on."""

import itertools
import re

import numpy as np
import pytest

from bench.random_networks import CONFIGS, draw_cases
from pyhw.compiler import compile_graph
from pyhw.contents import contents_of
from pyhw.errors import UserError
from pyhw.families import FAMILIES
from pyhw.fitter.memories import in_blocks
from pyhw.graph.execute import run as execute
from pyhw.hdl.contents import NOTHING, Contents
from pyhw.hdl.isa import Space
from pyhw.host import DeviceError
from pyhw.simulation.network import Case, simulate
from pyhw.synthesis.netlist import netlist
from pyhw.verilog import cached_verilog
from tests.pyhw.cli.test_input import small_graph, small_images
from tests.pyhw.test_netlist import SMALL


def small_case(seed=5):
    graph = small_graph(channels=2, seed=seed)
    return Case(graph=graph, program=compile_graph(graph, SMALL, 1), images=small_images(2))


def test_words_come_from_their_bytes_and_gaps_are_zero():
    contents = Contents(((Space.PARAMS, 2, b"\5\6\7\x08"), (Space.TABLES, 0, b"xyz"),
                         (Space.PARAMS, 0, b"\1\2")))
    assert contents.words(Space.PARAMS, 2) == [0x0201, 0, 0x0605, 0x0807]
    assert contents.words(Space.TABLES, 1) == list(b"xyz")
    assert contents.words(Space.WEIGHTS, 4) == []
    assert NOTHING.words(Space.TABLES, 1) == []


def test_a_program_for_another_configuration_is_refused():
    with pytest.raises(DeviceError, match="compiled for another configuration"):
        contents_of(small_case().program, SMALL.changed(terms=2))


@pytest.mark.parametrize("interface", ["bytes", "axi"])
def test_a_program_runs_that_was_never_loaded(interface, icarus):
    case = small_case()
    verilog = cached_verilog(SMALL, interface=interface, contents=contents_of(case.program, SMALL))
    result = simulate([case], SMALL, verilog=verilog, simulator=icarus, loaded=True)[0]
    assert result.difference is None
    assert np.array_equal(result.outputs, execute(case.graph, case.images.astype(np.int64)))
    assert len(np.unique(result.outputs)) > 8


def test_no_program_and_another_program_are_told_apart(icarus):
    case, other = small_case(), small_case(seed=6)
    for contents, reason in ((NOTHING, "holds no program"),
                             (contents_of(other.program, SMALL), "holds another program")):
        with pytest.raises(UserError, match=reason):
            simulate([case], SMALL, verilog=cached_verilog(SMALL, contents=contents),
                     simulator=icarus, loaded=True)


def test_another_program_can_still_be_loaded(icarus):
    case, other = small_case(), small_case(seed=6)
    verilog = cached_verilog(SMALL, contents=contents_of(other.program, SMALL))
    assert simulate([case], SMALL, verilog=verilog, simulator=icarus)[0].difference is None


@pytest.mark.long
def test_index_lists_tables_and_prototypes_need_no_loading(verilator):
    config = CONFIGS["masked"]
    [case] = draw_cases(config, itertools.count(128), 1)
    assert {space for space, _, _ in case.program.sections} == set(Space) - {Space.SCRATCH,
                                                                             Space.COUNTERS}
    verilog = cached_verilog(config, contents=contents_of(case.program, config))
    result = simulate([case], config, verilog=verilog, simulator=verilator, loaded=True)[0]
    assert result.difference is None


@pytest.mark.slow
@pytest.mark.parametrize("family", [
    family if family == "ice40" else pytest.param(family, marks=pytest.mark.long)
    for family in FAMILIES
])
def test_a_synthesised_accelerator_runs_a_program_that_was_never_loaded(family, yosys, icarus):
    case = small_case()
    config = in_blocks(SMALL, family)
    text = netlist(cached_verilog(config, contents=contents_of(case.program, config)), "top",
                   family)
    result = simulate([case], config, verilog=text, simulator=icarus, loaded=True)[0]
    assert result.difference is None
    # Distributed RAM would come out of Gowin's packer without its contents.
    assert not re.search(r"\.INIT_\d\(16'h0*[1-9a-f]", text)
