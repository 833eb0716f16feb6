"""Lowering: every operation becomes jobs of one engine each (`pyhw.compiler.lowering`)."""

from dataclasses import replace

from pyhw.graph.infer import formats, most_terms, shapes
from pyhw.graph.ops import Graph, Operation, Pointwise
from pyhw.graph.post import Post
from pyhw.hdl.config import Config
from pyhw.hdl.isa import Opcode

from .errors import CompileError
from .fold import FoldedInput, fold_input
from .job import Job
from .lowering import Context, lowering_of
from .maps import Map

__all__ = ["lower", "split_steps"]


def split_steps(graph: Graph, config: Config) -> Graph:
    """Give an operation with two stored maps to add, or a second step the hardware lacks, two.

    The second becomes a `Pointwise` operation that reads the stored y.
    """
    ops: list[Operation] = []
    names = {op.name for op in graph.ops}
    format_of = formats(graph)
    for op in graph.ops:
        post = next(iter(op.posts), None)
        # A map of more than 8 bits is read in the residual's place.
        first_added = post is not None and (
            post.residual is not None or format_of[op.inputs[0]].width > 8)
        if post is None or post.second is None or (
                config.post.second_step and not (first_added and post.residual2)):
            ops.append(op)
            continue
        inner = _free_name(op.name, names)
        names.add(inner)
        ops.append(replace(op.with_post(replace(post, second=None, residual2=None)), name=inner))
        ops.append(Pointwise(name=op.name, input=inner,
                             post=Post(first=post.second, residual=post.residual2)))
    return replace(graph, ops=tuple(ops))


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name of an operation's first half; a name has at most 64 characters."""
    for number in range(len(taken) + 1):
        ending = f".first{number or ''}"
        if (free := name[:64 - len(ending)] + ending) not in taken:
            return free
    raise AssertionError("more names than there are operations")


def lower(graph: Graph, config: Config, slots: int, *, fold: bool = True
          ) -> tuple[list[Job], dict[str, Map], FoldedInput]:
    """Turn a graph into jobs.

    Parameters
    ----------
    graph : Graph
        Verified, steps split.
    config : Config
    slots : int
        Images per group that memory is laid out for.
    fold : bool
        Store the input unfolded for the first convolution where that is faster.

    Returns
    -------
    jobs, maps by value name, how the input is stored
    """
    folded = fold_input(graph, config, slots, fold=fold)
    shape_of, format_of = shapes(graph), formats(graph)
    maps = {name: Map(name, shape_of[name], format_of[name], slots) for name in shape_of}
    maps[graph.input.name] = folded.map
    jobs: list[Job] = []
    for op in graph.ops[1:]:
        if folded.conv is not None and op.name == folded.conv.name:
            context = Context(config, maps, folded.rows)
            jobs += lowering_of(folded.conv).jobs(folded.conv, context)
        else:
            jobs += lowering_of(op).jobs(op, Context(config, maps))
    for job in jobs:
        if job.opcode is Opcode.COMPUTE:
            _check_post(job, config)
    return jobs, maps, folded


def _check_post(job: Job, config: Config) -> None:
    post = job.post
    if job.residual is not None and not config.residual.exists:
        wide = job.residual is job.source and job.source.fmt.bytes > 1
        what = "reads a map of more than 8 bits" if wide else "adds a stored map"
        raise CompileError(job.name, f"{what} and the configuration has no residual unit",
                           "take a configuration with residual_terms of at least 1")
    if job.residual is not None and job.residual.fmt.bytes > 1 and not config.residual.wide:
        raise CompileError(job.name, "adds or reads a map of more than 8 bits and the "
                           "configuration's residual unit takes bytes",
                           "take a configuration with residual_wide")
    if post.table is not None and config.post.tables == 0:
        raise CompileError(job.name, "uses a function table and the configuration has none",
                           "take a configuration with tables of at least 1")
    for step in filter(None, (post.first, post.second)):
        for what, sign, name in (("multipliers", step.m_sign, "terms"),
                                 ("residual's multipliers", step.r_sign, "residual_terms")):
            most = config.value(name)
            if sign is not None and (terms := most_terms(sign)) > most:
                raise CompileError(job.name, f"its {what} have {terms} terms and the "
                                   f"post-processor takes {most}",
                                   f"take a configuration with {name} of at least {terms}")
