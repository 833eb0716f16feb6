import numpy as np
import pytest

from pyhw.graph.ops import Concat, Conv, Graph, Input, Pool, Post, Step
from pyhw.graph.random import random_graph
from pyhw.graph.summary import summarise
from pyhw.hdl.formats import Format

U8 = Format(8)


def post(channels, **fields):
    one = np.ones((2, channels), int)
    residual = {"r_sign": one, "r_exponent": one} if fields else {}
    step = Step(one, one, np.zeros(channels, int), np.zeros(channels, int), U8, **residual)
    return Post(step, **fields)


@pytest.fixture
def graph():
    ones = np.ones((3, 2, 1, 1, 4), int)
    return Graph(
        "net",
        (
            Input(name="x", shape=(6, 6, 1), fmt=U8),
            Conv(name="a", input="x", term="l1", weight=np.full((2, 3, 3, 1), 4), stride=(2, 2),
                 padding=(1, 1, 1, 1), post=post(2)),
            Pool(name="p", input="a", kind="sum", kernel=(2, 2), stride=(1, 1),
                 padding=(1, 1, 0, 0), pad_value=[1, 2], post=post(2, residual="a")),
            Concat(name="c", inputs=("a", "p")),
            Pool(name="q", input="c", kind="max", kernel=(3, 3), stride=(1, 1), post=post(4)),
            Conv(name="f", input="q", term="shift", sign=ones, exponent=ones, code_width=4,
                 post=post(2)),
        ),
        "f",
    )  # fmt: skip


def test_counts_follow_their_definitions(graph):
    layers = {layer.name: layer for layer in summarise(graph).layers}
    a, p, q, f = (layers[name] for name in "apqf")
    assert (a.kind, a.terms) == ("l1", 3 * 3 * 2 * 9)
    assert a.additions == 2 * a.terms + 9 * 2 * 3  # two terms of m and a bias an output
    assert (a.weights, a.weight_bits) == (18, 18 * 8)
    assert a.acc_width == 13  # -9 * 251 to 0
    assert (p.kind, p.terms) == ("pool", 9 * 2 * 4)
    assert p.additions == p.terms + 9 * 2 * 5
    assert q.terms == 4 * 9
    assert q.additions == 4 * 3  # comparisons are not additions
    assert (f.kind, f.terms, f.shifts) == ("shift", 24, 24)
    assert (f.weights, f.weight_bits) == (8, 8 * 3 * 4)
    assert layers["x"].stored_bytes == 36
    assert layers["c"].acc_width == 0


def test_the_text_names_every_layer_and_the_sums(graph):
    text = summarise(graph).text()
    for part in (
        "conv l1 3x3 stride 2,2 pad 1,1,1,1", "pool sum 2x2 pad 1,1,0,0 + a", "concat a, p",
        "pool max 3x3", "linear shift 3 digits of 4 bits 1x1", "multiplications               0",
        "26  (30 bytes as codes)",
    ):  # fmt: skip
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("seed", range(30))
def test_any_graph_has_a_summary(seed):
    graph, _ = random_graph(seed)
    text = summarise(graph).text()
    assert all(op.name in text for op in graph.ops)
