"""A whole accelerator in a system: networks over AXI streams, registers beside them."""

import numpy as np
import pytest

from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.execute import run as execute
from pyhw.hdl.config import ISA_VERSION
from pyhw.hdl.config_file import config_to_json
from pyhw.hdl.frames import FRAME_VERSION
from pyhw.hdl.registers import IDENTITY, MAP_VERSION, REGISTERS, Access
from pyhw.simulation.launch import run_bench
from pyhw.simulation.network import Case, simulate
from pyhw.verilog import cached_verilog
from tests.pyhw.cli.test_input import FEW_LANES, TINY, small_graph, small_images

IDENTITIES = {
    "ID": {"id": IDENTITY}, "VERSION": {"isa": ISA_VERSION, "frame": FRAME_VERSION,
                                        "map": MAP_VERSION},
    "HASH0": {"hash": int.from_bytes(TINY.hash[:4], "little")},
    "HASH1": {"hash": int.from_bytes(TINY.hash[4:], "little")},
    "LIMITS": {"groups": TINY.groups, "zero": 0, "max_payload": TINY.port.max_payload},
}
IDLE = {"running": 0, "program": 0, "zero": 0, "layers_done": 0}


@pytest.mark.parametrize(("gap", "stall"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3)])
def test_a_network_over_axi_equals_the_executor_while_registers_are_read(verilator, gap, stall):
    graph, images = small_graph(), small_images(10)
    program = compile_graph(graph, TINY, 4)
    result = simulate([Case(graph=graph, program=program, images=images)], TINY,
                      verilog=cached_verilog(TINY, interface="axi"), simulator=verilator,
                      gap=gap, stall=stall)[0]
    assert result.difference is None
    assert np.array_equal(result.outputs, execute(graph, images.astype(np.int64)))
    assert len(np.unique(result.outputs)) > 30
    report = result.bench.report
    assert {name: report["first"][name] for name in IDENTITIES} == IDENTITIES
    assert report["first"]["STATUS"] == IDLE
    assert report["last"]["STATUS"] == IDLE | {"program": 1, "layers_done": 1}
    assert report["last"]["RUNS"] == {"runs": 3}
    assert report["seen"]["running"] > 3
    assert 0 < report["seen"]["cycles"] <= result.counters[0]["CYCLES"] + 1
    assert report["packets"] > 20


def test_a_network_over_axi_in_icarus(icarus):
    graph, images = small_graph(), small_images(2)
    program = compile_graph(graph, FEW_LANES, 1)
    result = simulate([Case(graph=graph, program=program, images=images)], FEW_LANES,
                      verilog=cached_verilog(FEW_LANES, interface="axi"), simulator=icarus,
                      gap=0.1, stall=0.1)[0]
    assert result.difference is None


@pytest.fixture(scope="module", params=[0.0, 0.4])
def report(request, tmp_path_factory):
    """Return what the bench of the registers found, without and with pauses on AXI4-Lite."""
    request.getfixturevalue("find_verilator_once")
    folder = tmp_path_factory.mktemp("registers")
    graph = small_graph()
    program = compile_graph(graph, TINY, 4)
    program.save(folder / "program")
    (folder / "config").write_text(config_to_json(TINY))
    np.save(folder / "images.npy", small_images(4).reshape(4, -1))
    bench = run_bench(
        verilog=cached_verilog(TINY, interface="axi"), bench="pyhw.sim.tb_axi",
        testcase="registers",
        parameters={"config": str(folder / "config"), "program": str(folder / "program"),
                    "images": str(folder / "images.npy"), "pause": request.param})
    assert bench.passed, bench.failures
    return bench.report


@pytest.fixture(scope="module")
def find_verilator_once():
    from pyhw.simulation.launch import find_simulator
    from tests.conftest import require

    require(lambda: find_simulator("verilator"))


def test_every_address_is_answered_as_the_map_says(report):
    known = {str(register.address): register for register in REGISTERS}
    for place, answer in report["reads"].items():
        assert answer == ("OKAY" if place in known else "DECERR"), place
    for place, answer in report["writes"].items():
        if place not in known:
            assert answer == "DECERR", place
        else:
            read_only = known[place].access == Access.READ
            assert answer == ("SLVERR" if read_only else "OKAY"), place
    assert len(report["reads"]) == len(REGISTERS) + 3


def test_registers_that_are_read_only_do_not_change(report):
    assert report["before"] == report["after"]
    assert {name: report["after"][name] for name in IDENTITIES} == IDENTITIES


def test_byte_enables_are_obeyed(report):
    # The second byte has no field; the first one has it in bit 0.
    assert report["lanes"] == [0, 1, 1, 0]


def test_the_interrupt_comes_with_the_end_of_a_run_until_it_is_cleared(report):
    assert report["levels"] == [["loaded", 0, 0], ["disabled", 0, 1], ["enabled", 1, 1],
                                ["cleared", 0, 0], ["run", 1, 1], ["cleared again", 0, 0]]


def test_cycles_and_runs_are_those_of_the_counters(report):
    assert report["cycles"] == report["counted"]["CYCLES"]
    assert report["runs"] == 1


def test_a_soft_reset_stops_a_run_and_forgets_the_program(report):
    assert report["running"]["running"] == 1
    assert report["stopped"]["STATUS"] == IDLE
    assert report["stopped"]["RUNS"] == {"runs": 0}
    assert report["stopped"]["IRQ_PENDING"] == {"run_end": 0}
    assert report["stopped"]["IRQ_ENABLE"] == {"run_end": 1}


def test_a_reply_that_a_soft_reset_cuts_off_ends_with_a_packet(report):
    assert report["held"] == [1, 0], "the byte that was offered must stay as it was"
    cut = bytes.fromhex(report["cut"])
    assert cut.startswith(b"\xa5\x5a\x01\x4d")
    assert cut.endswith(b"\0")
    assert len(cut) < 25, "the reply was not cut off"


def test_after_soft_resets_all_works_as_at_first(report):
    assert report["hash"] == TINY.hash.hex()
    expected = execute(small_graph(), small_images(4).astype(np.int64))
    assert np.array_equal(np.array(report["output"]), expected)
    assert report["last"]["RUNS"] == {"runs": 1}
    assert report["last"]["STATUS"]["program"] == 1


def test_a_serial_line_is_no_interface_for_networks():
    graph = small_graph()
    case = Case(graph=graph, program=compile_graph(graph, TINY, 1), images=small_images(1))
    text = f"// pyhw, configuration {TINY.hash.hex()}\n// interface: serial\n"
    with pytest.raises(UserError, match=r"must be simulated on .* bytes or axi, not 'serial'"):
        simulate([case], TINY, verilog=text)
