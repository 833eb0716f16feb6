"""The loops of a layer, against plain loops."""

import numpy as np
import pytest

from pyhw.compiler import compile_graph
from pyhw.compiler.disassemble import layer_instructions
from pyhw.compiler.loop_nest import LoopNest, burst_length
from pyhw.compiler.maps import Strides
from tests.pyhw.compiler.test_compiler import CONFIG, graph, l1


def make(**changes):
    fields = {"columns": 5, "rows": 3, "slots": 2, "burst": 7, "steps": 4, "blocks": 3,
              "block_channels": 4, "channels": 10}
    return LoopNest(**fields | changes)


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("burst", [5, 10, 30])
def test_counts_are_those_of_the_loops_written_out(burst, warmup):
    nest = make(burst=burst, warmup=warmup)
    places = [(s, y, x) for s in range(2) for y in range(3) for x in range(5)]
    bursts = [places[k:k + burst] for k in range(0, len(places), burst)]
    assert nest.positions == len(places)
    assert nest.bursts == len(bursts)
    assert nest.burst_positions() == [len(one) for one in bursts]
    assert [places[k] for k in nest.last_burst()] == bursts[-1]
    assert [nest.channels_of(k) for k in range(3)] == [4, 4, 2]
    # Every row has its warm-up columns in front.
    rows = [len({place[:2] for place in one}) for one in bursts]
    each = [len(one) + warmup * count for one, count in zip(bursts, rows, strict=True)]
    assert [nest.burst_vectors(len(one)) for one in bursts] == each
    assert nest.step_vectors == sum(each)
    assert nest.vectors == 3 * 4 * sum(each)
    assert [(row, column) for _, row, column in nest.first_burst()] == [
        (y, x) for y in [0, 1, 2, 0, 1, 2][:rows[0]] for x in range(5 + warmup)]


def test_a_burst_may_end_inside_a_row():
    nest = make()
    assert nest.burst_positions() == [7, 7, 7, 7, 2]
    assert list(nest.last_burst()) == [28, 29]


@pytest.mark.parametrize("warmup", [0, 1])
def test_offsets_are_sums_of_strides(warmup):
    nest, number = make(warmup=warmup), 0
    strides = Strides.over(5 + warmup, 3, 7, 100, 1000)
    for slot in range(2):
        for row in range(3):
            for column in range(5 + warmup):
                assert nest.offset(strides, number, warmup=True) == (
                    1000 * slot + 100 * row + 7 * column)
                number += 1


def test_arrays_of_sizes_count_as_single_ones():
    slots, burst = np.array([[1], [2]]), np.array([4, 7])
    nest = make(slots=slots, burst=burst)
    for i, j in np.ndindex(2, 2):
        one = make(slots=int(slots[i, 0]), burst=int(burst[j]))
        assert nest.bursts[i, j] == one.bursts
        assert np.broadcast_to(nest.vectors, (2, 2))[i, j] == one.vectors


@pytest.mark.parametrize(("positions", "depth", "row", "length"), [
    (10, 4, 1, 4), (9, 4, 1, 3), (8, 32, 1, 8), (30, 12, 5, 10), (20, 17, 5, 10),
])  # fmt: skip
def test_bursts_are_evenly_long_and_part_no_row(positions, depth, row, length):
    assert burst_length(positions, depth, row) == length


def test_an_instruction_has_the_loops_of_its_layer():
    program = compile_graph(graph(l1(7, (3, 3), 3)), CONFIG, 4)
    (layer,) = layer_instructions(program, CONFIG)
    nest = LoopNest.of(layer, 2)
    assert (nest.columns, nest.rows, nest.slots, nest.channels) == (3, 2, 2, 7)
    assert nest.positions == 12
    assert nest.blocks == 2
