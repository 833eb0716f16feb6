"""Memory: every map gets scratch addresses for as long as it is needed."""

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pyhw.hdl.config import Config

from .errors import CompileError
from .job import Job
from .maps import Map

__all__ = ["Placement", "allocate", "in_place", "second_buffer"]


@dataclass(frozen=True)
class Placement:
    """A map's place: bytes [base, base + size) while jobs first..last run.

    `replaces` names the map whose bytes it takes over one by one while job `first` runs, if any;
    no other two maps that are needed at once share a byte.
    """

    name: str
    base: int
    size: int
    first: int
    last: int
    replaces: str = ""


@dataclass
class _Buffer:
    """Maps that lie in one place, each in the place of the one before."""

    names: list[str]
    size: int
    first: int
    last: int


def second_buffer(name: str) -> str:
    """Return the name of a map's second buffer."""
    return f"{name}'"


def _lifetimes(
    jobs: list[Job], source: str, output: str, doubled: Collection[str] = ()
) -> dict[str, list[int]]:
    """Return the first and last job that needs each map; doubled ones are always needed."""
    life = {source: [-1, -1]}
    for index, job in enumerate(jobs):
        life.setdefault(job.target.name, [index, index])[1] = index
        for read in (job.source, job.residual):
            if read is not None:
                life[read.name][1] = index
    life[output][1] = len(jobs)
    for name in doubled:
        life[name] = [-1, len(jobs)]
        life[second_buffer(name)] = [-1, len(jobs)]
    return life


def in_place(
    jobs: list[Job], source: str, output: str, doubled: Collection[str] = ()
) -> dict[str, str]:
    """Return the maps that may take the place of a residual, and which one.

    The store unit reads the residual of a result before it stores that result at the same address,
    and reads no byte again that it has stored. So a map may lie where its residual lies if nothing
    needs the residual afterwards, no window of the same jobs reads it, and both are walked alike:
    equal shapes, equal bytes a value.

    Parameters
    ----------
    jobs : list of Job
    source, output : str
        Names of the graph's input and output.
    doubled : collection of str
        Maps with two buffers, which stay where they are.

    Returns
    -------
    dict of str to str
        From the name of a map to that of the residual whose place it may take.
    """
    life, found = _lifetimes(jobs, source, output), {}
    for name, (first, last) in life.items():
        if name in doubled:
            continue
        makers = [job for job in jobs if job.target.name == name]
        residuals = {job.residual.name if job.residual else "" for job in makers}
        if len(residuals) != 1 or "" in residuals:
            continue
        target, residual = makers[0].target, makers[0].residual
        assert residual is not None
        read = any(job.source.name == residual.name for job in jobs[first : last + 1])
        if (
            not read
            and residual.name not in doubled
            and life[residual.name][1] == max(jobs.index(job) for job in makers)
            and target.shape == residual.shape
            and target.fmt.bytes == residual.fmt.bytes
            and target.slots == residual.slots
        ):
            found[name] = residual.name
    return found


def allocate(
    jobs: list[Job],
    maps: dict[str, Map],
    source: str,
    output: str,
    config: Config,
    doubled: Collection[str] = (),
) -> list[Placement]:
    """Assign bases, the lowest free ones; maps that are needed at once are disjoint.

    Of four ways the one that needs the fewest bytes is taken: in order of first use or of size,
    with sums in the place of their residuals (`in_place`) or beside them.

    Parameters
    ----------
    jobs : list of Job
    maps : dict of str to Map
        Their bases are set.
    source, output : str
        Names of the graph's input and output.
    config : Config
    doubled : collection of str
        Maps that have a second buffer, in `maps` under `second_buffer` their name.

    Returns
    -------
    list of Placement
        In order of first use.

    Raises
    ------
    CompileError
        If the maps do not fit the scratchpad: which layer, and by how much.
    """
    life = _lifetimes(jobs, source, output, doubled)
    orders: list[Callable[[_Buffer], tuple[int, int]]] = [
        lambda buffer: (buffer.first, 0),
        lambda buffer: (-buffer.size, buffer.first),
    ]
    best: tuple[int, dict[str, int], Mapping[str, str]] | None = None
    for replaced, order in itertools.product(({}, in_place(jobs, source, output, doubled)), orders):
        bases = _first_fit(sorted(_buffers(life, maps, replaced), key=order))
        end = max(base + maps[name].size for name, base in bases.items())
        if best is None or end < best[0]:
            best = end, bases, replaced
    assert best is not None
    _, bases, taken = best
    placed = []
    for name, (first, last) in sorted(life.items(), key=lambda item: item[1][0]):
        base, size = bases[name], maps[name].size
        if base + size > config.memory.scratch_bytes:
            slots = maps[name].slots
            hint = (
                f"compile for fewer than {slots * config.groups} images at once, or "
                if slots > 1
                else ""
            )
            raise CompileError(
                name,
                f"its map of {size} bytes ends {base + size - config.memory.scratch_bytes} bytes "
                f"beyond the scratchpad of {config.memory.scratch_bytes}",
                f"{hint}take a configuration with scratch_bytes of at least {best[0]}",
            )
        maps[name].base = base
        placed.append(Placement(name, base, size, first, last, taken.get(name, "")))
    return placed


def _buffers(
    life: Mapping[str, list[int]], maps: Mapping[str, Map], replaced: Mapping[str, str]
) -> list[_Buffer]:
    """Join maps that lie in one place."""
    of: dict[str, _Buffer] = {}
    for name, (first, last) in sorted(life.items(), key=lambda item: item[1][0]):
        if name in replaced:
            buffer = of[name] = of[replaced[name]]
            buffer.names.append(name)
            buffer.last = max(buffer.last, last)
        else:
            of[name] = _Buffer([name], maps[name].size, first, last)
    return list({id(buffer): buffer for buffer in of.values()}.values())


def _first_fit(buffers: list[_Buffer]) -> dict[str, int]:
    """Return the bases of all maps, each buffer as low as those before it in the list allow."""
    placed: list[tuple[int, _Buffer]] = []
    for buffer in buffers:
        busy = sorted(
            (base, base + other.size)
            for base, other in placed
            if other.first <= buffer.last and buffer.first <= other.last
        )
        base = 0
        for start, end in busy:
            if base + buffer.size <= start:
                break
            base = max(base, end)
        placed.append((base, buffer))
    return {name: base for base, buffer in placed for name in buffer.names}
