"""An operation of one's own: its class and its lowering are all that there is to do."""

from dataclasses import dataclass

import numpy as np
import pytest

from pyhw.compiler import CompileError, compile_graph
from pyhw.compiler.lowering import Lowering, lowering_of, lowers
from pyhw.compiler.lowering import base as lowering_base
from pyhw.compiler.lowering.permute import PermuteLowering
from pyhw.fitter.needs import needs
from pyhw.fitter.work import work_of
from pyhw.graph.execute import run, run_layers
from pyhw.graph.file import from_bytes, to_bytes
from pyhw.graph.ops import OPERATIONS, Graph, Input, MapType, Operation, Permute, operation
from pyhw.graph.ops.base import STORED
from pyhw.graph.random import random_graph
from pyhw.graph.random_limits import Limits
from pyhw.graph.rules import require
from pyhw.graph.summary import summarise
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format
from pyhw.hdl.presets import PRESETS


@dataclass(frozen=True, eq=False, kw_only=True)
class Turn(Operation):
    """The positions in reverse, `times` times."""

    name: str
    input: str
    times: int

    @property
    def inputs(self):
        return (self.input,)

    def infer(self, *operands):
        return operands[0]

    def check_fields(self, *operands):
        require(self, self.times >= 0, f"times must be at least 0, not {self.times}")

    def check_operands(self, *operands):
        require(self, operands[0].fmt.width <= 8, "input must be at most 8 bits wide")

    def compute(self, values, operands):
        return values[0][:, ::-1, ::-1] if self.times % 2 else values[0]

    def torch_forward(self, tensors, buffers):
        return tensors[0].flip(1, 2) if self.times % 2 else tensors[0]

    def onnx_nodes(self, builder, *operands):
        height, width, channels = builder.types[self.name].shape
        tokens = builder.reshape(operands[0], height * width, channels)
        order = np.arange(height * width)[:: -1 if self.times % 2 else 1]
        found = builder.node("Gather", [tokens, builder.constant(order)], axis=1)
        return builder.reshape(found, height, width, channels)

    @classmethod
    def share(cls, limits):
        return 0.5

    @classmethod
    def draw(cls, draw, name, last):
        return cls(name=name, input=last, times=draw.pick(0, 3))


class TurnLowering(Lowering):
    """As the permutation that it is."""

    def _permute(self, op, shape):
        positions = np.arange(shape[0] * shape[1])[:: -1 if op.times % 2 else 1]
        return Permute(name=op.name, input=op.input, index=positions)

    def jobs(self, op, context):
        shape = context.maps[op.input].shape
        return PermuteLowering().jobs(self._permute(op, shape), context)

    def shapes(self, op, known):
        return PermuteLowering().shapes(self._permute(op, known[op.name].shape), known)

    def demands(self, op, known):
        return PermuteLowering().demands(self._permute(op, known[op.name].shape), known)


@pytest.fixture
def turned():
    """Register it for one test; return a graph of it."""
    registries = (OPERATIONS, STORED, lowering_base._LOWERINGS)
    before = [dict(registry) for registry in registries]
    operation("turn")(Turn)
    lowers(Turn)(TurnLowering)
    image = Input(name="x", shape=(3, 4, 5), fmt=Format(8))
    yield Graph("turned", (image, Turn(name="t", input="x", times=1)), "t")
    for registry, old in zip(registries, before, strict=True):
        registry.clear()
        registry.update(old)


IMAGES = np.random.default_rng(3).integers(0, 256, (2, 3, 4, 5))


def test_it_is_verified_executed_stored_and_summarised(turned):
    verify(turned)
    assert np.array_equal(run(turned, IMAGES), IMAGES[:, ::-1, ::-1])
    assert from_bytes(to_bytes(turned)) == turned
    assert summarise(turned).layers[1].text == "turn x"
    with pytest.raises(ValueError, match="'t': times must be at least 0, not -1"):
        verify(Graph("g", (turned.ops[0], Turn(name="t", input="x", times=-1)), "t"))


def test_torch_and_onnx_runtime_agree(turned):
    torch = pytest.importorskip("torch")
    runtime = pytest.importorskip("onnxruntime")
    from pyhw.graph.onnx_export import onnx_model
    from pyhw.graph.torch_export import IntegerModule

    wanted = run(turned, IMAGES)
    assert np.array_equal(IntegerModule(turned)(torch.tensor(IMAGES)).numpy(), wanted)
    session = runtime.InferenceSession(onnx_model(turned).SerializeToString())
    assert np.array_equal(session.run(None, {"x": IMAGES.astype(np.uint8)})[0], wanted)


def test_random_networks_have_it(turned):
    graphs = [random_graph(seed, Limits(max_ops=4)) for seed in range(6)]
    assert any(isinstance(op, Turn) for graph, _ in graphs for op in graph.ops)
    for graph, images in graphs:
        run_layers(graph, images)


def test_compiler_and_fitter_take_it_as_the_permutation_that_it_is(turned):
    index = np.arange(12)[::-1]
    same = Graph("turned", (turned.ops[0], Permute(name="t", input="x", index=index)), "t")
    config = PRESETS["default"]
    ours, theirs = (compile_graph(graph, config, 1) for graph in (turned, same))
    assert ours.sections == theirs.sections
    assert needs(turned) == needs(same)
    assert work_of(turned, config) == work_of(same, config)


def test_what_has_no_lowering_is_refused_by_name():
    with pytest.raises(CompileError, match="'t': Turn does not run on the accelerator; evaluate"):
        lowering_of(Turn(name="t", input="x", times=1))


def test_names_are_taken_once():
    with pytest.raises(ValueError, match="Operation name 'conv' is taken"):
        operation("conv")(Turn)
    with pytest.raises(ValueError, match="Lowering of Permute is taken"):
        lowers(Permute)(TurnLowering)


def test_an_operation_lacks_no_part():
    class Half(Operation):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half(name="h")
    assert MapType((1, 2, 3), Format(8)).channels == 3
