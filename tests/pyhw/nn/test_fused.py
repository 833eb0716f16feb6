"""The kernels for GPUs, run by Triton's interpreter: ``make check-gpu``."""

import os

import numpy as np
import pytest
import torch

from pyhw.nn import AdderConv2d, compiled, fused, plain
from tests.support.adder_cases import CASES, operands, random_case

pytestmark = pytest.mark.triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MORE = [random_case(np.random.default_rng(seed)) for seed in range(20)]


@pytest.fixture(autouse=True)
def interpreter():
    """Refuse to pass without having run a kernel."""
    if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.fail("without a GPU these tests run with TRITON_INTERPRET=1 only: make check-gpu")


@pytest.mark.parametrize("case", CASES + MORE)
def test_sums_and_gradients_equal_the_plain_form(case):
    x, weight, gradient = (part.to(DEVICE) for part in operands(case))
    assert fused.usable(x, weight)
    assert torch.equal(fused.forward(x, weight, case.geometry),
                       plain.forward(x, weight, case.geometry))  # fmt: skip
    assert torch.equal(fused.grad_input(x, weight, gradient, case.geometry),
                       plain.grad_input(x, weight, gradient, case.geometry))  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_passed_on_as_by_the_plain_form(value):
    x, weight, gradient = (part.to(DEVICE) for part in operands(CASES[2]))
    x[0, 0, 1, 1] = weight[1, 1] = value
    geometry = CASES[2].geometry
    for found, wanted in (
        (fused.forward(x, weight, geometry), plain.forward(x, weight, geometry)),
        (fused.grad_input(x, weight, gradient, geometry),
         plain.grad_input(x, weight, gradient, geometry)),
    ):  # fmt: skip
        assert torch.equal(found.isfinite(), wanted.isfinite())
        assert torch.equal(found.isnan(), wanted.isnan())


def test_layers_use_them_and_other_types_do_not(monkeypatch):
    layer = AdderConv2d(3, 4, 3, padding=1).to(DEVICE)
    x = torch.randn(2, 3, 5, 5, device=DEVICE)
    called = []
    forward = fused.forward
    monkeypatch.setattr(fused, "forward", lambda *args: called.append(args) or forward(*args))
    layer(x).sum().backward()
    assert called
    assert not fused.usable(x.double(), layer.weight.double())
    monkeypatch.setenv("PYHW_KERNEL", "plain")
    assert not fused.usable(x, layer.weight)
    if DEVICE == "cpu":
        monkeypatch.delenv("PYHW_KERNEL")
        monkeypatch.delenv("TRITON_INTERPRET")
        assert not fused.usable(x, layer.weight)
        assert compiled.usable(x, layer.weight) == (compiled.status() == "compiled")
