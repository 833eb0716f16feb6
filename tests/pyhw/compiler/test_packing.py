"""One order of codes in the weight memory, and equal things stored once."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate
from pyhw.compiler.packing import CodeOrder
from pyhw.fitter.needs import needs
from pyhw.fitter.work import sizes_of, stored_once, work_of
from pyhw.graph.execute import run_layers
from pyhw.graph.ops import Pool, Post
from pyhw.hdl.isa import Space, param_layout
from tests.pyhw.compiler.test_compiler import CONFIG, graph, l1, shift, step
from tests.support.masked_models import chain, masked_conv, random_prototype
from tests.support.program_reference import run_program


@pytest.mark.parametrize("digits", [1, 2])
def test_codes_pads_and_bits_of_a_layer_lie_in_one_order(digits):
    taps = [np.array([0, 2, 3]), np.array([1])]
    order = CodeOrder.dense(taps, [range(0, 2), range(2, 3)], 2, 3)
    table = np.arange(digits * 3 * 4).reshape(digits, 3, 4)
    codes = order.codes(table, 99)
    assert codes.shape == (2, 2 * digits, 2, 3)
    for block, channels in enumerate(([0, 1], [2])):
        for vector, tap in enumerate(taps):
            for digit in range(digits):
                for row in range(2):
                    for lane in range(3):
                        used = row < len(channels) and lane < len(tap)
                        wanted = table[digit, channels[row], tap[lane]] if used else 99
                        assert codes[block, vector * digits + digit, row, lane] == wanted
    # Mask bits: what is used, in the same order.
    kept = np.arange(12).reshape(3, 4)
    assert order.bits(kept).tolist() == [0, 2, 3, 4, 6, 7, 1, 5, 8, 10, 11, 9]
    assert order.idle == 2
    # Pad values: those of the taps' input channels, 4 channels and one group.
    pads = order.pads(np.array([7, 0, -1, 5]), digits, 4, 3)
    assert pads[:, ::digits].tolist() == [[[7, 255, 5], [0, 0, 0]]] * 2
    assert order.pads(np.zeros(4, int), digits, 4, 3) is None


def test_depthwise_codes_lie_in_the_last_rows_a_channel_a_lane():
    order = CodeOrder.depthwise((3, 1, 4), 2, [range(0, 2), range(2, 3)], 3, 2)
    assert order.weight[0].tolist() == [[[-1, -1], [0, 4], [1, 5]], [[-1, -1], [2, 6], [3, 7]]]
    assert order.weight[1, 1].tolist() == [[-1, -1], [10, -1], [11, -1]]
    assert order.pads(np.array([1, 2, 3]), 1, 1, 1)[:, 0].tolist() == [[1, 2], [3, 0]]


def recurrent(times, conv):
    """Return a graph that runs one layer again and again, on five channels: no input is folded."""
    names = ["image"] + [f"turn{k}" for k in range(times)]
    return graph(*(replace(conv, name=name, input=before)
                   for before, name in itertools.pairwise(names)), shape=(4, 5, 5))


RECURRENT = {
    "l1": l1(5, (3, 3), 5, padding=(1, 1, 1, 1), post=Post(step(5, bias=[4000] * 5, shift=[4] * 5)),
             pad_value=np.array([3, 0, 4, 0, 9])),
    "shift": shift(5, (3, 3), 5, padding=(1, 1, 1, 1), digits=2, exponent=2,
                   post=Post(step(5, shift=[7] * 5))),
}


@pytest.mark.parametrize("term", RECURRENT)
def test_a_layer_that_is_used_again_costs_its_weights_once(term):
    net, one = recurrent(4, RECURRENT[term]), recurrent(1, RECURRENT[term])
    program, single = (compile_graph(g, CONFIG, 3) for g in (net, one))
    for space in (Space.WEIGHTS, Space.PARAMS):
        assert program.section(space) == single.section(space) != b""
    images = np.random.default_rng(2).integers(0, 256, (3, 4, 5, 5))
    golden, found = run_layers(net, images), run_program(program, CONFIG, images)
    for name in ("turn0", "turn1", "turn2", "turn3"):
        np.testing.assert_array_equal(found[name], golden[name])
    # The fitter counts it once as well.
    works = work_of(net, CONFIG)
    assert len(works) == 4
    assert len(stored_once(works)) == 1
    assert sum(int(w.words(sizes_of(CONFIG, w.engine))) for w in stored_once(works)) == (
        len(program.section(Space.WEIGHTS)) // CONFIG.weights.load_bytes)
    assert needs(net).records == len(program.section(Space.PARAMS)) // param_layout(CONFIG).bytes


def test_shared_weights_take_the_cycles_of_weights_of_their_own():
    first = RECURRENT["l1"]
    other = replace(first, weight=np.where(np.arange(5)[:, None, None, None] == 1, 5, first.weight))
    same = graph(replace(first, name="a"), replace(first, name="b", input="a"), shape=(4, 5, 5))
    apart = graph(replace(first, name="a"), replace(other, name="b", input="a"), shape=(4, 5, 5))
    programs = [compile_graph(net, CONFIG, 3) for net in (same, apart)]
    assert len({len(program.section(Space.WEIGHTS)) for program in programs}) == 2
    assert len({str(estimate(program, CONFIG)) for program in programs}) == 1


def test_masks_of_a_layer_that_is_used_again_lie_there_once():
    config = CONFIG.changed(prototypes=64)
    conv = masked_conv("a", 4, seed=1, prototype=random_prototype(4, 20), shape=(3, 1, 1, 3))[0]
    between = masked_conv("b", 4, seed=2, prototype=random_prototype(4, 20), shape=(3, 1, 1, 3))[0]
    net = chain(conv, between, replace(conv, name="c"), shape=(4, 4, 3))
    program = compile_graph(net, config, 1)
    assert len(program.section(Space.WEIGHTS)) == 8  # 18 bits in a word of 64
    images = np.random.default_rng(2).integers(0, 128, (1, 4, 4, 3))
    found = run_program(program, config, images)
    for name, value in run_layers(net, images).items():
        if name in found:
            np.testing.assert_array_equal(found[name], value)


def test_layers_that_only_store_share_records():
    pools = [Pool(name=name, input=before, kind="sum", kernel=(2, 2), stride=(1, 1),
                  post=Post(step(3, shift=[2] * 3)))
             for name, before in (("a", "image"), ("b", "a"))]
    net = graph(*pools)
    program = compile_graph(net, CONFIG, 1)
    assert len(program.section(Space.PARAMS)) == 3 * param_layout(CONFIG).bytes == (
        needs(net).records * param_layout(CONFIG).bytes)
