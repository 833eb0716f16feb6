"""Operations, traffic and energy of files: counted by hand for LeNet-5."""

import json

import pytest

import pyhw
from pyhw.cli.main import main
from pyhw.energy import ENERGY, OFF_CHIP, ON_CHIP, LayerCost, checkpoint_costs, graph_costs

MODELS = pyhw.MODELS


def test_energy_is_the_sum_of_operations_and_bytes():
    cost = LayerCost(name="a", multiplications=1, additions=2, shifts=3, weight_bytes=4,
                     read_bytes=5, written_bytes=6, number="int8")  # fmt: skip
    assert cost.compute_pj == pytest.approx(0.2 + 2 * 0.03 + 3 * 0.024)
    assert cost.movement_pj == pytest.approx(4 * OFF_CHIP + 11 * ON_CHIP)
    assert ENERGY["float32"]["multiply"] == 3.7


def test_a_checkpoint_is_counted_layer_by_layer():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = {cost.name: cost for cost in checkpoint_costs(MODELS / "lenet5_adder_mnist.pt")}
    first, second = layers["conv1"], layers["conv2"]
    assert first.multiplications == first.additions == 28 * 28 * 150
    assert (first.weight_bytes, first.read_bytes, first.written_bytes) == (
        600, 4 * 784, 4 * 6 * 784,
    )  # fmt: skip
    assert (second.multiplications, second.additions) == (0, 2 * 100 * 2400)
    assert layers["pool1"].read_bytes == 4 * layers["pool1"].written_bytes


def test_a_graph_multiplies_nowhere():
    layers = {cost.name: cost for cost in graph_costs(MODELS / "lenet5_adder_mnist.pyhw")}
    assert not any(cost.multiplications for cost in layers.values())
    assert all(cost.number == "int8" for cost in layers.values())
    assert layers["conv2"].weight_bytes == 2400
    assert layers["conv2"].additions >= 2 * 100 * 2400
    assert layers["conv1"].read_bytes == 784
    assert layers["conv1"].shifts >= 28 * 28 * 150


def test_the_command_prints_totals_and_assumptions(capsys):
    path = str(MODELS / "lenet5_adder_mnist.pyhw")
    assert main(["info", path, "--ops"]) == 0
    printed = capsys.readouterr().out
    assert "\ntotal " in printed
    assert "Horowitz (ISSCC 2014)" in printed
    assert main(["info", path, "--ops", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["layers"][1]["movement_pj"] > 0
    assert len(content["assumptions"]) == 5


def test_a_program_is_referred_to_its_graph(tmp_path, capsys):
    (tmp_path / "a.bin").write_bytes(b"pyhwprog and so on")
    assert main(["info", str(tmp_path / "a.bin"), "--ops"]) == 1
    assert "is a program: count the operations of its graph" in capsys.readouterr().err
