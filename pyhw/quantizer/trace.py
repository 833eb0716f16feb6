"""From a torch module to a list of calls: what is computed of what, in order.

`torch.fx` traces the model; layers that the quantiser knows and PyTorch's own are leaves, and
modules of users are traced through. Functions become the layers that compute the same.
"""

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from pyhw.errors import UserError
from pyhw.nn.kinds import layer_class_of

from .functions import Shape, Size, Tensor, Unsupported, layers_of

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
        # Layers with weights are never traced through, subclasses of users included.
        return layer_class_of(module) is not None or super().is_leaf_module(module, path)


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
        self.meaning[images[0].name] = Tensor(images[0].name)
        for node in self.graph.nodes:
            if node.op == "output":
                result = self._means(node.args[0])
                if not isinstance(result, Tensor):
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
        inputs = tuple(value.name for value in _flat([args, kwargs]) if isinstance(value, Tensor))
        found: dict[str, Any]
        try:
            if node.op == "call_module":
                layer = self.root.get_submodule(str(node.target))
                found = {"kind": "layers", "layers": (layer,)}
                if len(inputs) != 1:
                    raise Unsupported("it must read one tensor")
            else:
                kind, layers = layers_of(name, args, kwargs)
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
        return Tensor(node.name)


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
        return Size(args[1]) if len(args) > 1 else Shape()
    if name == "getattr" and args[1] == "shape":
        return Shape()
    if name == "getitem" and isinstance(args[0], Shape) and isinstance(args[1], int):
        return Size(args[1])
    return None
