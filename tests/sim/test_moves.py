"""Networks whose copies are moves: values, cycles and counters on whole accelerators."""

import numpy as np
import pytest

from bench.random_networks import wrong_counts
from pyhw.compiler import compile_graph
from pyhw.compiler.cycles import estimate, run_cycles
from pyhw.compiler.disassemble import layer_instructions
from pyhw.graph.execute import run_layers
from pyhw.graph.ops import Concat, Conv, Graph, Input, Permute
from pyhw.graph.post import Post, Step
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format
from pyhw.hdl.isa import Opcode
from pyhw.hdl.presets import PRESETS
from pyhw.profiler.account import Counted, account
from pyhw.simulation.network import Case, simulate
from pyhw.verilog import cached_verilog
from tests.support.program_reference import run_program

PLAIN = PRESETS["tiny"].changed(index_entries=64, counted_layers=16)
CONFIGS = {
    "tiny": PLAIN.changed(copy=True),
    "lean": PLAIN.changed(copy=True, overlap=False),
    "linked": PLAIN.changed(copy=True, groups=2, post_width=6, spread=True, distributed=True),
}
SHAPE = (4, 5, 6)


def conv(name, source, out, channels, seed):
    """Return a 3x3 convolution of small random weights."""
    rng = np.random.default_rng(seed)
    step = Step(m_sign=[[1] * out], m_exponent=[[0] * out], bias=rng.integers(300, 900, out),
                shift=[3] * out, fmt=Format(8))
    sign = rng.integers(-1, 2, (1, out, 3, 3, channels))
    return Conv(name=name, input=source, term="shift", sign=sign, exponent=np.abs(sign),
                code_width=4, padding=(1, 1, 1, 1), post=Post(step))


def network():
    """Return a network that concatenates three maps, one of them turned about, and images."""
    rng = np.random.default_rng(5)
    order = rng.permutation(SHAPE[0] * SHAPE[1])
    graph = verify(Graph("net", (
        Input(name="image", shape=SHAPE, fmt=Format(8)), conv("a", "image", 5, 6, 1),
        Permute(name="turned", input="image", index=order),
        Concat(name="joined", inputs=("a", "turned", "image")), conv("b", "joined", 7, 17, 2),
    ), "b"))
    return graph, rng.integers(0, 256, (3, *SHAPE))


@pytest.mark.parametrize("name", CONFIGS)
def test_programs_with_moves_compute_their_graphs(name):
    (graph, images), config = network(), CONFIGS[name]
    program = compile_graph(graph, config, len(images))
    golden = run_layers(graph, images)
    for layer, value in run_program(program, config, images).items():
        np.testing.assert_array_equal(value, golden[layer], err_msg=layer)
    copies = [layer for layer in layer_instructions(program, config)
              if layer.control.opcode == Opcode.COPY.value]
    assert len(copies) == 4 == [layer.engine for layer in program.layers].count("COPY")
    assert not any(layer.read.early for layer in copies)
    # A convolution that follows a copy waits for all of it.
    assert not layer_instructions(program, config)[-1].read.early
    plain = config.changed(copy=False)
    slower = compile_graph(graph, plain, len(images))
    assert run_cycles(estimate(program, config)) < run_cycles(estimate(slower, plain))
    cells = account(program, config, len(images),
                    [Counted.of_model(layer) for layer in estimate(program, config)])
    assert all(sum(one.lane_cycles.values()) == one.lanes * one.counted.cycles for one in cells)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.long] * (name == "lean")) for name in CONFIGS])
def test_moves_agree_in_values_and_cycles(name, verilator):
    (graph, images), config = network(), CONFIGS[name]
    case = Case(graph=graph, program=compile_graph(graph, config, len(images)), images=images,
                golden=run_layers(graph, images))
    verilog = cached_verilog(config)
    result = simulate([case], config, verilog=verilog, simulator=verilator)[0]
    assert result.difference is None
    assert wrong_counts(case, result, config) == []
    stopped = simulate([case], config, verilog=verilog, simulator=verilator, debug=True, gap=0.1,
                       stall=0.1)[0]
    assert stopped.difference is None
    assert stopped.compared == sum(golden.size for golden in case.golden.values())
