"""What is in a file: checkpoint, integer graph or program, recognised by its content."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import MissingTool, from_extra
from .inputs import notes_of, read_graph, read_program, recognise, scaling_of
from .table import text_table

__all__ = ["Description", "describe"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Description:
    """What is in a file; `pyhw.info` returns it.

    Attributes
    ----------
    kind : {'checkpoint', 'graph', 'program'}
    text : str
        For people, several lines.
    record : dict
        The same as plain numbers, texts, lists and tables.
    """

    kind: str
    text: str
    record: dict[str, Any]

    def __repr__(self) -> str:
        return self.text


def describe(path: Path) -> Description:
    """Read a file and say what is in it.

    Raises
    ------
    UserError
        If it is none of ours, damaged, or of another version.
    """
    kind = recognise(path)
    text, record = {"checkpoint": _checkpoint, "graph": _graph, "program": _program}[kind](path)
    size = path.stat().st_size
    head = f"{path}: {kind}, {size:,} bytes\n\n"
    return Description(
        kind=kind,
        text=head + text.rstrip() + "\n",
        record={"kind": kind, "bytes": size} | record,
    )


def _pairs(pairs: dict[str, str]) -> str:
    return text_table([(f"{name}:", value) for name, value in pairs.items()], 2)


def _checkpoint(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        from .nn.models import MODELS
        from .training.layers import layer_sizes
    except ImportError:
        raise MissingTool(
            "PyTorch", from_extra("train"), "a checkpoint is read with it"
        ) from None
    from .training.checkpoint import load_checkpoint

    model, meta = load_checkpoint(path)
    recipe = meta.recipe
    layers = layer_sizes(model, MODELS[recipe.model].input_shape)
    rows: list[tuple[str, ...]] = [
        ("layer", "kind", "output", "parameters", "products", "differences", "shifts")
    ]
    for layer in layers:
        counts = (layer.parameters, layer.products, layer.differences, layer.shifts)
        shape = "x".join(map(str, layer.shape))
        rows.append((layer.name, layer.kind, shape, *(f"{n:,}" if n else "" for n in counts)))
    kinds = Counter(layer.kind for layer in layers)
    done = f"{meta.epoch} of {recipe.epochs} epochs"
    accuracy = "" if meta.accuracy is None else f", test accuracy {meta.accuracy:.2f} %"
    text = text_table(rows, 3) + "\n"
    trained = f"{recipe.data}, {done}, seed {recipe.seed}{accuracy}"
    text += _pairs({
        "network": f"{recipe.model}, {recipe.ops} layers",
        "training": trained if meta.origin is None else f"by {meta.origin.source}",
        "input": "pixels / 255" if meta.origin is None else meta.origin.scaling,
        "layers": ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        "parameters": f"{sum(layer.parameters for layer in layers):,}",
    })  # fmt: skip
    return text, {
        "recipe": recipe.to_dict(),
        "origin": None if meta.origin is None else meta.origin.to_dict(),
        "epochs_done": meta.epoch,
        "accuracy": meta.accuracy,
        "layers": [asdict(layer) for layer in layers],
        "operations": dict(kinds),
    }


def _graph(path: Path) -> tuple[str, dict[str, Any]]:
    from .graph.summary import summarise

    graph = read_graph(path)
    summary = summarise(graph)
    kinds = Counter(type(op).__name__.lower() for op in graph.ops)
    pairs = {"operations": ", ".join(f"{n} {kind}" for kind, n in kinds.items())}
    accuracy = graph.meta.get("accuracy")
    if isinstance(accuracy, dict):
        told = {name: accuracy.get(name, "?") for name in ("float", "integer", "images", "data")}
        pairs["accuracy"] = ("{float} % in floats, {integer} % in integers, of {images} test "
                             "images of {data}").format(**told)
    if notes := notes_of(graph):
        pairs["notes"] = "; ".join(notes)
    if shown := scaling_of(graph):
        pairs["input"] = shown
    for name in ("bits", "weights", "command"):
        if name in graph.meta:
            pairs[name] = str(graph.meta[name])
    layers = [asdict(layer) | {"fmt": str(layer.fmt)} for layer in summary.layers]
    counts = [name for name, value in layers[0].items() if isinstance(value, int)]
    return summary.text() + "\n" + _pairs(pairs), {
        "name": graph.name,
        "output": graph.output,
        "layers": layers,
        "operations": dict(kinds),
        "totals": {f"{kind}_terms": count for kind, count in summary.terms().items()}
        | {name: summary.total(name) for name in counts if name != "acc_width"},
        "meta": dict(graph.meta),
    }


def _program(path: Path) -> tuple[str, dict[str, Any]]:
    from pyhw.hdl.presets import PRESETS

    program = read_program(path)
    rows: list[tuple[str, ...]] = [
        ("layer", "engine", "output", "format", "useful terms", "digits")
    ]
    for layer in program.layers:
        shape = "x".join(map(str, layer.target.shape))
        rows.append((layer.name, layer.engine, shape, layer.target.fmt,
                     f"{layer.useful_terms:,}" if layer.useful_terms else "",
                     str(layer.digits) if layer.useful_terms else ""))  # fmt: skip
    kinds = Counter(layer.engine.lower() for layer in program.layers)
    presets = [name for name, config in PRESETS.items() if config.hash == program.config_hash]
    sizes = {space.name.lower(): len(raw) for space, _, raw in program.sections}
    text = text_table(rows, 4) + "\n"
    text += _pairs({
        "network": program.name,
        "configuration": f"{program.config_hash.hex()} ({', '.join(presets) or 'no preset'})",
        "images at once": f"{program.batch} over {program.groups} group(s)",
        "jobs": ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        "bytes": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
    })  # fmt: skip
    return text, {
        "name": program.name,
        "config_hash": program.config_hash.hex(),
        "presets": presets,
        "batch": program.batch,
        "groups": program.groups,
        "input": asdict(program.input),
        "output": asdict(program.output),
        "layers": [asdict(layer) for layer in program.layers],
        "operations": dict(kinds),
        "sections": sizes,
    }
