"""From a torch module to a list of calls: what is computed of what, in order.

`RunningTracer` traces the model on a few images; layers that the quantiser knows and PyTorch's own
are leaves, and modules of users are traced through. Functions become the layers that compute the
same, and what does not depend on the images becomes constants.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from pyhw.errors import UserError
from pyhw.nn.tokens import TokenModule

from .advice import advise
from .functions import Constant, Parts, Unsupported, Value, layers_of
from .inplace import explicit
from .layers import pair_of
from .tracer import MISSING, RunningTracer, Whole, attribute, evaluation

__all__ = ["Call", "Traced", "trace"]

ITSELF = "(the model itself)"


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One call of the traced model.

    Attributes
    ----------
    name : str
        Of the result, unique.
    path : str
        Of the layer in the model; of a function, the module's that calls it and its name.
    kind : str
        What it computes: 'layers', 'part' (some of the channels), 'refused', or a join
        (`pyhw.quantizer.layers.JOINS`).
    inputs : tuple of str
        Names of the results read, in order.
    layers : tuple of torch.nn.Module
        Of 'layers', to apply one after the other.
    dims : tuple of int, optional
        Shape of the result for one image; None where it could not be computed.
    readers : int
        Calls that read the result; a returned result counts as one.
    problem : str
        Of 'refused': why, and what to use instead. Of others: why the call fails, "" if it works.
    options : mapping
        Arguments of a layer that are no tensors; of 'part' its `index` and the `count` of parts.
    """

    name: str
    path: str
    kind: str
    inputs: tuple[str, ...]
    layers: tuple[nn.Module, ...] = ()
    dims: tuple[int, ...] | None = None
    readers: int = 1
    problem: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Traced:
    """A model's calls: `images` is the name of its input, `output` of its result.

    `graph` is the traced graph of `root`, which holds the model; its nodes have the calls' names,
    and none changes anything in place that another reads. `readers` counts the readers of the
    images; `copies` are the values by name where they were asked for.
    """

    calls: tuple[Call, ...]
    images: str
    output: str
    graph: fx.Graph
    root: nn.Module
    readers: int = 1
    copies: dict[str, torch.Tensor] = field(default_factory=dict)


def trace(model: nn.Module, images: torch.Tensor, keep: bool = False) -> Traced:
    """Trace a model in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Takes one tensor and returns one; further arguments have defaults.
    images : Tensor, shape (N, C, H, W), N > 1
        What it is given.
    keep : bool
        Copy all values.

    Returns
    -------
    Traced

    Raises
    ------
    UserError
        If it cannot be traced, for a loop or a condition that depends on the values.
    """
    needed = _needed(model)
    if needed != 1:
        raise UserError(f"the model must take one tensor of images, not {needed} inputs")
    tracer, root = RunningTracer(images.clone(), keep), Whole(model)
    try:
        with evaluation(root):
            graph = tracer.trace(root)
    except UserError:
        raise
    except Exception as error:  # user code may raise anything
        text = str(error).strip().splitlines()
        raise UserError(
            f"the model cannot be read: {text[0] if text else type(error).__name__}; its forward "
            "must compute the same layers whatever the values are"
        ) from error
    problems = explicit(graph, tracer.changed, tracer.values)
    _free_count(graph, tracer.values, len(images))
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return _Reader(tracer, graph, root, problems, len(images)).read()


def _needed(model: nn.Module) -> int:
    """Return how many arguments a model must be given."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    usual = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = len([p for p in usual if p.default is p.empty])
    return needed or min(1, len([p for p in parameters if p.kind != p.VAR_KEYWORD]))


def _free_count(graph: fx.Graph, values: Mapping[fx.Node, Any], count: int) -> None:
    """Let reshapes that were told the number of images take any number.

    ``x.view(x.size(0), -1)`` was traced with the number that there was.
    """
    for node in graph.nodes:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        value = values.get(node)
        if name not in ("view", "reshape") or not isinstance(value, torch.Tensor):
            continue
        if value.shape[:1] == (count,) and node.all_input_nodes:
            node.args = (node.all_input_nodes[0], (-1, *value.shape[1:]))
            node.kwargs = {}


class _Reader:
    """Turns nodes into calls; what a node stands for that is no tensor is kept by name."""

    def __init__(
        self, tracer: RunningTracer, graph: fx.Graph, root: nn.Module,
        problems: dict[fx.Node, str], count: int,
    ) -> None:  # fmt: skip
        self.tracer, self.graph, self.root = tracer, graph, root
        self.problems, self.count = problems, count
        self.meaning: dict[str, object] = {}
        self.calls: list[Call] = []

    def read(self) -> Traced:
        images = next(node for node in self.graph.nodes if node.op == "placeholder")
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.meaning[node.name] = Value(node.name)
            elif node.op == "get_attr":
                self.meaning[node.name] = Constant(attribute(self.root, str(node.target)))
            elif node.op == "output":
                result = self._means(node.args[0])
                if not isinstance(result, Value):
                    raise UserError("the model must return one tensor, not a tuple or a constant")
                return Traced(
                    calls=tuple(self.calls), images=images.name, output=result.name,
                    graph=self.graph, root=self.root, readers=len(images.users),
                    copies=self.tracer.copies,
                )  # fmt: skip
            else:
                self.meaning[node.name] = self._visit(node)
        raise AssertionError("a traced graph ends in an output")

    def _means(self, argument: Any) -> Any:
        """Return an argument with nodes replaced by what they stand for."""
        if isinstance(argument, fx.Node):
            return self.meaning[argument.name]
        if isinstance(argument, (list, tuple)):
            return [self._means(item) for item in argument]
        return argument

    def _visit(self, node: fx.Node) -> object:
        args = [self._means(argument) for argument in node.args]
        kwargs = {name: self._means(argument) for name, argument in node.kwargs.items()}
        if node.op == "call_module":
            path = str(node.target).partition(".")[2] or ITSELF
            name = ""
        else:
            name = node.target if isinstance(node.target, str) else node.target.__name__
            scope = self.tracer.node_name_to_scope[node.name][0].partition(".")[2]
            path = f"{scope}.{name}" if scope else name
        inputs = tuple(value.name for value in _flat([args, kwargs]) if isinstance(value, Value))
        value = self.tracer.values[node]
        if name == "chunk" and args and isinstance(args[0], Value):
            given = dict(zip(("chunks", "dim"), args[1:])) | kwargs
            return Parts(args[0].name, path, given.get("chunks"), given.get("dim", 0))
        if name == "getitem" and isinstance(args[0], Parts):
            inputs, path = (args[0].name,), f"{args[0].path}.{args[1]}"
        if not inputs and value is not MISSING:
            return Constant(value)
        found: dict[str, Any]
        kind = "function"
        try:
            if node.op == "call_module":
                layer = self.root.get_submodule(str(node.target))
                kind = type(layer).__name__
                found = {"kind": "layers", "layers": (layer,), "options": kwargs}
                wanted = 1 if pair_of(layer) is None else 2
                if len(inputs) != wanted and isinstance(layer, TokenModule):
                    raise Unsupported(advise(layer))
                if len(inputs) != wanted:
                    raise Unsupported(f"it must read {'one tensor' if wanted == 1 else 'two'}")
            elif name == "getitem" and isinstance(args[0], Parts):
                found = {"kind": "part", "options": args[0].part(args[1])}
            else:
                made, layers = layers_of(name, args, kwargs)
                found = {"kind": made, "layers": layers}
            if node in self.problems:
                raise Unsupported(self.problems[node])
        except Unsupported as problem:
            found = {"kind": "refused", "problem": f"{path} ({kind}): {problem}"}
        else:
            if text := self._problem(node, value):
                found["problem"] = f"{path} ({kind}): {text}"
            elif value is not MISSING:
                found["dims"] = tuple(value.shape[1:])
        self.calls.append(
            Call(name=node.name, path=path, inputs=inputs, readers=len(node.users), **found)
        )
        return Value(node.name)

    def _problem(self, node: fx.Node, value: Any) -> str:
        """Say what is wrong with a result that a layer is known for; "" if it is one."""
        if value is MISSING:
            failed = self.tracer.failed.get(node)
            return f"it fails: {failed}" if failed else ""
        if not isinstance(value, torch.Tensor):
            return "it makes no tensor of the images"
        if value.shape[:1] != (self.count,):
            return (
                f"it makes a tensor {tuple(value.shape)} of {self.count} images; the first "
                "dimension must stay the images', so use x.flatten(1)"
            )
        return ""


def _flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _flat(item)] if isinstance(tree, list) else [tree]
