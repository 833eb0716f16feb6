"""`pyhw generate` with its interfaces: the files it writes, and what it refuses."""

import re

import numpy as np
import pytest

from pyhw import verilog
from pyhw.cli import main as cli
from pyhw.cli import names
from pyhw.compiler import compile_graph
from pyhw.errors import UserError
from pyhw.graph.file import save
from pyhw.simulation.network import Case, simulate
from tests.pyhw.cli.test_input import TINY, small_graph, small_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ports(text):
    header = re.search(r"^module top\((.*?)\);", text, re.M | re.S)
    return {port.strip() for port in header[1].split(",")}


@pytest.mark.parametrize(("options", "some"), [
    ((), {"clk", "rst", "rx_payload", "tx_ready", "running"}),
    (("--interface", "serial", "--divisor", "12"), {"clk", "rst", "rx", "tx", "overrun"}),
    (("--interface", "axi"), {"aclk", "aresetn", "s_axis_tdata", "m_axis_tlast", "s_axi_awaddr",
                              "interrupt"}),
])
def test_each_interface_has_its_ports_and_says_which_it_is(folder, options, some):
    assert cli.main(["generate", "--preset", "tiny", *options]) == 0
    text = (folder / "tiny.v").read_text()
    assert some <= ports(text)
    assert text.startswith(verilog.first_line(TINY))
    assert verilog.interface_of(text) == (options[1] if options else "bytes")
    assert (folder / "tiny.json").is_file()


def test_names_of_interfaces_are_those_of_the_generator():
    assert [kind.value for kind in names.Interface] == list(verilog.INTERFACES)


@pytest.mark.parametrize(("options", "message"), [
    (("--interface", "serial"), "--interface serial needs --divisor"),
    (("--divisor", "8"), "--divisor is for --interface serial"),
    (("--interface", "axi", "--divisor", "8"), "--divisor is for --interface serial"),
])
def test_a_divisor_without_a_line_and_a_line_without_a_divisor_are_refused(
        folder, capsys, options, message):
    assert cli.main(["generate", "--preset", "tiny", *options]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("options", "message"), [
    ({"interface": "wishbone"}, "must be one of bytes, serial, axi, not 'wishbone'"),
    ({"interface": "axi", "divisor": 8}, "a serial line, and nothing else"),
    ({"interface": "serial"}, "a serial line, and nothing else"),
])
def test_interfaces_that_there_are_not_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        verilog.generate_rtlil(TINY, **options)


@pytest.mark.long
def test_a_program_comes_with_its_configuration_and_is_in_the_verilog(folder, verilator, capsys):
    graph, images = small_graph(), small_images()
    program = compile_graph(graph, TINY, 4)
    program.save("net.pyhwprog")
    assert cli.main(["generate", "--program", "net.pyhwprog", "-o", "net.v"]) == 0
    text = (folder / "net.v").read_text()
    result = simulate([Case(graph=graph, program=program, images=images)], TINY, verilog=text,
                      loaded=True)[0]
    assert result.difference is None
    for options, message in (
            (("--preset", "default"), "the program was compiled for configuration"),
            (("--asic", "chip"), "memories of silicon have no initial contents"),
            (("-o", "net.pyhwprog"), "net.pyhwprog would be both --program and --out")):
        assert cli.main(["generate", "--program", "net.pyhwprog", *options]) != 0
        assert message in capsys.readouterr().err


def test_pyhw_simulate_runs_a_network_over_axi(verilator, folder, capsys):
    save(small_graph(), "net.pyhw")
    np.save("images.npy", small_images())
    assert cli.main(["generate", "--preset", "tiny", "--interface", "axi"]) == 0
    assert cli.main(["simulate", "net.pyhw", "--verilog", "tiny.v", "--data", "images.npy",
                     "--images", "4", "--stalls", "0.2"]) == 0
    assert "144 values compared with the golden executor: 0 differences" in capsys.readouterr().out
