"""Files of every kind: recognised by their content, written by what they hold."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhw.describe import Description, describe
from pyhw.errors import writing
from pyhw.graph.ops import Graph
from pyhw.inputs import check_output, read_graph, recognise
from pyhw.target import Program, read_program, target_of
from pyhw.target.design import Design, read_design
from pyhw.target.proposal import Proposal

if TYPE_CHECKING:
    from pyhw.hdl.config import Config

__all__ = ["info", "load", "save"]


def load(path: str | os.PathLike[str], *, config: "Config | Proposal | None" = None) -> Any:
    """Read a file of pyhw; what it is, its content says.

    Parameters
    ----------
    path : path-like
        Graph (``.pyhw``), program (``.pyhwprog``), configuration (``.json``), Verilog (``.v``)
        with its configuration beside it, or checkpoint (``.pt``).
    config : Config or Proposal, optional
        What a program was compiled for. By default it is looked for in ``config.json`` beside the
        file and among the presets.

    Returns
    -------
    Graph, Program, Config, Design or torch.nn.Module

    Raises
    ------
    UserError
        If the file is none of these, is damaged, or is of another version: one line.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw").input.shape
    (28, 28, 1)
    """
    file = Path(path)
    if file.suffix == ".v":
        return read_design(file)
    if file.suffix == ".json":
        from pyhw.configure import read_config

        return read_config(file)
    kind = recognise(file)
    if kind == "graph":
        return read_graph(file)
    if kind == "program":
        return read_program(file, config.config if isinstance(config, Proposal) else config)
    from pyhw.tools import require_torch

    require_torch()
    from pyhw.training.checkpoint import load_checkpoint

    model, meta = load_checkpoint(file)
    return meta.on_pixels(model)


def save(value: "Graph | Program | Config | Proposal | Design", path: str | os.PathLike[str]
         ) -> None:
    """Write a graph, program, configuration or design, all of it or nothing.

    Parameters
    ----------
    value : Graph, Program, Config, Proposal or Design
        Of a proposal the best configuration is written; beside a design its configuration.
    path : path-like

    Raises
    ------
    UserError
        If it cannot be written, or the file there holds something else of pyhw.
    TypeError
        If it is nothing that has a file.

    Examples
    --------
    >>> import pyhw, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyhw.save(pyhw.preset("tiny"), pathlib.Path(folder) / "tiny.json")
    ...     pyhw.load(pathlib.Path(folder) / "tiny.json").name
    'tiny'
    """
    file = Path(path)
    if isinstance(value, Design):
        value.save(file)
    elif isinstance(value, Program):
        check_output(file, "program")
        value.save(file)
    elif isinstance(value, Graph):
        from pyhw.graph.file import save as save_graph

        check_output(file, "graph")
        with writing(file):
            save_graph(value, file)
    else:
        from pyhw.files import write_atomically
        from pyhw.hdl.config_file import config_to_json

        config = value.config if isinstance(value, Proposal) else value
        target_of(config)
        check_output(file)
        with writing(file):
            write_atomically(file, config_to_json(config))


def info(path: str | os.PathLike[str]) -> Description:
    """Say what is in a checkpoint, graph or program file, whatever its name.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Description
        `kind`; `text` for people; `record`, the same as plain values.

    Raises
    ------
    UserError
        If it is none of these, is damaged, or is of another version.

    Examples
    --------
    >>> import pyhw
    >>> pyhw.info(pyhw.MODELS / "lenet1_adder_mnist.pyhw").kind
    'graph'
    """
    return describe(Path(path))
