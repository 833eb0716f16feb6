"""nextpnr: how far it is, whether its router goes in circles, and seeds with which it does not."""

import re
from collections.abc import Callable, Iterator

from .stages import Done, Progress, Stuck, heading

__all__ = ["SPARE_SEEDS", "how_far", "routed_seeds", "stuck_router"]

SPARE_SEEDS = 4
"""Placements beyond those asked for, for those that the router never ends with."""
_IDLE_ROWS = 40
"""Rows of the router's table, of 1,000 arcs each, in which no arc was routed without taking out
another and as many are left as before: it goes in circles (nextpnr issues 179 and 1341)."""
_ROW = re.compile(r"^Info: +\d+ \| +\d+ +(\d+) \| +\d+ +(\d+) \| +(\d+)\|")
_ROUND = re.compile(r"^Info: +at iteration #(\d+)([,:])")


def routed_seeds(route: Callable[[int], Done], count: int,
                 progress: Progress = lambda text: None) -> Iterator[tuple[int, Done]]:
    """Route with the seeds from 1 on, passing over those with which the router is stuck.

    Parameters
    ----------
    route : function of a seed
        Runs a stage that watches with `stuck_router`.
    count : int
        Placements wanted.
    progress : callable

    Yields
    ------
    (int, Done)
        A seed and its stage.

    Raises
    ------
    Stuck
        If more than `SPARE_SEEDS` seeds cannot be routed.
    """
    seed = stuck = 0
    while seed - stuck < count:
        seed += 1
        try:
            done = route(seed)
        except Stuck:
            stuck += 1
            if stuck > SPARE_SEEDS:
                raise
            progress(f"seed {seed} cannot be routed; the next one")
        else:
            yield seed, done


def how_far(line: str) -> str | None:
    """Return how far nextpnr is, if a line of its log tells."""
    if (found := _ROW.match(line)) is not None:
        return f"{int(found[3]):,} connections left to route"
    if (found := _ROUND.match(line)) is not None:
        return f"{'placing' if found[2] == ',' else 'refining the placement'}, round {found[1]}"
    return heading(line)


def stuck_router() -> Callable[[str], bool]:
    """Return a watcher of nextpnr's log that tells when its router goes in circles."""
    last, idle = "", 0

    def stuck(line: str) -> bool:
        nonlocal last, idle
        if (found := _ROW.match(line)) is not None:
            idle = idle + 1 if found[2] == "0" and found[3] == last else 0
            last = found[3]
            return idle >= _IDLE_ROWS
        return False

    return stuck
