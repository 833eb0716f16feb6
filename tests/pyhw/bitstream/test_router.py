"""A router that goes in circles, and the seeds past it."""

import pytest

from pyhw.bitstream.router import SPARE_SEEDS, how_far, routed_seeds, stuck_router
from pyhw.bitstream.stages import Stuck


def rows(*counts):
    """Return lines of nextpnr's table of arcs: routed without taking out, left."""
    return [f"Info: {1000 * n:10} | {1000 * n - done:8} {done:10} | {1000 - done:4} {done:5} |"
            f"{left:10}|       0.15      18.01|" for n, (done, left) in enumerate(counts, 1)]


def test_router_that_goes_in_circles_is_seen():
    ends = stuck_router()
    assert not any(map(ends, rows(*((600, 9000 - 100 * n) for n in range(80)))))
    circles = stuck_router()
    seen = [circles(line) for line in rows(*((600, 4000) for _ in range(60)),
                                           *((0, 3614) for _ in range(60)))]
    assert not any(seen[:100])
    assert seen[101]
    # Hard, but it goes on: now and then an arc is routed.
    hard = stuck_router()
    assert not any(map(hard, rows(*((int(n % 20 == 0), 50 - n // 20) for n in range(900)))))


@pytest.mark.parametrize(("line", "shown"), [
    (rows((600, 64842))[0], "64,842 connections left to route"),
    ("Info:     at iteration #4, type ALL: wirelen solved = 248243, spread = 491205",
     "placing, round 4"),
    ("Info:   at iteration #35: temp = 0.000000, timing cost = 592, wirelen = 458189",
     "refining the placement, round 35"),
    ("Info: Routing globals...", "Routing globals..."),
    ("Info:     routing clock net clk using global 0", None),
    ("", None),
])
def test_how_far_it_is_can_be_seen(line, shown):
    assert how_far(line) == shown


def test_seeds_that_cannot_be_routed_are_passed_over():
    said = []

    def route(seed):
        if seed % 2:
            raise Stuck(f"seed {seed}", "")
        return seed * 10

    assert list(routed_seeds(route, 3, said.append)) == [(2, 20), (4, 40), (6, 60)]
    assert said == [f"seed {seed} cannot be routed; the next one" for seed in (1, 3, 5)]


def test_a_design_that_no_seed_routes_is_an_error():
    tried = []

    def route(seed):
        tried.append(seed)
        raise Stuck(f"seed {seed}", "")

    with pytest.raises(Stuck, match=f"seed {SPARE_SEEDS + 1}"):
        list(routed_seeds(route, 2))
    assert len(tried) == SPARE_SEEDS + 1
