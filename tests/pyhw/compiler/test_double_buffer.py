"""Programs with two inputs and two outputs: every turn computes the graph in its own buffers."""

import itertools

import numpy as np
import pytest

from bench.random_networks import CONFIGS, draw_cases
from pyhw.compiler import CompileError, Program, compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.compiler.disassemble import disassemble
from pyhw.graph.execute import run, run_layers
from pyhw.graph.random import random_graph
from pyhw.hdl.presets import PRESETS
from pyhw.simulation.network import Case, simulate
from pyhw.verilog import cached_verilog
from tests.pyhw.compiler.test_compiler import small_limits
from tests.support.program_reference import run_program

TINY = PRESETS["tiny"]
ROOMY = TINY.changed(scratch_bytes=1 << 14, program_words=2048)


def networks(config, count, seeds=range(300, 340)):
    """Return small random networks with images, and their programs with two buffers."""
    found = []
    for seed in seeds:
        net, images = random_graph(seed, small_limits(config))
        try:
            found.append((net, images, compile_graph(net, config, double_buffer=True)))
        except CompileError:
            continue  # a memory is too small
        if len(found) == count:
            break
    return found


def test_both_turns_compute_the_graph():
    for net, images, program in networks(ROOMY, 10):
        golden = run_layers(net, images)
        for turn in (0, 1):
            found = run_program(program, ROOMY, images[:1], turn)
            for name in golden.keys() & found.keys():
                np.testing.assert_array_equal(found[name], golden[name][:1], err_msg=name)


def test_no_other_map_ever_shares_a_byte_with_the_four_buffers():
    for _, _, program in networks(ROOMY, 10):
        names = {stored.name for turn in program.turns for stored in turn}
        assert len(names) == 4
        for one, other in itertools.combinations(program.placements, 2):
            if names & {one.name, other.name}:
                assert one.base + one.size <= other.base or other.base + other.size <= one.base
        assert not any(names & {place.name, place.replaces} for place in program.placements
                       if place.replaces)


def test_weights_and_cycles_are_those_of_a_plain_program():
    for net, _, program in networks(ROOMY, 5):
        plain = compile_graph(net, ROOMY)
        assert [s for s in program.sections if s[0].name not in ("PROGRAM", "INPUT")] == [
            s for s in plain.sections if s[0].name not in ("PROGRAM", "INPUT")]
        assert len(estimate(program, ROOMY)) == len(estimate(plain, ROOMY))


def test_the_file_and_the_listing_hold_both_turns():
    _, _, program = networks(ROOMY, 1)[0]
    assert Program.from_bytes(program.to_bytes()) == program
    assert len(program.turns) == 2
    text = disassemble(program, ROOMY)
    for layer in program.layers:
        assert text.count(f" {layer.name} (") == 2
    assert text.count(", second turn") == len(program.layers)


def test_a_scratchpad_without_room_for_the_second_buffers_is_refused():
    net, _, _ = networks(ROOMY, 1)[0]
    plain = compile_graph(net, TINY)
    small = TINY.changed(scratch_bytes=-(-max(p.base + p.size for p in plain.placements) // 8) * 8)
    compile_graph(net, small)
    with pytest.raises(CompileError, match="beyond the scratchpad of"):
        compile_graph(net, small, double_buffer=True)


@pytest.mark.parametrize("name", ["tiny", pytest.param("one", marks=pytest.mark.long)])
def test_batches_in_turns_give_every_answer_while_ports_are_busy(name, verilator):
    config, cases = CONFIGS[name], []
    for case in draw_cases(config, itertools.count(100), 4):
        images = np.concatenate([case.images, case.images[::-1]])
        for batch in (1, 2):
            try:
                program = compile_graph(case.graph, config, batch, double_buffer=True)
            except CompileError:
                continue
            cases.append(Case(graph=case.graph, program=program, images=images))
    assert len(cases) >= 4
    for gap in (0.0, 0.1):
        results = simulate(cases, config, verilog=cached_verilog(config), simulator=verilator,
                           gap=gap, stall=gap)
        for case, result in zip(cases, results, strict=True):
            assert result.difference is None, f"{case.graph.name}: {result.difference}"
            assert result.compared == run(case.graph, case.images).size
            cycles = run_cycles(estimate(case.program, config, min(case.program.batch,
                                                                   len(case.images))))
            assert result.counters[0]["CYCLES"] >= cycles
            if config.build.distributed:
                assert result.counters[0]["CYCLES"] == cycles
            assert result.period > cycles or result.period == 0
