"""Converting a model of one's own: its convolutions and linear layers become another kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from pyhw.errors import UserError
from pyhw.nn.kinds import Layers, layer_class_of
from pyhw.nn.options import LayerOptions
from pyhw.nn.shift import UNDERFLOWS

__all__ = ["Conversion", "convert"]

_MULTIPLYING = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.Bilinear,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
"""Layers with products of weights."""


@dataclass(frozen=True)
class Conversion:
    """What became of one layer.

    Attributes
    ----------
    path : str
        In the model.
    before, after : str
        Names of its class; the same where it was kept.
    note : str
        Why it was kept, or where its weights come from.
    """

    path: str
    before: str
    after: str
    note: str

    @property
    def replaced(self) -> bool:
        """Whether it is another layer now."""
        return self.before != self.after


def convert(
    model: nn.Module,
    ops: str,
    exempt: Sequence[str] | None = None,
    layers: LayerOptions | None = None,
    underflow: str = "smallest",
) -> list[Conversion]:
    """Replace the convolutions and linear layers of a model, in place.

    Shift layers take over the weights, rounded to powers of two as published; all other kinds
    start afresh, as published. Device, type and mode (training or not) stay. Where
    ``padding='same'`` pads one side more, the new layer stands behind a `torch.nn.ZeroPad2d` in a
    `torch.nn.Sequential`. Make the optimiser afterwards: the parameters are new ones. An adder
    layer must be followed by a batch norm, which is not checked here.

    Parameters
    ----------
    model : torch.nn.Module
        Any, with `torch.nn.Conv2d` and `torch.nn.Linear` in it.
    ops : str
        One of `pyhw.nn.OPS` but 'conv'.
    exempt : sequence of str, optional
        Patterns (as of file names) of the paths of layers that stay as they are, with all below
        them. By default the first and last of all convolutions and linear layers, in order of
        registration, become what `ops` has there: 'adder' keeps them, 'shiftadd' makes them shift
        layers, the others treat them as all layers.
    layers : LayerOptions, optional
        What the new layers are told.
    underflow : {'smallest', 'zero'}
        Shift layers: what becomes of weights below the smallest power of two, see
        `pyhw.nn.ShiftConv2d.load_weight`.

    Returns
    -------
    list of Conversion
        Every convolution and linear layer, in order of registration.

    Raises
    ------
    ValueError
        If `ops` or an option is not known.
    UserError
        If a layer multiplies and cannot be replaced (all of them, by path and reason), a pattern
        fits no layer, or there is nothing to replace. The model is then unchanged.
    """
    make = Layers(ops, layers)
    if ops == "conv":
        raise ValueError("ops must be a kind without products, not 'conv'")
    if underflow not in UNDERFLOWS:
        raise ValueError(f"underflow must be one of {', '.join(UNDERFLOWS)}, not {underflow!r}")
    found, problems = _survey(model, exempt or ())
    chosen = [path for path, kept in found.items() if not kept]
    edges = {chosen[0], chosen[-1]} if chosen and exempt is None else set()
    modules = dict(model.named_modules(remove_duplicate=False))
    made: dict[nn.Module, nn.Module] = {}  # a layer used in two places stays one layer
    report = []
    for path, kept in found.items():
        old = modules[path]
        name = type(old).__name__
        if kept or (path in edges and make.edge_is_plain):
            note = f"exempt by {kept!r}" if kept else "first or last layer"
            report.append(Conversion(path, name, name, note))
            continue
        note = "the same layer as before"
        if old not in made:
            try:
                made[old] = _counterpart(old, make, path in edges)
            except NotImplementedError as error:
                problems.append(f"{path} ({name}): {error}")
                continue
            note = _move(old, made[old], underflow)
        report.append(Conversion(path, name, type(made[old]).__name__, note))
    if problems:
        raise UserError(
            f"{len(problems)} layer{'s' * (len(problems) > 1)} cannot be converted (name them in "
            "exempt to keep them): " + "; ".join(problems)
        )
    if not chosen:
        raise UserError(f"the model has no layer to convert to {ops!r}: none, or all exempt")
    placed = {old: _placed(old, new) for old, new in made.items()}
    for conversion in report:
        parent, _, child = conversion.path.rpartition(".")
        old = modules[conversion.path]
        setattr(modules[parent], child, placed.get(old, old))
    make.finish(nn.ModuleList(made.values()))
    return report


def _survey(model: nn.Module, exempt: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the layers by path with the pattern that keeps each, and what cannot be converted."""
    found: dict[str, str] = {}
    problems: list[str] = []
    used: set[str] = set()
    settled: list[str] = []  # paths below these need no look
    for path, module in model.named_modules(remove_duplicate=False):
        if any(path.startswith(f"{above}.") for above in settled if above):
            continue
        matches = [pattern for pattern in exempt if path and fnmatchcase(path, pattern)]
        used.update(matches)
        layers = isinstance(module, (nn.Conv2d, nn.Linear))
        if matches:
            settled.append(path)
            below = [n for n, m in module.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
            found |= {f"{path}.{n}" if n else path: matches[0] for n in below}
            continue
        known = layer_class_of(module)
        if known is not None and not known.multiplies:
            continue
        reason = _obstacle(module, path)
        if reason:
            settled.append(path)
            problems.append(f"{path or '(the model itself)'} ({type(module).__name__}): {reason}")
        elif layers:
            found[path] = ""
    unused = [pattern for pattern in exempt if pattern not in used]
    if unused:
        raise UserError(f"exempt: no layer of the model fits {unused[0]!r}")
    return found, problems


def _obstacle(module: nn.Module, path: str) -> str:
    """Say why a layer cannot be replaced, "" if it can or does not multiply by weights."""
    kind = type(module)
    if isinstance(module, _MULTIPLYING) and (module._forward_hooks or module._forward_pre_hooks):
        return "it has hooks, which would be lost; remove them first"
    if kind in (nn.Conv2d, nn.Linear):
        if not path:
            return "it has no place in a model where another could be put; wrap it in Sequential"
        return _padding_obstacle(module) if kind is nn.Conv2d else ""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return "a subclass may compute something else; use Conv2d or Linear itself"
    if isinstance(module, _MULTIPLYING):
        return "only Conv2d and Linear have counterparts"
    return ""


def _padding_obstacle(layer: Any) -> str:
    if layer.padding_mode != "zeros":
        return f"padding_mode must be 'zeros', not {layer.padding_mode!r}"
    return ""


def _sides(layer: Any) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    """Return a convolution's padding, and what ``'same'`` pads before it where that is uneven.

    (rows, columns) of both ends; left, right, top, bottom.
    """
    if layer.padding == "valid":
        return (0, 0), None
    if layer.padding != "same":
        return layer.padding, None
    tall, wide = (d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size))
    if tall % 2 or wide % 2:  # PyTorch pads the far side more
        return (0, 0), (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
    return (tall // 2, wide // 2), None


def _placed(old: Any, new: nn.Module) -> nn.Module:
    """Return what takes a layer's place: the new one, after a padding of its own if need be."""
    before = _sides(old)[1] if isinstance(old, nn.Conv2d) else None
    return new if before is None else nn.Sequential(nn.ZeroPad2d(before), new)


def _counterpart(old: Any, make: Layers, edge: bool) -> nn.Module:
    bias = old.bias is not None
    if isinstance(old, nn.Linear):
        return make.linear(old.in_features, old.out_features, bias=bias, edge=edge)
    return make.conv(
        old.in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=_sides(old)[0],
        dilation=old.dilation,
        groups=old.groups,
        bias=bias,
        edge=edge,
    )


def _move(old: Any, new: Any, underflow: str) -> str:
    """Give a new layer what it keeps of the old one, and say what that is."""
    new.to(old.weight.device, old.weight.dtype).train(old.training)
    known = layer_class_of(new)
    if known is None or known.take_over is None:
        return "fresh weights"
    return known.take_over(new, old, underflow)
