"""Layers of transformers: what becomes of each.

Tokens (N, T, C) are the map (H, W, C) that they came from, so that nothing has to be moved.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from pyhw.nn import attention, tokens
from pyhw.nn.attention.binary import Binarise, Log2Softmax
from pyhw.nn.attention.linear import HeadNorm
from pyhw.nn.attention.products import Context, Distances, Reading, check_parts

from .convert import numbers
from .functions import Unsupported
from .layers import Site, layer_kind, pair_kind, weights_of
from .refs import Ref
from .stage import Affine, Norm, Stage

__all__: list[str] = []


def _need_rows(ref: Ref) -> None:
    ref.need(ref.rows, "it must read tokens (N, T, C); use `pyhw.nn.tokens.ToTokens` before it")


@layer_kind(tokens.ToTokens)
def _to_tokens(site: Site, layer: Any, ref: Ref) -> Ref:
    ref.need_map()
    return replace(ref, dims=site.dims or ()) if ref.known else ref


@layer_kind(tokens.ToMap)
def _to_map(site: Site, layer: tokens.ToMap, ref: Ref) -> Ref:
    _need_rows(ref)
    ref.need(
        ref.shape[:2] == (layer.height, layer.width),
        f"it makes a map of {layer.height}x{layer.width}, and its tokens came from one of "
        f"{ref.shape[0]}x{ref.shape[1]}",
    )
    return Ref.map(ref.path, ref.shape)


@layer_kind(tokens.Coefficient, pending=("gain",))
def _coefficient(site: Site, layer: tokens.Coefficient, ref: Ref) -> Ref:
    return replace(ref, gain=ref.gain * float(layer.scale.detach()))


@layer_kind(tokens.PositionEmbedding)
def _positions(site: Site, layer: tokens.PositionEmbedding, ref: Ref) -> Ref:
    if not ref.known:
        return ref
    values = numbers(layer.embedding)[0]
    values = np.moveaxis(values, 0, 2) if values.ndim == 3 else values
    if values.size != np.prod(ref.shape) or values.shape[-1] != ref.shape[2]:
        raise Unsupported(f"it adds {values.shape} to a map of {ref.shape}")
    options = {"values": np.ascontiguousarray(values.reshape(ref.shape))}
    stage = Stage(path=f"{site.path}.embedding", kind="constant", channels=ref.shape[2],
                  options=options)  # fmt: skip
    constant = site.build.put(stage, ref.dims, ref)
    site.build.stages[constant.path] = replace(site.build.stages[constant.path], sources=())
    return site.build.added(site.path, [ref, constant])


@layer_kind(tokens.Permutation)
def _permutation(site: Site, layer: tokens.Permutation, ref: Ref) -> Ref:
    _need_rows(ref)
    if not ref.known:
        return ref
    count = ref.shape[0] * ref.shape[1]
    if count != len(layer.order):
        raise Unsupported(f"it orders {len(layer.order)} tokens and gets {count}")
    order = layer.order.cpu().numpy()
    order = np.argsort(order) if site.options.get("back", False) else order
    stage = Stage(path=site.path, kind="permute", channels=ref.shape[2], options={"order": order})
    return site.build.put(stage, site.dims, ref)


@layer_kind(nn.LayerNorm)
def _layer_norm(site: Site, layer: nn.LayerNorm, ref: Ref) -> Ref:
    if not ref.rows and not ref.among_tokens:
        raise Unsupported("use BatchNorm2d, or `pyhw.nn.tokens.ToTokens` before it")
    if not ref.known:
        return ref
    channels, second = ref.shape[2], None
    if tuple(layer.normalized_shape) != (channels,):
        raise Unsupported(
            f"only the {channels} channels of a token can be normalised, "
            f"not {tuple(layer.normalized_shape)}"
        )
    if layer.weight is not None:
        beta = np.zeros(channels) if layer.bias is None else numbers(layer.bias)
        second = Affine(Norm(numbers(layer.weight), np.zeros(channels), beta))
    stage = Stage(path=site.path, kind="norm", channels=channels, second=second,
                  options={"eps": layer.eps})  # fmt: skip
    return site.build.put(stage, site.dims, ref)


def _check_parts(ref: Ref, heads: int, slices: int = 1) -> None:
    try:
        check_parts(ref.shape[0] * ref.shape[1], ref.shape[2], slices, heads)
    except ValueError as error:
        raise Unsupported(str(error)) from None


@layer_kind(Binarise)
def _binarise(site: Site, layer: Binarise, ref: Ref) -> Ref:
    _need_rows(ref)
    if not ref.known:
        return ref
    _check_parts(ref, layer.heads)
    channels = ref.shape[2]
    threshold = np.repeat(numbers(layer.threshold), channels // layer.heads)
    stage = Stage(path=site.path, kind="binary", channels=channels,
                  options={"threshold": threshold})  # fmt: skip
    return site.build.put(stage, site.dims, ref)


@layer_kind(HeadNorm)
def _head_norm(site: Site, layer: HeadNorm, ref: Ref) -> Ref:
    _need_rows(ref)
    if not ref.known:
        return ref
    _check_parts(ref, layer.heads)
    stage = Stage(path=site.path, kind="head_norm", channels=ref.shape[2],
                  options={"heads": layer.heads})  # fmt: skip
    return site.build.put(stage, site.dims, ref)


@layer_kind(Log2Softmax)
def _log2_softmax(site: Site, layer: Log2Softmax, ref: Ref) -> Ref:
    if not ref.known:
        return ref
    if site.build.kind(ref) != "scores":
        raise Unsupported("it must read scores")
    return weights_of(site, ref, octaves=layer.octaves)


@pair_kind(Context)
def _context(site: Site, layer: Context, k: Ref, v: Ref) -> Ref:
    for ref in (k, v):
        _need_rows(ref)
        _check_parts(ref, layer.heads, layer.slices)
    if site.build.kind(k) != "binary":
        raise Unsupported("its keys must be signs (`pyhw.nn.attention.Binarise`)")
    options = {"heads": layer.heads, "slices": layer.slices}
    stage = Stage(path=site.path, kind="context", channels=v.shape[2], options=options)
    made = site.build.put(stage, site.dims, k, v)
    return replace(made, shape=(layer.slices, k.shape[2] // layer.heads, v.shape[2]))


@pair_kind(Reading)
def _reading(site: Site, layer: Reading, q: Ref, context: Ref) -> Ref:
    _need_rows(q)
    _check_parts(q, layer.heads, layer.slices)
    made = site.build.stages.get(context.path)
    if site.build.kind(q) != "binary" or made is None or made.kind != "context":
        raise Unsupported("it must read signs (`pyhw.nn.attention.Binarise`) and a Context")
    if made.options != {"heads": layer.heads, "slices": layer.slices}:
        raise Unsupported("its Context must be of as many heads and slices")
    options = {"heads": layer.heads, "slices": layer.slices, "scale": float(layer.scale)}
    stage = Stage(path=site.path, kind="reading", channels=context.shape[2], options=options)
    return site.build.put(stage, site.dims, q, context)


@pair_kind(attention.Scores, Distances)
def _scores(site: Site, layer: Any, q: Ref, k: Ref) -> Ref:
    for ref in (q, k):
        _need_rows(ref)
        _check_parts(ref, layer.heads, layer.slices)
    if q.shape[2] != k.shape[2]:
        raise Unsupported(f"queries have {q.shape[2]} channels and keys {k.shape[2]}")
    keys = k.shape[0] * k.shape[1] // layer.slices
    options = {"heads": layer.heads, "slices": layer.slices, "scale": float(layer.scale),
               "distances": isinstance(layer, Distances)}  # fmt: skip
    stage = Stage(path=site.path, kind="scores", channels=layer.heads * keys, options=options)
    return site.build.put(stage, site.dims, q, k)


@pair_kind(attention.Weighing)
def _weighing(site: Site, layer: attention.Weighing, weights: Ref, values: Ref) -> Ref:
    _need_rows(values)
    _check_parts(values, layer.heads, layer.slices)
    made = site.build.stages.get(weights.path)
    if made is None or made.kind != "softmax" or made.options["heads"] != layer.heads:
        raise Unsupported("it must read the weights of a Softmax of as many heads")
    keys = values.shape[0] * values.shape[1] // layer.slices
    if weights.shape[2] != layer.heads * keys:
        count = weights.shape[2] // layer.heads
        raise Unsupported(f"it has {count} weights for {keys} values of a slice")
    options = {"heads": layer.heads, "slices": layer.slices}
    if "octaves" in made.options:
        options["digits"] = 1
    stage = Stage(path=site.path, kind="weighing", channels=values.shape[2], options=options)
    return site.build.put(stage, site.dims, weights, values)
