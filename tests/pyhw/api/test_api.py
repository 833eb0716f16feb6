"""The functions of `import pyhw`: lazy, and together a path whose outputs are compared."""

import numpy as np
import pytest

import pyhw
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


def test_images_of_another_shape_are_refused():
    graph = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw")
    program = pyhw.compile(graph, pyhw.preset("tiny"))
    with pytest.raises(UserError, match="shape"):
        pyhw.simulate(graph, program, np.zeros((1, 5, 5), np.uint8))
