"""Memory: every map gets scratch addresses for as long as it is needed."""

from dataclasses import dataclass

from hdl.config import Config

from .errors import CompileError
from .job import Job
from .maps import Map

__all__ = ["Placement", "allocate"]


@dataclass(frozen=True)
class Placement:
    """A map's place: bytes [base, base + size) while jobs first..last run."""

    name: str
    base: int
    size: int
    first: int
    last: int


def _lifetimes(jobs: list[Job], source: str, output: str) -> dict[str, list[int]]:
    """Return the first and last job that needs each map."""
    life = {source: [-1, -1]}
    for index, job in enumerate(jobs):
        life.setdefault(job.target.name, [index, index])[1] = index
        for read in (job.source, job.residual):
            if read is not None:
                life[read.name][1] = index
    life[output][1] = len(jobs)
    return life


def allocate(jobs: list[Job], maps: dict[str, Map], source: str, output: str,
             config: Config) -> list[Placement]:
    """Assign bases, first fit in order of first use; maps that are needed at once are disjoint.

    Raises
    ------
    CompileError
        If the maps do not fit the scratchpad: which layer, and by how much.
    """
    life = _lifetimes(jobs, source, output)
    placed: list[Placement] = []
    for name, (first, last) in sorted(life.items(), key=lambda item: item[1][0]):
        size = maps[name].size
        busy = sorted((p.base, p.base + p.size) for p in placed
                      if p.first <= last and first <= p.last)
        base = 0
        for start, end in busy:
            if base + size <= start:
                break
            base = max(base, end)
        if base + size > config.scratch_bytes:
            slots = maps[name].slots
            hint = (f"compile for fewer than {slots * config.groups} images at once, or "
                    if slots > 1 else "")
            raise CompileError(
                name, f"its map of {size} bytes ends {base + size - config.scratch_bytes} bytes "
                f"beyond the scratchpad of {config.scratch_bytes}",
                f"{hint}take a configuration with scratch_bytes of at least {base + size}")
        maps[name].base = base
        placed.append(Placement(name, base, size, first, last))
    return placed
