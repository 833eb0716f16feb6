"""A vision transformer of one's own: attention, projections and MLPs become cheaper, step by step.

What is found: `torch.nn.MultiheadAttention` (that of `nn.TransformerEncoderLayer`, too), modules
with linear layers `qkv` and `proj` and a number `num_heads` (timm's blocks and those like them),
and calls of `torch.nn.functional.scaled_dot_product_attention`, which tracing finds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyhw.errors import UserError
from pyhw.nn.attention import FORMS, BinaryLinearAttention, SoftmaxAttention
from pyhw.nn.convert import Conversion
from pyhw.nn.kinds import Layers, layer_class_of
from pyhw.nn.mixture import LATENCIES, Mixture
from pyhw.nn.models.pvt import SHIFT_KIND
from pyhw.nn.options import LayerOptions
from pyhw.nn.vit_calls import SelfAttention, replace_calls

__all__ = ["convert_vit"]

_PAIRS = (("fc1", "fc2"), ("linear1", "linear2"))
"""What the two linear layers of an MLP are called."""


def convert_vit(
    model: nn.Module,
    *,
    attention: str | None = None,
    projections: str | None = None,
    mlp: str | None = None,
    images: Tensor | None = None,
    layers: LayerOptions | None = None,
    latencies: Sequence[float] = LATENCIES,
) -> tuple[nn.Module, list[Conversion]]:
    """Take steps of ShiftAddViT with a model of one's own.

    Each step may be a call of its own, with training in between, as published: attention first,
    then its projections, then the MLPs. Weights are taken over, rounded to powers of two where a
    layer becomes a shift layer; make the optimiser afterwards. What is replaced, is in place.

    Parameters
    ----------
    model : torch.nn.Module
    attention : {'linear', 'softmax', 'log2', 'adder', 'binary'}, optional
        What every attention becomes: `BinaryLinearAttention` with a convolution along the tokens,
        or a form of `SoftmaxCore`.
    projections : {'shift'}, optional
        What the linear layers of every attention that was converted become.
    mlp : {'shift', 'moe'}, optional
        What both linear layers of every MLP become: shift layers, or a `Mixture` each.
    images : Tensor, optional
        Inputs of the model, needed where it calls `scaled_dot_product_attention` itself: shapes are
        taken from a run with them.
    layers : LayerOptions, optional
        What the shift layers are told.
    latencies : sequence of two float
        As of `pyhw.nn.mixture.Router`.

    Returns
    -------
    model : torch.nn.Module
        The same one, or one traced of it where it calls `scaled_dot_product_attention` itself.
    report : list of Conversion
        What was replaced.

    Raises
    ------
    ValueError
        If a form is not known.
    UserError
        If there is nothing to convert, or an attention cannot be: by path, with the reason.

    Source
    ------
    ShiftAddViT (NeurIPS 2023), section 4 and its authors' README.
    """
    for name, value, known in (
        ("attention", attention, (*FORMS, "linear")),
        ("projections", projections, ("shift",)),
        ("mlp", mlp, ("shift", "moe")),
    ):
        if value is not None and value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    report: list[Conversion] = []
    shift = Layers(SHIFT_KIND, layers)
    if attention is not None:
        report += _replace(model, lambda path, part: _attention(path, part, attention))
        model, calls = replace_calls(model, attention, images)
        report += calls
        _need(report, "attention (nn.MultiheadAttention, qkv and proj with num_heads, or "
              "scaled_dot_product_attention)")  # fmt: skip
    if projections is not None:
        owners = [part for part in model.modules()
                  if isinstance(part, (SoftmaxAttention, BinaryLinearAttention))]  # fmt: skip
        found = [(part, name) for part in owners for name in ("qkv", "proj")]
        taken = _replace_layers(model, found, lambda old: _shift(old, shift))
        _need(taken, "converted attention: take the step `attention` first")
        report += taken
    if mlp is not None:
        def make(old: nn.Linear) -> nn.Module:
            new = _shift(old, shift)
            return Mixture(old.in_features, (old, new), latencies) if mlp == "moe" else new

        taken = _replace_layers(model, _mlps(model), make)
        _need(taken, "MLP of two linear layers (fc1 and fc2, linear1 and linear2, or a Sequential)")
        report += taken
    return model, report


def _need(report: list[Conversion], what: str) -> None:
    if not report:
        raise UserError(f"the model has no {what}: there is nothing to convert")


def _replace(
    model: nn.Module, convert: Callable[[str, nn.Module], nn.Module | None]
) -> list[Conversion]:
    """Put what `convert` returns in the place of the modules that it takes."""
    made: dict[str, nn.Module] = {}
    problems, report = [], []
    for path, part in model.named_modules():
        if any(path.startswith(f"{above}.") for above in made):
            continue
        try:
            new = convert(path, part)
        except NotImplementedError as error:
            problems.append(f"{path or '(the model itself)'} ({type(part).__name__}): {error}")
            continue
        if new is not None:
            made[path] = new.train(part.training)
            inner = getattr(new, "attention", new)
            note = "projections taken over"
            report.append(Conversion(path, type(part).__name__, type(inner).__name__, note))
    if problems:
        raise UserError(
            f"{len(problems)} attention{'s' * (len(problems) > 1)} cannot be converted: "
            + "; ".join(problems)
        )
    for path, new in made.items():
        _put(model, path, new)
    return report


def _put(model: nn.Module, path: str, new: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    setattr(model.get_submodule(above), name, new)


def _attention(path: str, part: nn.Module, form: str) -> nn.Module | None:
    if isinstance(part, nn.MultiheadAttention):
        if not part._qkv_same_embed_dim or part.bias_k is not None or part.add_zero_attn:
            raise NotImplementedError("keys and values of their own are not supported")
        assert part.in_proj_weight is not None
        joint = (part.in_proj_weight, part.in_proj_bias)
        made = _made(path, part, part.num_heads, form, joint, part.out_proj)
        return SelfAttention(made, part.batch_first)
    qkv, proj = getattr(part, "qkv", None), getattr(part, "proj", None)
    if isinstance(part, (SoftmaxAttention, BinaryLinearAttention)) or not (
        isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear)
    ):
        return None
    heads = getattr(part, "num_heads", None)
    if not isinstance(heads, int):
        raise NotImplementedError("it has qkv and proj, but no num_heads: name the heads so")
    for name in ("q_norm", "k_norm"):
        if not isinstance(getattr(part, name, nn.Identity()), nn.Identity):
            raise NotImplementedError(f"{name} is not supported: train without")
    if qkv.out_features != 3 * qkv.in_features:
        raise NotImplementedError("qkv must make three times the channels")
    made = _made(path, part, heads, form, (qkv.weight, qkv.bias), proj)
    scale = getattr(part, "scale", None)
    if isinstance(scale, float) and isinstance(made, SoftmaxAttention):
        core: Any = made.cores[0]
        core.scores.scale = scale
    return made


def _made(
    path: str, part: nn.Module, heads: int, form: str, joint: tuple[Tensor, Tensor | None],
    proj: nn.Linear,
) -> nn.Module:  # fmt: skip
    if not path:
        raise NotImplementedError("it has no place in a model where another could be put")
    plain, channels = Layers("conv"), proj.in_features
    made: Any
    if form == "linear":
        made = BinaryLinearAttention(plain, channels, heads)
    else:
        made = SoftmaxAttention(plain, channels, heads, 1, form=form)
    made.to(joint[0].device, joint[0].dtype)
    with torch.no_grad():
        for layer, weight, bias in ((made.qkv, *joint), (made.proj, proj.weight, proj.bias)):
            layer.weight.copy_(weight)
            layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
    return made


def _mlps(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return the linear layers of MLPs: the module that holds each, and its name there."""
    found = []
    for part in model.modules():
        for pair in _PAIRS:
            if all(isinstance(getattr(part, name, None), nn.Linear) for name in pair):
                found += [(part, name) for name in pair]
        if isinstance(part, nn.Sequential):
            linear = [name for name, child in part.named_children() if type(child) is nn.Linear]
            if len(linear) == 2 and len(part) > 2:
                found += [(part, name) for name in linear]
    return found


def _replace_layers(
    model: nn.Module,
    found: Sequence[tuple[nn.Module, str]],
    make: Callable[[nn.Linear], nn.Module],
) -> list[Conversion]:
    paths = {id(part): path for path, part in model.named_modules()}
    report = []
    for part, name in found:
        old = getattr(part, name)
        if type(old) is not nn.Linear:
            continue
        path = f"{paths[id(part)]}.{name}".lstrip(".")
        new = make(old)
        setattr(part, name, new.train(old.training))
        note = "weights rounded to powers of two"
        note = f"multiplication as it was, shift with {note}" if isinstance(new, Mixture) else note
        report.append(Conversion(path, "Linear", type(new).__name__, note))
    return report


def _shift(old: nn.Linear, make: Layers) -> nn.Module:
    new = make.linear(old.in_features, old.out_features, bias=old.bias is not None)
    known = layer_class_of(new)
    assert known is not None
    assert known.take_over is not None
    new.to(old.weight.device, old.weight.dtype)
    known.take_over(new, old, "zero")
    return new
