"""From a torch module to a list of calls: what is computed of what, in order.

`torch.fx` traces the model; layers that the quantiser knows and PyTorch's own are leaves, and
modules of users are traced through. Functions become the layers that compute the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from pyhw.errors import UserError
from pyhw.nn.adder import AdderConv2d, AdderLinear
from pyhw.nn.coded import CodedWeight

from .advice import SUPPORTED

__all__ = ["Call", "Traced", "Unsupported", "trace"]

LEAVES = (AdderConv2d, AdderLinear, CodedWeight, nn.Conv2d, nn.Linear)
"""Layers that are never traced through, subclasses of users included; all of torch.nn neither."""
ITSELF = "(the model itself)"


class Unsupported(Exception):
    """What cannot be quantised; the text says why and what to use instead."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One call of the traced model.

    Attributes
    ----------
    name : str
        Of the result, unique.
    path : str
        Of the layer in the model; of a function, the module's that calls it and its name.
    kind : {'layers', 'add', 'cat', 'refused'}
        What it computes.
    inputs : tuple of str
        Names of the results read, in order.
    layers : tuple of torch.nn.Module
        Of 'layers', to apply one after the other.
    readers : int
        Calls that read the result; a returned result counts as one.
    problem : str
        Of 'refused': why, and what to use instead.
    """

    name: str
    path: str
    kind: str
    inputs: tuple[str, ...]
    layers: tuple[nn.Module, ...] = ()
    readers: int = 1
    problem: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Traced:
    """A model's calls: `images` is the name of its input, `output` of its result.

    `graph` is the traced graph, whose nodes have the calls' names.
    """

    calls: tuple[Call, ...]
    images: str
    output: str
    graph: fx.Graph
    root: nn.Module


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return isinstance(module, LEAVES) or super().is_leaf_module(module, path)


@dataclass(frozen=True)
class _Value:
    """A tensor that depends on the images."""

    name: str


class _Shape:
    """The shape of a tensor."""


@dataclass(frozen=True)
class _Size:
    """One entry of a shape."""

    dimension: Any


def trace(model: nn.Module) -> Traced:
    """Trace a model in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Takes one tensor and returns one.

    Returns
    -------
    Traced

    Raises
    ------
    UserError
        If it cannot be traced, for a loop or a condition that depends on the values.
    """
    tracer = _Tracer()
    if tracer.is_leaf_module(model, "") and type(model) is not nn.Sequential:
        model = nn.Sequential(model)
        renamed = {"0": ITSELF}
    else:
        renamed = {}
    training = model.training
    try:
        graph = tracer.trace(model.eval())
    except Exception as error:  # user code may raise anything
        text = str(error).strip().splitlines()
        raise UserError(
            f"the model cannot be read: {text[0] if text else type(error).__name__}; its forward "
            "must compute the same layers whatever the values are"
        ) from error
    finally:
        model.train(training)
    graph.eliminate_dead_code(
        lambda node: node.op in ("placeholder", "output") or _in_place(node, model)
    )
    return _Reader(tracer, graph, model, renamed).read()


class _Reader:
    """Turns nodes into calls; what a node stands for that is no tensor is kept by name."""

    def __init__(
        self, tracer: fx.Tracer, graph: fx.Graph, root: nn.Module, renamed: dict[str, str]
    ) -> None:
        self.tracer, self.graph, self.root, self.renamed = tracer, graph, root, renamed
        self.meaning: dict[str, object] = {}
        self.calls: list[Call] = []

    def read(self) -> Traced:
        images = [node for node in self.graph.nodes if node.op == "placeholder"]
        if len(images) != 1:
            raise UserError(f"the model must take one tensor of images, not {len(images)} inputs")
        self.meaning[images[0].name] = _Value(images[0].name)
        for node in self.graph.nodes:
            if node.op == "output":
                result = self._means(node.args[0])
                if not isinstance(result, _Value):
                    raise UserError("the model must return one tensor, not a tuple or a constant")
                return Traced(
                    calls=tuple(self.calls),
                    images=images[0].name,
                    output=result.name,
                    graph=self.graph,
                    root=self.root,
                )
            if node.op not in ("placeholder", "get_attr"):
                self.meaning[node.name] = self._visit(node)
        raise AssertionError("a traced graph ends in an output")

    def _means(self, argument: Any) -> Any:
        """Return an argument with nodes replaced by what they stand for."""
        if isinstance(argument, fx.Node):
            return self.meaning.get(argument.name)
        if isinstance(argument, (list, tuple)):
            return [self._means(item) for item in argument]
        return argument

    def _visit(self, node: fx.Node) -> object:
        args = [self._means(argument) for argument in node.args]
        kwargs = {name: self._means(argument) for name, argument in node.kwargs.items()}
        if node.op == "call_module":
            path, name = self.renamed.get(str(node.target), str(node.target)), ""
        else:
            name = node.target if isinstance(node.target, str) else node.target.__name__
            scope = self.tracer.node_name_to_scope[node.name][0]
            path = f"{scope}.{name}" if scope else name
            if args and (meaning := _measure(name, args)) is not None:
                return meaning
        inputs = tuple(value.name for value in _flat([args, kwargs]) if isinstance(value, _Value))
        found: dict[str, Any]
        try:
            if node.op == "call_module":
                layer = self.root.get_submodule(str(node.target))
                found = {"kind": "layers", "layers": (layer,)}
                if len(inputs) != 1:
                    raise Unsupported("it must read one tensor")
            else:
                kind, layers = _function(name, args, kwargs)
                found = {"kind": kind, "layers": layers}
            if _in_place(node, self.root) and len(node.all_input_nodes[0].users) > 1:
                raise Unsupported(
                    "it changes in place what another layer reads, too; use inplace=False"
                )
        except Unsupported as problem:
            kind = "function" if node.op != "call_module" else type(layer).__name__
            found = {"kind": "refused", "problem": f"{path} ({kind}): {problem}"}
        self.calls.append(
            Call(name=node.name, path=path, inputs=inputs, readers=len(node.users), **found)
        )
        return _Value(node.name)


def _in_place(node: fx.Node, root: nn.Module) -> bool:
    """Return whether a call changes what it reads."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else node.target.__name__
    return bool(node.kwargs.get("inplace", False)) or name == "iadd" or name.endswith("_")


def _flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _flat(item)] if isinstance(tree, list) else [tree]


def _measure(name: str, args: list[Any]) -> object | None:
    """Return what a question about a shape stands for; None if it is none."""
    if name == "size":
        return _Size(args[1]) if len(args) > 1 else _Shape()
    if name == "getattr" and args[1] == "shape":
        return _Shape()
    if name == "getitem" and isinstance(args[0], _Shape) and isinstance(args[1], int):
        return _Size(args[1])
    return None


# Functions and methods by name, as the layers that compute the same.

Layers = tuple[nn.Module, ...]


def _function(name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, Layers]:
    take = _FUNCTIONS.get(name)
    if take is None:
        raise Unsupported(f"use {SUPPORTED}")
    try:
        return take(*args, **kwargs)
    except TypeError as error:
        raise Unsupported("its arguments are not supported") from error


def _add(a: Any, b: Any, *, alpha: Any = 1) -> tuple[str, Layers]:
    if not isinstance(a, _Value) or not isinstance(b, _Value) or alpha != 1:
        raise Unsupported("only two maps of the network can be added; use a bias or a batch norm")
    return "add", ()


def _cat(tensors: Any, dim: Any = 0) -> tuple[str, Layers]:
    if dim not in (1, -3) or not all(isinstance(item, _Value) for item in tensors):
        raise Unsupported("only maps can be concatenated, over their channels (dim=1)")
    return "cat", ()


def _view(x: Any, *sizes: Any) -> tuple[str, Layers]:
    if len(sizes) == 1 and isinstance(sizes[0], list):
        sizes = tuple(sizes[0])
    whole = len(sizes) == 2 and sizes[0] in (-1, _Size(0)) and isinstance(sizes[1], int)
    if not whole or sizes == (-1, -1):
        raise Unsupported("only (N, -1) is supported; use Flatten")
    return "layers", (nn.Flatten(),)


def _mean(x: Any, dim: Any = None, keepdim: Any = False) -> tuple[str, Layers]:
    if not isinstance(dim, list) or sorted(d % 4 for d in dim) != [2, 3]:
        raise Unsupported("only the mean over height and width, (2, 3), is supported")
    pool = nn.AdaptiveAvgPool2d(1)
    return "layers", (pool,) if keepdim else (pool, nn.Flatten())


def _max_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: Any = False, return_indices: Any = False,
) -> tuple[str, Layers]:  # fmt: skip
    pool = nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)
    return "layers", (pool,)


def _layer(make: Callable[..., nn.Module], *ignored: str) -> Callable[..., tuple[str, Layers]]:
    """Return a handler for a function whose arguments are those of a layer."""

    def handler(x: Any, *args: Any, **kwargs: Any) -> tuple[str, Layers]:
        kept = {name: value for name, value in kwargs.items() if name not in ignored}
        return "layers", (make(*args, **kept),)

    return handler


def _constant(layer: Callable[[], nn.Module]) -> Callable[..., tuple[str, Layers]]:
    """Return a handler for a function whose arguments do not matter."""
    return lambda *args, **kwargs: ("layers", (layer(),))


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> tuple[str, Layers]:
    return "layers", (nn.Flatten(start_dim, end_dim),)


_FUNCTIONS: dict[str, Callable[..., tuple[str, Layers]]] = {
    **dict.fromkeys(("add", "add_", "iadd"), _add),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("view", "reshape"), _view),
    **dict.fromkeys(("relu", "relu_"), _layer(nn.ReLU, "inplace")),
    **dict.fromkeys(("dropout", "dropout2d", "contiguous", "clone"), _constant(nn.Identity)),
    "mean": _mean,
    "flatten": _flatten,
    "max_pool2d": _max_pool,
    "avg_pool2d": _layer(nn.AvgPool2d),
    "adaptive_avg_pool2d": _layer(nn.AdaptiveAvgPool2d),
    "gelu": _layer(nn.GELU),
    "relu6": _layer(nn.ReLU6, "inplace"),
    "silu": _layer(nn.SiLU, "inplace"),
    "hardswish": _layer(nn.Hardswish, "inplace"),
    "hardsigmoid": _layer(nn.Hardsigmoid, "inplace"),
    "sigmoid": _layer(nn.Sigmoid),
    "tanh": _layer(nn.Tanh),
}
