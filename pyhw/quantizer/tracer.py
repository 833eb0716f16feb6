"""Tracing by running: the model's own code computes real images while `torch.fx` notes the calls.

Every traced value stands beside the tensor that it is, so that questions about shapes have answers
(``x.size(0)``, asserts, kernels from the map's size), hooks run as they always do, and what is
changed in place is seen where it happens, through PyTorch's own version counters. What a tensor
holds stays unknown to the model: a condition on values cannot be traced.
"""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from pyhw.errors import UserError
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.tokens import TokenModule

from .layers import take_of
from .wrappers import unwrapped

__all__ = ["MISSING", "RunningTracer", "Whole", "attribute", "evaluation"]

MISSING = object()
"""Stands for the result of a call that failed, and of all that read it."""


class Whole(nn.Module):
    """Holds the model, so that hooks of its own run and a single layer can be traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and every module of it back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def attribute(root: nn.Module, path: str) -> Any:
    """Return what a dotted path names, a parameter or a constant."""
    found: Any = root
    for name in path.split("."):
        found = getattr(found, name)
    return found


class _Proxy(fx.Proxy):
    """A traced value that knows its shape and type."""

    def _tensor(self) -> Tensor:
        value = self.tracer.values[self.node]  # type: ignore[attr-defined]
        if not isinstance(value, Tensor):
            raise UserError(f"the model asks for the shape of {self.node.name}, which has none")
        return value

    @property
    def shape(self) -> torch.Size:
        return self._tensor().shape

    @property
    def ndim(self) -> int:
        return self._tensor().ndim

    @property
    def dtype(self) -> torch.dtype:
        return self._tensor().dtype

    @property
    def device(self) -> torch.device:
        return self._tensor().device

    @property
    def is_cuda(self) -> bool:
        return self._tensor().is_cuda

    def size(self, dim: int | None = None) -> Any:
        shape = self._tensor().shape
        return shape if dim is None else shape[dim]

    def dim(self) -> int:
        return self._tensor().ndim

    def numel(self) -> int:
        return self._tensor().numel()

    def is_floating_point(self) -> bool:
        return self._tensor().is_floating_point()

    def __len__(self) -> int:
        return len(self._tensor())

    # `fx` would take these for operations that change nothing.

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.itruediv, other)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changed(operator.setitem, index, value)

    def _changed(self, function: Callable[..., Any], *others: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, *others), {})


class RunningTracer(fx.Tracer):
    """Traces a model and computes every call on the way.

    Parameters
    ----------
    images : Tensor
        What the model is given; it may change them.

    Attributes
    ----------
    values : dict of fx.Node to object
        What every call returned, or `MISSING`.
    failed : dict of fx.Node to str
        Why a call failed.
    changed : dict of fx.Node to list of fx.Node
        Calls that change tensors in place, and all earlier nodes whose values are changed by it.
    copies : dict of str to Tensor
        By node, its value as it was computed, if `keep` is true.
    """

    def __init__(self, images: Tensor, keep: bool = False) -> None:
        super().__init__()
        self._images, self._keep, self._running = images, keep, False
        self.values: dict[fx.Node, Any] = {}
        self.failed: dict[fx.Node, str] = {}
        self.changed: dict[fx.Node, list[fx.Node]] = {}
        self.copies: dict[str, Tensor] = {}

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        # Layers with weights are never traced through, subclasses of users included.
        known = layer_class_of(module) is not None or take_of(module) is not None
        return (known or isinstance(module, TokenModule)
                or super().is_leaf_module(module, path))

    def call_module(
        self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        inner = unwrapped(module)
        if inner is not module:
            return inner(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        return attr_val  # parameters are constants

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any,
                     **named: Any) -> fx.Proxy:  # fmt: skip
        made = super().create_proxy(kind, target, args, kwargs, *rest, **named)
        self._run(made.node, args, kwargs)
        return made

    def _run(self, node: fx.Node, args: Any, kwargs: Any) -> None:
        if node.op == "placeholder":
            self.values[node] = self._images
        elif node.op == "get_attr":
            self.values[node] = attribute(self.root, str(node.target))
        elif node.op != "output":
            self.values[node] = self._computed(node, args, kwargs)
        value = self.values.get(node)
        if self._keep and isinstance(value, Tensor):
            self.copies[node.name] = value.detach().clone()

    def _computed(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        def known(argument: Any) -> Any:
            return self.values[argument.node] if isinstance(argument, fx.Proxy) else argument

        args, kwargs = (fx.node.map_aggregate(part, known) for part in (args, kwargs))
        if any(self.values.get(read) is MISSING for read in node.all_input_nodes):
            return MISSING
        before = [(n, v, v._version) for n, v in self.values.items() if isinstance(v, Tensor)]
        self._running = True
        try:
            with torch.no_grad():
                result = self._call(node, args, kwargs)
        except UserError:
            raise
        except Exception as error:  # user code may raise anything
            lines = str(error).strip().splitlines()
            self.failed[node] = lines[0] if lines else type(error).__name__
            return MISSING
        finally:
            self._running = False
        touched = [n for n, v, version in before if v._version != version]
        if touched:
            self.changed[node] = touched
        return result

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)
