# amaranth: UnusedElaboratable=no
"""The adder tree: any number of operands, widths that never wrap, the promised latency."""

import random

import pytest
from amaranth.hdl import Module, Shape, Signal
from amaranth.sim import Simulator

from pyhw.hdl.common.adder_tree import adder_tree, tree_latency

COUNTS = [1, 2, 3, 5, 7, 8, 20, 24, 33]


def edge_vectors(rng, shape, count):
    low = -(1 << shape.width - 1) if shape.signed else 0
    high = (1 << shape.width - shape.signed) - 1
    yield [low] * count
    yield [high] * count
    for _ in range(20):
        yield [rng.randint(low, high) for _ in range(count)]


@pytest.mark.parametrize("register_every", [0, 1, 2, 3])
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("count", COUNTS)
def test_sum_comes_after_the_latency(count, is_signed, register_every):
    shape, m = Shape(5, is_signed), Module()
    operands = [Signal(shape, name=f"operand{i}") for i in range(count)]
    total, latency = adder_tree(m, operands, register_every)
    assert latency == tree_latency(count, register_every)
    clock = Signal()
    m.d.sync += clock.eq(~clock)  # so that there is a clock even without registers
    vectors = list(edge_vectors(random.Random(count), shape, count))
    seen = []

    async def bench(ctx):
        for vector in vectors + [vectors[0]] * latency:
            for operand, value in zip(operands, vector):
                ctx.set(operand, value)
            if latency == 0:
                await ctx.delay(1e-9)
                seen.append(ctx.get(total))
                continue
            await ctx.tick()
            seen.append(ctx.get(total))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[max(latency - 1, 0):][:len(vectors)] == [sum(vector) for vector in vectors]


@pytest.mark.parametrize(("count", "shape", "width"), [
    (1, Shape(8), 8), (2, Shape(8), 9), (3, Shape(8), 10), (16, Shape(8), 12), (24, Shape(8), 13),
    (2, Shape(5, True), 6), (16, Shape(15, True), 19), (3, Shape(1), 2)])
def test_sum_is_as_wide_as_its_range(count, shape, width):
    total, _ = adder_tree(Module(), [Signal(shape) for _ in range(count)])
    assert len(total) == width
    assert total.shape().signed == shape.signed


def test_latency_counts_registers_and_not_levels():
    assert [tree_latency(32, every) for every in (0, 1, 2, 3, 9)] == [0, 5, 3, 2, 1]
    assert [tree_latency(count) for count in (1, 2, 3, 7, 24)] == [0, 1, 2, 3, 5]


def test_refuses_no_operands():
    with pytest.raises(ValueError, match="at least one operand"):
        adder_tree(Module(), [])


def test_refuses_mixed_signs():
    with pytest.raises(ValueError, match="all signed or all unsigned"):
        adder_tree(Module(), [Signal(3), Signal(Shape(3, True))])


@pytest.mark.parametrize("value", [-1, 1.5, None])
def test_refuses_a_wrong_register_distance(value):
    with pytest.raises(ValueError, match="register_every must be"):
        tree_latency(4, value)
