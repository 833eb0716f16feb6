"""The script that converts a CNN of one's own does what it says."""

import runpy

import torch

from pyhw.graph.file import load
from tests.support import ROOT

SCRIPT = ROOT / "docs" / "convert_your_cnn.py"


def test_the_script_ends_in_a_quantised_graph_that_still_knows_its_digits(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    try:
        accuracy = runpy.run_path(str(SCRIPT))["main"]("adder", 4)
    finally:
        torch.set_rng_state(state)
    assert accuracy > 40  # after 4 of 20 epochs
    graph = load(tmp_path / "my_cnn.pyhw")
    assert [op.term for op in graph.ops if hasattr(op, "term")] == ["shift", "l1", "l1", "shift"]
    out = capsys.readouterr().out
    assert "conv1: Conv2d -> AdderConv2d" in out
    assert f"8-bit {accuracy:.2f} %" in out
