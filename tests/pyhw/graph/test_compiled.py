"""The executor's compiled kernels against numpy, and numpy where there is no compiler."""

import platform

import numpy as np
import pytest

from pyhw import MODELS, native
from pyhw.graph import compiled
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import load
from pyhw.graph.ops import Conv, Graph, Input, Post, Step
from pyhw.graph.random import Limits, random_graph
from pyhw.hdl.formats import Format

FLAGS = set(native._processor().split())
PROCESSORS = {"this processor": ()}
"""Those that this one can stand for, by what the compiler is told."""
if platform.machine() in ("x86_64", "AMD64"):
    PROCESSORS["no vectors of our own"] = ("-march=x86-64",)
if {"avx2", "bmi2", "fma"} <= FLAGS:
    PROCESSORS["AVX2"] = ("-march=x86-64-v3",)


@pytest.fixture(params=PROCESSORS)
def library(request, monkeypatch):
    """Compile the kernels for a processor, and let them run."""
    found = compiled._open(*PROCESSORS[request.param])
    monkeypatch.setattr(compiled, "_load", lambda: (found, ""))


@pytest.mark.usefixtures("library")
def test_every_value_of_random_networks_equals_numpy():
    for seed in range(40):
        graph, images = random_graph(seed, Limits(max_side=12, max_channels=40, work=60000))
        fast, slow = run_layers(graph, images), run_layers(graph, images, compiled=False)
        assert fast.keys() == slow.keys()
        for name, values in slow.items():
            assert np.array_equal(fast[name], values), f"seed {seed}, {name}"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("term", ["l1", "shift"])
def test_one_channel_of_one_is_no_depthwise_layer(term):
    rng = np.random.default_rng(4)
    shape, zero = (1, 3, 3, 1), np.zeros(1, int)
    weights = {"weight": rng.integers(0, 99, shape)} if term == "l1" else {
        "sign": np.ones((1, *shape), int), "exponent": rng.integers(0, 5, (1, *shape)),
        "code_width": 4}  # fmt: skip
    post = Post(Step([[1]], [[0]], zero, zero, Format(24, True)))
    conv = Conv(name="c", input="x", term=term, padding=(1, 1, 1, 1), post=post, **weights)
    graph = Graph("g", (Input(name="x", shape=(3, 6, 1), fmt=Format(8)), conv), "c")
    images = rng.integers(0, 256, (2, 3, 6, 1))
    assert np.array_equal(run(graph, images), run(graph, images, compiled=False))


@pytest.mark.parametrize("name", ["resnet8_adder", "convmixer_256_6_pemn", "ds_cnn_adder"])
def test_trained_shapes_equal_numpy_whatever_the_batch(name):
    graph = load(MODELS / f"{name}.pyhw")
    ends = graph.input.fmt.min, graph.input.fmt.max
    images = np.random.default_rng(1).integers(ends[0], ends[1] + 1, (3, *graph.input.shape))
    expected = run(graph, images, compiled=False)
    for batch in (None, 1, 2):
        assert np.array_equal(run(graph, images, batch=batch), expected)


@pytest.mark.parametrize(("digits", "compiles"), [(1, True), (2, False)])
def test_weights_beyond_16_bits_are_left_to_numpy(monkeypatch, digits, compiles):
    called = []
    products = compiled.Kernels.products
    monkeypatch.setattr(compiled.Kernels, "products",
                        lambda *args: called.append(args) or products(*args))  # fmt: skip
    ones = np.ones((digits, 1, 1, 1, 1), np.int8)
    one, zero = np.ones((1, 1), np.int8), np.zeros(1, np.int8)
    step = Step(one, 0 * one, zero, zero, Format(32, True))
    conv = Conv(name="c", input="x", term="shift", sign=ones, exponent=14 * ones, code_width=5,
                post=Post(step))  # fmt: skip
    graph = Graph("g", [Input(name="x", shape=(1, 1, 1), fmt=Format(8)), conv], "c")
    assert run(graph, np.full((1, 1, 1, 1), 255)).item() == digits * 255 << 14
    assert bool(called) == compiles


def test_without_a_compiler_numpy_runs(monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    compiled._load.cache_clear()
    try:
        assert compiled.status() == "numpy (no C++ compiler found (g++, clang++ or c++))"
        assert compiled.kernels() is None
        graph, images = random_graph(1)
        assert np.array_equal(run(graph, images), run(graph, images, compiled=False))
    finally:
        compiled._load.cache_clear()
