"""Every form of the adder convolution against the equations, to the last bit."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve the other tests

import numpy as np
import pytest
import torch

from pyhw.nn import compiled, plain
from pyhw.nn.geometry import Geometry
from pyhw.nn.reference import adder_forward, adder_gradients
from tests.support.adder_cases import CASES, KERNELS, kernel_of, operands, random_case

DEPTHWISE = CASES[10]


def _loops(case, sign):
    """Forward and both gradients by the equations, one scalar at a time."""
    x, weight, gradient = (t.numpy() for t in operands(case, torch.float64))
    geometry = case.geometry
    (down, across), (top, left) = geometry.stride, geometry.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    y, grad_padded, grad_weight = (np.zeros_like(a) for a in (gradient, padded, weight))
    for n, o, row, column in np.ndindex(y.shape):
        first = o // (case.outputs // geometry.groups) * weight.shape[1]
        for c, i, j in np.ndindex(weight.shape[1:]):
            y_place, x_place = row * down + i * geometry.dilation[0], column * across
            place = n, first + c, y_place, x_place + j * geometry.dilation[1]
            difference = padded[place] - weight[o, c, i, j]
            upstream = gradient[n, o, row, column]
            y[n, o, row, column] -= abs(difference)
            grad_weight[o, c, i, j] += (np.sign(difference) if sign else difference) * upstream
            grad_padded[place] += min(1, max(-1, -difference)) * upstream
    height, width = case.size
    grad_x = grad_padded[:, :, top : top + height, left : left + width]
    return tuple(map(torch.tensor, (y, grad_x, grad_weight)))


def _check(kernel, case, operands):
    """Compare forward and gradients of a kernel with the reference, bit by bit."""
    x, weight, gradient = operands
    geometry = case.geometry
    assert torch.equal(kernel.forward(x, weight, geometry), adder_forward(x, weight, geometry))
    for sign in (False, True):
        grad_x, grad_weight = adder_gradients(x, weight, gradient, geometry, sign)
        found = kernel.grad_weight(x, weight, gradient, geometry, sign)
        assert torch.equal(found, grad_weight)
    assert torch.equal(kernel.grad_input(x, weight, gradient, geometry), grad_x)


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_reference_equals_the_equations_in_loops(case, sign):
    x, weight, gradient = operands(case, torch.float64)
    y, grad_x, grad_weight = _loops(case, sign)
    assert torch.equal(adder_forward(x, weight, case.geometry), y)
    found = adder_gradients(x, weight, gradient, case.geometry, sign)
    assert torch.equal(found[0], grad_x)
    assert torch.equal(found[1], grad_weight)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("case", CASES)
def test_kernel_equals_reference(name, case):
    _check(kernel_of(name), case, operands(case))


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_equals_reference_on_random_cases(name):
    random = np.random.default_rng(0)
    kernel = kernel_of(name)
    for _ in range(40):
        case = random_case(random)
        _check(kernel, case, operands(case))


@pytest.mark.parametrize("case", [CASES[1], CASES[9], DEPTHWISE])
def test_plain_form_takes_double_precision(case):
    x, weight, gradient = operands(case, torch.float64)
    assert not compiled.usable(x, weight)
    _check(plain, case, (x, weight, gradient))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("case", [CASES[1], CASES[9], DEPTHWISE])
def test_memory_layout_does_not_matter(name, case):
    x, weight, gradient = operands(case)
    last = torch.channels_last
    _check(kernel_of(name), case, [t.contiguous(memory_format=last) for t in (x, weight, gradient)])
    gaps = [torch.zeros(*t.shape[:3], 2 * t.shape[3])[..., ::2].copy_(t) for t in (x, weight)]
    _check(kernel_of(name), case, [*gaps, torch.ones(1, 1, 1, 1).expand(gradient.shape)])


@pytest.mark.parametrize("name", KERNELS)
def test_values_of_any_size_are_summed_in_single_precision(name):
    torch.manual_seed(0)
    kernel, geometry = kernel_of(name), CASES[3].geometry
    x, weight, gradient = (torch.randn(t.shape) for t in operands(CASES[3]))
    wide = (x.double(), weight.double())
    found = kernel.forward(x, weight, geometry).double()
    torch.testing.assert_close(found, adder_forward(*wide, geometry), rtol=1e-5, atol=1e-4)
    grad_x, grad_weight = adder_gradients(*wide, gradient.double(), geometry)
    found = kernel.grad_input(x, weight, gradient, geometry).double()
    torch.testing.assert_close(found, grad_x, rtol=1e-5, atol=1e-4)
    found = kernel.grad_weight(x, weight, gradient, geometry).double()
    torch.testing.assert_close(found, grad_weight, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("case", [CASES[3], DEPTHWISE])
def test_plain_form_splits_a_batch_without_changing_it(monkeypatch, case):
    monkeypatch.setattr(plain, "CHUNK", 1)
    _check(plain, case, operands(case))


def test_plain_form_fused_over_outputs_is_the_same():
    for case in (CASES[7], DEPTHWISE):
        x, weight, gradient = operands(case)
        windows = plain._Windows(x, weight, case.geometry)
        for chunk, columns in windows:
            parts = columns, windows.rows, windows.upstream(gradient, chunk)
            expected = adder_gradients(x, weight, gradient, case.geometry, sign=True)[1]
            assert torch.equal(plain._signed(*parts).reshape(weight.shape), expected)
            assert plain._clipped(*parts).shape == columns.shape


def test_number_of_threads_does_not_change_a_bit():
    kernel, threads, results = kernel_of("compiled"), torch.get_num_threads(), []
    x, weight = torch.randn(40, 6, 9, 9), torch.randn(20, 6, 3, 3)
    geometry, gradient = Geometry(), torch.randn(40, 20, 7, 7)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(
                (
                    kernel.forward(x, weight, geometry),
                    kernel.grad_input(x, weight, gradient, geometry),
                    kernel.grad_weight(x, weight, gradient, geometry),
                )
            )
    finally:
        torch.set_num_threads(threads)
    for found in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(found, results[0], strict=True))


def test_nan_reaches_the_output():
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = float("nan")
    y = kernel_of("compiled").forward(x, torch.zeros(1, 1, 3, 3), CASES[0].geometry)
    assert y.isnan().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", range(3), ids=["input", "weight", "gradient"])
@pytest.mark.parametrize("name", KERNELS)
def test_what_is_no_number_is_passed_on(name, place, bad):
    kernel, case = kernel_of(name), CASES[3]
    tensors = operands(case)
    tensors[place].view(-1)[tensors[place].numel() // 2] = bad
    x, weight, gradient = tensors
    geometry = case.geometry
    wanted = adder_forward(x, weight, geometry)
    assert torch.equal(kernel.forward(x, weight, geometry).isfinite(), wanted.isfinite())
    for sign in (False, True):
        grad_x, grad_weight = adder_gradients(x, weight, gradient, geometry, sign)
        found = kernel.grad_weight(x, weight, gradient, geometry, sign)
        # Forms that add up products otherwise may spread it further, but never lose it.
        assert not found.isfinite()[~grad_weight.isfinite()].any()
    found = kernel.grad_input(x, weight, gradient, geometry)
    assert torch.equal(found.isfinite(), grad_x.isfinite())
