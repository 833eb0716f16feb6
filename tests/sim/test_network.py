"""Whole networks on whole accelerators in a simulator, every layer against the executor.

Random networks run on four small accelerators; ``python -m bench.random_networks`` runs many
more on many more.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from bench.random_networks import CONFIGS, cycle_error, draw_cases, wrong_counts
from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.compiler.disassemble import layer_instructions
from pyhw.compiler.specialise import specialise
from pyhw.errors import UserError
from pyhw.graph.execute import run_layers
from pyhw.graph.file import fingerprint
from pyhw.graph.infer import formats
from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.graph.statistics import distinct_and_saturated, wanted_distinct
from pyhw.hdl.formats import Format
from pyhw.hdl.signed_digits import nearest_terms
from pyhw.simulation.network import Case, simulate
from pyhw.simulation.session import run_onnx, run_torch
from pyhw.verilog import cached_verilog
from tests.support.masked_models import again, three
from tests.support.small_graphs import DEPTHWISE, depthwise_case

SHARES = {"tiny": 14, "one": 13, "odd": 13, "masked": 20}
"""Random networks per configuration: 60 in all."""


def drawn(name):
    """Return a configuration and its random networks; `one` is specialised for its own."""
    config = CONFIGS[name]
    cases = draw_cases(config, itertools.count(100), SHARES[name])
    if name == "one":
        config = specialise(config, *(case.program for case in cases))
        cases = [dataclasses.replace(case, program=compile_graph(case.graph, config,
                                                                 case.program.batch))
                 for case in cases]
    return config, cases


def layer_cycles(counters):
    """Return what each layer took, from the counters after every layer of a debug run."""
    busy = [0] + [c["CYCLES"] - c["FETCH"] for c in counters]
    return [after - before for before, after in itertools.pairwise(busy)]


@pytest.mark.parametrize("name", SHARES)
def test_random_networks_equal_the_executor_in_every_layer(name, verilator):
    config, cases = drawn(name)
    results = simulate(cases, config, verilog=cached_verilog(config), simulator=verilator,
                       debug=True, gap=0.1, stall=0.1)
    for case, result in zip(cases, results, strict=True):
        assert result.difference is None, f"{case.graph.name}: {result.difference}"
        assert result.compared >= case.golden[case.graph.output].size
        assert cycle_error(case, result, config) == 0, f"{case.graph.name}: cycle estimate"
        for value in (run_torch(case.graph, case.images), run_onnx(case.graph, case.images)):
            assert np.array_equal(value, result.outputs), case.graph.name


@pytest.mark.parametrize("name", SHARES)
def test_every_layer_of_the_random_networks_shows_what_it_does(name):
    for case in draw_cases(CONFIGS[name], itertools.count(100), SHARES[name]):
        types = formats(case.graph)
        for layer, (distinct, saturated) in distinct_and_saturated(case.graph,
                                                                   case.images).items():
            assert distinct >= wanted_distinct(types[layer]), f"{case.graph.name} {layer}"
            assert saturated < 0.2, f"{case.graph.name} {layer}"


@pytest.mark.parametrize("name", SHARES)
def test_layers_overlap_as_the_cycle_model_says(name, verilator):
    config, cases = drawn(name)
    results = simulate(cases, config, verilog=cached_verilog(config), simulator=verilator)
    early = 0
    for case, result in zip(cases, results, strict=True):
        assert result.difference is None, f"{case.graph.name}: {result.difference}"
        assert wrong_counts(case, result, config) == [], case.graph.name
        early += sum(layer.read.early for layer in layer_instructions(case.program, config))
    assert early > 0


def test_depthwise_layers_run_channel_by_channel(verilator):
    config = CONFIGS["odd"]
    cases = []
    for term, width in (("l1", 8), ("shift", 5)):
        for changes in DEPTHWISE:
            graph, images = depthwise_case(term, width, **changes)
            cases.append(Case(graph=graph, program=compile_graph(graph, config, len(images)),
                              images=images))
    results = simulate(cases, config, verilog=cached_verilog(config), simulator=verilator,
                       gap=0.1, stall=0.1)
    for case, changes, result in zip(cases, DEPTHWISE * 2, results, strict=True):
        assert result.difference is None, f"{changes}: {result.difference}"
        assert result.counters[0]["CYCLES"] == run_cycles(estimate(case.program, config)), changes


def small_case(config, count=3):
    """Return an L1 layer with a border and 30 channels, on random images."""
    rng = np.random.default_rng(5)
    terms = np.array(nearest_terms(25)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], 30, 1),
                m_exponent=np.repeat(terms[1][:, None], 30, 1), bias=np.full(30, 500_000),
                shift=np.full(30, 11), fmt=Format(8))
    graph = Graph("small", (
        Input(name="image", shape=(5, 6, 7), fmt=Format(8)),
        Conv(name="l1", input="image", term="l1", weight=rng.integers(0, 256, (30, 3, 3, 7)),
             padding=(1, 1, 1, 1), post=Post(first=step))), "l1")
    return Case(graph=graph, program=compile_graph(graph, config, 2),
                images=rng.integers(0, 256, (count, 5, 6, 7)))


def test_icarus_agrees_with_the_executor(icarus):
    # Icarus takes time for every lane, so a small accelerator and a small network.
    config = CONFIGS["tiny"]
    case = small_case(config, count=2)
    result = simulate([case], config, verilog=cached_verilog(config), simulator=icarus,
                      gap=0.1, stall=0.1)[0]
    assert result.difference is None
    assert len(np.unique(result.outputs)) >= 30


def test_estimated_cycles_are_the_measured_ones(verilator):
    config = CONFIGS["odd"]
    case = small_case(config)
    result = simulate([case], config, verilog=cached_verilog(config), simulator=verilator,
                      debug=True)[0]
    measured = layer_cycles(result.counters)
    used = min(len(case.images), case.program.batch)
    estimated = [layer.cycles for layer in estimate(case.program, config, used, alone=True)]
    assert measured == estimated
    assert result.counters[0]["VECTORS"] == estimate(case.program, config, used)[0].vectors


@pytest.mark.parametrize("room", [512, 92])
def test_masked_layers_agree_on_both_simulators_in_values_and_cycles(simulator, room):
    # A patch, a depthwise and a pointwise layer; with 92 entries one of them has stored codes.
    config = CONFIGS["masked"]
    graph = three()
    program = compile_graph(graph, config.changed(prototypes=room), 2)
    program = dataclasses.replace(program, config_hash=config.hash)
    images = np.random.default_rng(3).integers(0, 256, (2, 6, 6, 4))
    case = Case(graph=graph, program=program, images=images, golden=run_layers(graph, images))
    result = simulate([case], config, verilog=cached_verilog(config), simulator=simulator,
                      debug=True, gap=0.1, stall=0.1)[0]
    assert result.difference is None
    assert result.compared == sum(golden.size for golden in case.golden.values())
    assert len(np.unique(result.outputs)) >= 30
    assert layer_cycles(result.counters) == [layer.cycles for layer in
                                             estimate(program, config, len(images), alone=True)]


@pytest.mark.parametrize("name", ["odd", "masked"])
def test_a_layer_that_is_used_again_runs_from_the_same_weights(name, verilator):
    config, graph = CONFIGS[name], again(CONFIGS[name].engines["shift"].code_width)
    program = compile_graph(graph, config, 2)
    bases = [(layer.operand.w_base, layer.expansion.mask_bit)
             for layer in layer_instructions(program, config)]
    assert bases[0] == bases[2] < bases[1]
    images = np.random.default_rng(3).integers(0, 256, (2, 6, 6, 5))
    case = Case(graph=graph, program=program, images=images, golden=run_layers(graph, images))
    stopping, running = (simulate([case], config, verilog=cached_verilog(config), debug=debug,
                                  simulator=verilator)[0] for debug in (True, False))
    assert stopping.difference is None
    assert running.difference is None
    assert stopping.compared == sum(golden.size for golden in case.golden.values())
    assert len(np.unique(running.outputs)) >= 20
    assert running.counters[0]["CYCLES"] == run_cycles(estimate(program, config, len(images)))


def test_a_wrong_mask_bit_is_found_and_named(verilator):
    config, graph = CONFIGS["masked"], three()
    conv = graph.ops[2]
    kept = np.ones(conv.sign.shape, int)
    kept[tuple(np.argwhere(conv.sign != 0)[40])] = 0
    ops = (*graph.ops[:2], dataclasses.replace(conv, sign=conv.sign * kept), graph.ops[3])
    other = dataclasses.replace(graph, ops=ops)
    program = dataclasses.replace(compile_graph(graph, config, 2), graph=fingerprint(other))
    images = np.random.default_rng(3).integers(0, 256, (2, 6, 6, 4))
    result = simulate([Case(graph=other, program=program, images=images,
                            golden=run_layers(other, images))], config,
                      verilog=cached_verilog(config), simulator=verilator, debug=True)[0]
    assert result.difference is not None
    assert result.difference.layer == conv.name


def test_a_wrong_weight_is_found_and_named(verilator):
    config = CONFIGS["odd"]
    case = small_case(config)
    weight = case.graph.ops[1].weight.copy()
    weight[4, 1, 1, 3] ^= 0x40
    ops = (case.graph.ops[0], Conv(name="l1", input="image", term="l1", weight=weight,
                                   padding=(1, 1, 1, 1), post=case.graph.ops[1].post))
    other = Graph("small", ops, "l1")
    program = dataclasses.replace(case.program, graph=fingerprint(other))
    result = simulate([Case(graph=other, program=program, images=case.images)], config,
                      verilog=cached_verilog(config), simulator=verilator)[0]
    assert result.difference is not None
    assert result.difference.layer == "l1"
    assert result.difference.position[2] == 4


def test_a_program_for_another_configuration_is_refused():
    case = small_case(CONFIGS["odd"])
    with pytest.raises(UserError, match=r"compiled for configuration .* compile it again"):
        simulate([case], CONFIGS["one"], verilog="")
