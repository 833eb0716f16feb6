"""nextpnr's router: whether it goes in circles, and the seeds with which it does not."""

import re
from collections.abc import Callable, Iterator

from .stages import Done, Progress, Stuck

__all__ = ["SPARE_SEEDS", "routed_seeds", "stuck_router"]

SPARE_SEEDS = 4
"""Placements beyond those asked for, for those that the router never ends with."""
_IDLE_ROWS = 40
"""Rows of the router's table, of 1,000 arcs each, in which no arc was routed without taking out
another and as many are left as before: it goes in circles (nextpnr issues 179 and 1341)."""
_IDLE_ITERATIONS = 40
"""Iterations of the second router without fewer overused wires than ever before. Too many of them,
and it uses more and more; a few, and the last one may stay."""


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


def stuck_router() -> Callable[[str], bool]:
    """Return a watcher of nextpnr's log that tells when either router goes in circles."""
    row = re.compile(r"^Info: +\d+ \| +\d+ +(\d+) \| +\d+ +(\d+) \| +(\d+)\|")
    iteration = re.compile(r"^Info: +iter=(\d+) wires=\d+ overused=(\d+) ")
    last, idle, fewest, fewest_at = "", 0, 0, 0

    def stuck(line: str) -> bool:
        nonlocal last, idle, fewest, fewest_at
        if (found := row.match(line)) is not None:
            idle = idle + 1 if found[2] == "0" and found[3] == last else 0
            last = found[3]
            return idle >= _IDLE_ROWS
        if (found := iteration.match(line)) is not None:
            number, overused = int(found[1]), int(found[2])
            if number == 1 or overused < fewest:
                fewest, fewest_at = overused, number
            return number - fewest_at >= _IDLE_ITERATIONS
        return False

    return stuck
