"""Calls of attention in a model of one's own: the model is traced, and each becomes a module."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.nn.attention import BinaryLinearCore, SoftmaxCore, TokenConvolution
from pyhw.nn.convert import Conversion
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.tokens import TokenModule

__all__ = ["HeadsAttention", "SelfAttention", "replace_calls"]

_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class SelfAttention(nn.Module):
    """An attention of pyhw in the place of `torch.nn.MultiheadAttention`.

    Parameters
    ----------
    attention : torch.nn.Module
        Takes and returns tokens (N, T, C).
    batch_first : bool
        Whether the module's tokens are (N, T, C), or else (T, N, C).
    """

    in_proj_bias = None  # nn.TransformerEncoderLayer then calls the module, as it is to

    def __init__(self, attention: nn.Module, batch_first: bool) -> None:
        super().__init__()
        self.attention, self.batch_first = attention, batch_first

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Return tokens, and None for the weights.

        Raises
        ------
        UserError
            If keys or values are not the queries, or something is masked.
        """
        if key is not query or value is not query:
            raise UserError("cross attention is not supported: call attention with one tensor")
        if key_padding_mask is not None or attn_mask is not None or is_causal:
            raise UserError("attention masks are not supported: leave them out, or pad nothing")
        x = query if self.batch_first else query.transpose(0, 1)
        y = self.attention(x)
        return (y if self.batch_first else y.transpose(0, 1)), None


class HeadsAttention(nn.Module):
    """A core of pyhw in the place of `scaled_dot_product_attention`: (N, heads, T, D) each.

    Parameters
    ----------
    core : torch.nn.Module
        Takes queries, keys and values as tokens (N, T, C).
    heads : int
    """

    def __init__(self, core: nn.Module, heads: int) -> None:
        super().__init__()
        self.core, self.heads = core, heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (N, heads, T, D)."""
        y = self.core(*(x.transpose(1, 2).flatten(2) for x in (q, k, v)))
        return y.unflatten(2, (self.heads, -1)).transpose(1, 2)


def replace_calls(
    model: nn.Module, form: str, images: Tensor | None
) -> tuple[nn.Module, list[Conversion]]:
    """Trace a model that calls `scaled_dot_product_attention` and put modules in its place.

    Parameters
    ----------
    model : torch.nn.Module
    form : str
        As `attention` of `pyhw.nn.vit.convert_vit`.
    images : Tensor or None
        Inputs of the model; without, it is not traced.

    Returns
    -------
    model : torch.nn.Module
        The same one if it has no such calls.
    report : list of Conversion

    Raises
    ------
    UserError
        If it cannot be traced, or a call has a mask, or is cross attention.
    """
    if images is None:
        return model, []
    training = model.training
    try:
        traced = _Tracer().trace(model.eval())
    except Exception as error:
        raise UserError(f"the model cannot be traced ({error}): make its shapes fixed") from None
    graph = fx.GraphModule(model, traced)
    calls = [node for node in traced.nodes if node.target is F.scaled_dot_product_attention]
    if not calls:
        return model.train(training), []
    shapes = _Shapes(graph)
    with torch.no_grad():
        shapes.run(images)
    report = []
    for number, node in enumerate(calls):
        path = f"attention{number}"
        told = dict(zip(_ARGUMENTS, node.args))
        told |= node.kwargs
        shape = shapes.found[told["query"].name]
        if told.get("attn_mask") is not None or told.get("is_causal"):
            raise UserError(f"{node.name}: attention masks are not supported: leave them out")
        if any(shapes.found[told[name].name] != shape for name in ("key", "value")):
            raise UserError(f"{node.name}: cross attention is not supported")
        heads, channels = shape[1], shape[1] * shape[3]
        core: Any
        if form == "linear":
            core = BinaryLinearCore(channels, heads, TokenConvolution(heads))
        else:
            core = SoftmaxCore(channels, heads, form=form)
            core.scores.scale = told.get("scale") or core.scores.scale
        graph.add_submodule(path, HeadsAttention(core, heads))
        with traced.inserting_before(node):
            operands = tuple(told[name] for name in ("query", "key", "value"))
            node.replace_all_uses_with(traced.call_module(path, operands))
        traced.erase_node(node)
        report.append(
            Conversion(path, "scaled_dot_product_attention", type(core).__name__, "without weights")
        )
    graph.recompile()
    return graph.train(training), report


class _Tracer(fx.Tracer):
    """Takes layers that pyhw knows, and parts of transformers, whole."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        whole = isinstance(module, (TokenModule, SelfAttention)) or layer_class_of(module)
        return bool(whole) or super().is_leaf_module(module, path)


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor by name."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found: dict[str, tuple[int, ...]] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if isinstance(value, Tensor):
            self.found[node.name] = tuple(value.shape)
        return value
