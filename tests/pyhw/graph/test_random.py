from collections import Counter

import numpy as np
import pytest

from pyhw.graph.infer import formats, shapes, types
from pyhw.graph.ops import Conv, Graph, Input, Permute, Pointwise, Pool, Post, Step
from pyhw.graph.random import Limits, random_graph
from pyhw.graph.statistics import distinct_and_saturated, wanted_distinct
from pyhw.hdl.formats import Format


@pytest.fixture(scope="module")
def drawn():
    return [random_graph(seed) for seed in range(120)]


def test_every_layer_uses_its_format(drawn):
    for graph, images in drawn:
        for name, (distinct, saturated) in distinct_and_saturated(graph, images).items():
            assert distinct >= wanted_distinct(formats(graph)[name]), (graph.name, name)
            assert saturated < 0.2, (graph.name, name)


def test_everything_the_contract_allows_is_drawn(drawn):
    seen = Counter()
    for graph, _ in drawn:
        size, types = shapes(graph), formats(graph)
        seen.update(str(fmt) for fmt in types.values())
        for op in graph.ops:
            seen[type(op).__name__] += 1
            if isinstance(op, (Conv, Pool)):
                seen["stride"] += op.stride != (1, 1)
                seen["pad"] += any(op.padding)
                seen["pad value"] += any(op.padding) and op.pad_value is not None
                seen["one pixel"] += size[op.name][:2] == (1, 1)
                seen["whole"] += op.kernel == size[op.input][:2]
                seen["not square"] += op.kernel[0] != op.kernel[1]
            if isinstance(op, Conv):
                seen.update([op.term, f"code {op.code_width}", f"digits {op.digits}"])
                seen["dilation"] += op.dilation != (1, 1)
                seen["groups"] += op.groups > 1
                seen["masked"] += op.prototype is not None
                seen["ex"] += op.ex > 0
                seen["ew"] += op.ew > 0
            if isinstance(op, Pool):
                seen[op.kind] += 1
            if isinstance(op, (Conv, Pool, Pointwise)):
                post = op.post
                seen["table"] += post.table is not None
                seen["second"] += post.second is not None
                seen["residual"] += post.residual is not None
                seen["residual2"] += post.residual2 is not None
                seen["wide"] += 8 < post.format.width <= 16
                seen["logits"] += post.format.width > 16
                seen["negative m"] += any(s[0].min() < 0 for s in [post.first.m_sign])
                seen["zero m"] += bool((post.first.m_sign == 0).all(axis=0).any())
                for name in post.residuals:
                    seen["signed into unsigned"] += types[name].signed and not post.format.signed
    wanted = [
        "masked",
        "Conv", "Pool", "Pointwise", "Concat", "Permute", "l1", "shift", "sum", "max", "stride",
        "pad", "pad value", "one pixel", "whole", "not square", "dilation", "groups", "ex", "ew",
        "table", "second", "residual", "residual2", "wide", "logits", "negative m", "zero m",
        "signed into unsigned", *(f"code {w}" for w in (3, 4, 5)),
        *(f"digits {k}" for k in range(1, 6)),
        *(f"{sign}{width}" for sign in "us" for width in range(2, 9)),
    ]  # fmt: skip
    assert [feature for feature in wanted if not seen[feature]] == []


def test_a_seed_gives_one_network():
    (first, images), (again, same) = random_graph(7), random_graph(7)
    assert first == again
    np.testing.assert_array_equal(images, same)
    assert first != random_graph(8)[0]


def test_limits_hold():
    limits = Limits(
        max_ops=2, max_side=5, max_channels=6, max_images=18, engines=("l1",),
        code_widths={"l1": (5,)}, acc_width=13,
        terms=1, groups=False, dilation=False, pools=False, pointwise=False,
        concat=False, permute=False, residual=False, second=False, tables=False, wide=False,
        logits=False,
    )  # fmt: skip
    for seed in range(25):
        graph, images = random_graph(seed, limits)
        assert len(graph.ops) <= 3
        assert len(images) <= 18
        for op in graph.ops[1:]:
            assert isinstance(op, Conv)
            assert op.term == "l1"
            assert op.groups == 1
            assert op.dilation == (1, 1)
            assert op.post.residuals == ()
            assert op.post.first.m_sign.shape[0] == 1
            assert op.post.table is None
            assert op.post.second is None
            assert op.post.format.width <= 8
            assert np.abs(op.weight).max() < 32
            assert max(shapes(graph)[op.name]) <= 9
            low, _ = op.partial_bounds(types(graph)[op.input])
            assert low.min() > -(1 << 13)


def test_saturation_is_measured_before_the_clamp_and_in_both_steps():
    def step(fmt, bias):
        return Step([[1]], [[0]], [bias], [0], fmt)

    images = np.arange(8, dtype=np.int16).reshape(1, 8, 1, 1)
    image = Input(name="x", shape=(8, 1, 1), fmt=Format(3))
    for post, share in (
        (Post(step(Format(3), 0)), 0.0),  # 0 and 7 are results, not clamped ones
        (Post(step(Format(3), 2)), 0.25),
        (Post(step(Format(4), -1), second=step(Format(3), 0)), 0.125),
        (Post(step(Format(4), 0), second=step(Format(3), 3)), 0.375),
        (Post(step(Format(4), 0), np.full(256, 7), Format(3), step(Format(3), 1)), 1.0),
    ):
        graph = Graph("g", (image, Pointwise(name="p", input="x", post=post)), "p")
        assert distinct_and_saturated(graph, images)["p"][1] == share
    shuffled = Graph("g", (image, Permute(name="p", input="x", index=np.arange(8))), "p")
    assert distinct_and_saturated(shuffled, images) == {}
