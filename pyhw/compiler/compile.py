"""The compiler: one list of passes from an integer graph to a program."""

from dataclasses import replace

from pyhw.graph.file import fingerprint
from pyhw.graph.ops import Graph
from pyhw.graph.verify import verify
from pyhw.hdl.config import Config
from pyhw.hdl.isa import INPUT, Space

from .allocate import allocate, second_buffer
from .emit import emit
from .errors import CompileError
from .lower import lower, split_steps
from .program import Layer, Program, StoredMap
from .specialise import check_fields

__all__ = ["CompileError", "compile_graph"]


def compile_graph(
    graph: Graph,
    config: Config,
    batch: int = 1,
    *,
    double_buffer: bool = False,
    fold: bool = True,
) -> Program:
    """Compile a graph for an accelerator.

    Parameters
    ----------
    graph : Graph
    config : Config
    batch : int
        Images that memory is laid out for; a run may take fewer. They are spread over the
        groups, and images of a group share resident weights.
    double_buffer : bool
        Lay the input and the output out twice, with instructions for either: while a batch runs,
        the next one can be written and the results of the one before read.
    fold : bool
        Store the input unfolded for the first convolution where that is faster and there is room.

    Returns
    -------
    Program

    Raises
    ------
    CompileError
        If something does not fit or is not supported: layer, reason, what to change.
    ValueError
        If the graph breaks a rule or `batch` is not positive.
    """
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch must be a positive integer, not {batch!r}")
    slots, key = -(-batch // config.groups), fingerprint(graph)
    graph = verify(split_steps(verify(graph), config))
    doubled = (graph.input.name, graph.output) if double_buffer else ()
    for folds in (True, False) if fold else (False,):
        jobs, maps, folded = lower(graph, config, slots, fold=folds)
        for name in doubled:
            maps[second_buffer(name)] = replace(maps[name], name=second_buffer(name))
        try:
            placements = allocate(jobs, maps, graph.input.name, graph.output, config, doubled)
            break
        except CompileError:
            if folded.conv is None:
                raise
    moves = {name: maps[second_buffer(name)].base - maps[name].base for name in doubled}
    image = emit(jobs, config, moves)
    check_fields("input", "input", folded.record, config)
    sections = [(Space.PROGRAM, bytes(image.program)), (Space.WEIGHTS, bytes(image.weights.raw)),
                (Space.PARAMS, bytes(image.params.raw)), (Space.TABLES, bytes(image.tables.raw)),
                (Space.INDEX, bytes(image.index.raw)),
                (Space.PROTOTYPES, bytes(image.prototypes)),
                (Space.INPUT, INPUT.encode(**folded.record))]

    def stored(name: str) -> StoredMap:
        m = maps[name]
        return StoredMap(name, m.shape, str(m.fmt), m.base, m.slot)

    last = {job.target.name: index for index, job in enumerate(jobs)}
    layers = [Layer(job.name, job.unit, stored(job.target.name), job.useful_terms,
                    getattr(job.op, "digits", 1), last[job.target.name] == index)
              for index, job in enumerate(jobs)]
    return Program(
        name=graph.name, graph=key, config_hash=config.hash, batch=slots * config.groups,
        groups=config.groups, sections=[(s, 0, raw) for s, raw in sections if raw],
        input=stored(graph.input.name), input_shape=graph.input.shape, layers=layers,
        output=stored(graph.output), placements=placements,
        second_buffers=tuple(stored(second_buffer(name)) for name in doubled))

