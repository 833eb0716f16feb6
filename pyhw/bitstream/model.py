"""What is to run on a board: a program with its configuration, and what is known of the model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.boards import Board
from pyhw.cache import cache_dir, content_key, keep_text, kept_text
from pyhw.compiler.program import Program
from pyhw.errors import UserError
from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_from_json, config_to_json

from .stages import Progress

if TYPE_CHECKING:
    from pyhw.fitter.search import Candidate
    from pyhw.graph.ops import Graph

__all__ = ["Model", "prepare"]

MOST_LUTS = 18_000
"""LUT4s of the largest: more take place and route an hour, and to clocks far below the boards'."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A program for a configuration.

    Attributes
    ----------
    program : Program
    config : Config
    accuracy : dict
        What the graph says of it; empty if nothing.
    fitted : bool
        Whether the configuration was proposed for this board.
    """

    program: Program
    config: Config
    accuracy: dict[str, Any]
    fitted: bool


def prepare(
    source: "Graph | Program",
    board: Board,
    given: Config | None = None,
    *,
    batch: int | None = None,
    double_buffer: bool = False,
    specialise: bool = False,
    objective: str = "throughput",
    progress: Progress = lambda text: None,
) -> Model:
    """Take a program, or compile a graph; fit a configuration if none is given.

    With ``specialise`` control is cut to what this model's program needs; a fitted configuration
    is also where the device holds no other. ``objective`` is that of `pyhw.fitter.search.propose`.

    Raises
    ------
    UserError
        If a program is for another configuration, or nothing fits the board's device.
    """
    if isinstance(source, Program):
        from pyhw.host.connect import config_of

        if batch is not None or double_buffer or specialise:
            raise UserError("--batch, --double-buffer and --specialise belong to a graph; a "
                            "program has been compiled with them")
        return Model(program=source, config=for_board(config_of(source, given), board),
                     accuracy={}, fitted=False)
    graph, fitted = source, given is None
    if given is None:
        given, batch = _fit(graph, board, batch, specialise, objective, progress)
    progress("compiling")
    from pyhw.compiler import compile_graph
    from pyhw.compiler.specialise import specialise as specialised

    chosen, images = for_board(given, board), batch or given.groups
    program = compile_graph(graph, chosen, images, double_buffer=double_buffer)
    if specialise and not fitted:
        chosen = specialised(chosen, program)
        program = compile_graph(graph, chosen, images, double_buffer=double_buffer)
    accuracy = graph.meta.get("accuracy")
    return Model(program=program, config=chosen, fitted=fitted,
                 accuracy=accuracy if isinstance(accuracy, dict) else {})


def for_board(config: Config, board: Board) -> Config:
    """Return a configuration with accumulators and weights where the device has memory for them."""
    from pyhw.fitter.memories import placed

    return placed(config, board.device)


def _fit(graph: "Graph", board: Board, batch: int | None, specialise: bool, objective: str,
         progress: Progress) -> tuple[Config, int]:
    """Return the best configuration and its batch, kept by the graph and all that decides."""
    import pyhw.compiler
    import pyhw.families
    import pyhw.fitter
    from pyhw.graph.file import fingerprint
    from pyhw.verilog import gateware_sources

    sources = gateware_sources() + [
        source.read_text(encoding="utf-8")
        for package in (pyhw.families, pyhw.fitter, pyhw.compiler)
        for source in sorted(Path(package.__file__ or "").parent.glob("*.py"))]
    kept = cache_dir("fit") / (
        content_key(fingerprint(graph), board.device_name, batch, specialise, objective, sources)
        + ".json")
    if (text := kept_text(kept)) is not None:
        record = json.loads(text)
        return config_from_json(record["config"]), record["batch"]
    best = _proposed(graph, board, batch, specialise, objective, progress)
    config = best.config.changed(name=board.name.replace("-", "_"))
    keep_text(kept, json.dumps({"config": config_to_json(config), "batch": best.batch}))
    return config, best.batch


def _proposed(graph: "Graph", board: Board, batch: int | None, specialise: bool, objective: str,
              progress: Progress) -> "Candidate":
    from pyhw.fitter.search import propose

    def show(done: int, total: int, text: str) -> None:
        progress(f"fit: {text} {done} of {total}")

    fill = min(board.family.fill, MOST_LUTS / board.device.luts)

    def first(specialise: bool) -> "Candidate":
        return propose(graph, board.device, batch=batch, objective=objective,
                       specialise=specialise, fill=fill, progress=show)[0]

    try:
        return first(specialise)
    except UserError:
        if specialise:
            raise
    return first(specialise=True)
