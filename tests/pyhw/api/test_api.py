"""The functions of `import pyhw`: lazy, and together a path whose outputs are compared."""

import numpy as np
import pytest

import pyhw
from pyhw import Built
from pyhw.bitstream.floorplan import floorplan
from pyhw.bitstream.netlist import Placement
from pyhw.boards import find_board
from pyhw.errors import UserError


def test_every_name_is_there_and_others_are_refused():
    for name in pyhw.__all__:
        assert getattr(pyhw, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pyhw.nothing


def test_a_program_tells_its_cycles_and_is_read_back_with_its_configuration(tmp_path):
    graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    program = pyhw.compile(graph, pyhw.preset("tiny"))
    pyhw.save(program, tmp_path / "net.pyhwprog")
    again = pyhw.load(tmp_path / "net.pyhwprog")
    assert again.cycles == program.cycles
    assert f"{program.cycles:,}" in repr(program)
    assert again.config.hash == program.config.hash
    assert "conv1" in program.memory_map()
    assert "<table>" in program._repr_html_()
    assert "<summary>memory map</summary>" in program._repr_html_()


def test_a_build_shows_its_floorplan(tmp_path):
    report = {"board": "ulx3s-85f", "bitstream": "ulx3s-85f.bit", "bytes": 1_000,
              "clock": {"reached_mhz": 61.5, "set_mhz": 50.0},
              "speed": {"images_per_second": 4_000.0},
              "link": {"images_per_second": 98.0, "baud": 1_000_000},
              "resources": {"used": {"LUT4": 100}, "available": {"LUT4": 83_640}}}
    built = Built(tmp_path, report, find_board("ulx3s-85f"))
    assert built.floorplan == ""
    squares = Placement(tiles={(0, 1): {"engines": 3}})
    (tmp_path / "report.html").write_text(f"<p>{floorplan(squares)}</p><svg></svg>")
    assert built.floorplan == floorplan(squares)
    assert built._repr_html_().startswith("<svg ")
    assert "100 of 83,640 LUT4" in repr(built)
    assert built.clock_mhz == 50.0


def test_images_of_another_shape_are_refused():
    graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    program = pyhw.compile(graph, pyhw.preset("tiny"))
    with pytest.raises(UserError, match="shape"):
        pyhw.simulate(graph, program, np.zeros((1, 5, 5), np.uint8))
