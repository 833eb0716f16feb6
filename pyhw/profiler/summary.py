"""What an account says of a whole run: utilisation by engine, the largest loss, JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyhw.hdl.config import Config
from pyhw.hdl.engines.registry import POOLING
from pyhw.hdl.records import Instruction

from .account import CAUSES, Counted, LayerAccount, total

__all__ = ["EngineUse", "engines", "hint", "to_json"]

_REMEDIES = {
    "reduction": "lanes that divide its kernel rows (kernel width x channels) better",
    "channels": "rows that divide its channels",
    "images": "a batch that is a multiple of the groups ({groups})",
    "weights": "wider weight words (load_bits above {load_bits}) or longer bursts (burst_depth "
               "above {burst_depth}, more images a group)",
    "layer": "more images a group (--batch), so that a layer's last results are on their way "
             "while the next one begins",
    "bank": "a wider post-processor (post_width above {post_width})",
    "port": "more scratchpad banks (more lanes of the widest unit; there are {banks})",
    "fill": "more images a group (--batch): short layers mostly wait for their last results",
}
_DEPTHWISE_REMAINDER = "taps that divide its kernel's width, and engines of few rows"
_NO_CHAIN = "a chain for depthwise layers (taps above 0)"


@dataclass(frozen=True)
class EngineUse:
    """How much of an engine a run uses.

    Parameters
    ----------
    name : str
    lanes : int
        All groups together.
    cycles : int
        Of its layers.
    own, run : float
        Useful terms / (cycles x lanes): of its layers' cycles, and of the run's.
    """

    name: str
    lanes: int
    cycles: int
    own: float
    run: float


def engines(accounts: Sequence[LayerAccount], cycles: int) -> list[EngineUse]:
    """Return the use of every engine that has layers, in a run of so many cycles."""
    out = []
    for name in dict.fromkeys(one.engine for one in accounts):
        mine = [one for one in accounts if one.engine == name]
        own, lanes = sum(one.counted.cycles for one in mine), mine[0].lanes
        useful = sum(one.lane_cycles["useful"] for one in mine)
        out.append(EngineUse(name, lanes, own, useful / (own * lanes), useful / (cycles * lanes)))
    return out


def hint(accounts: Sequence[LayerAccount], config: Config,
         layers: Sequence[Instruction]) -> str:
    """Return what loses most and what to change.

    Parameters
    ----------
    accounts : sequence of LayerAccount
    config : Config
    layers : sequence of Instruction
    """
    losses = {cause: cycles for cause, cycles in total(accounts).items() if cause != "useful"}
    cause = max(losses, key=losses.__getitem__)
    if not losses[cause]:
        return "nothing is lost"
    worst = max(range(len(accounts)),
                key=lambda k: accounts[k].share(cause) * accounts[k].counted.cycles)
    one = accounts[worst]
    lost = one.share(cause) * one.counted.cycles
    remedy = _REMEDIES[cause]
    if cause == "reduction" and layers[worst].chain.depthwise:
        remedy = _DEPTHWISE_REMAINDER
    elif cause == "reduction" and layers[worst].steps.run_bytes == 1 and not (
            config.depthwise.columns):
        remedy = _NO_CHAIN
    if one.engine == POOLING.upper() and cause == "channels":
        remedy = "pool_lanes that divide its channels"
    run = sum(a.counted.cycles for a in accounts)
    return (f"largest loss: {CAUSES[cause]}, {losses[cause] / run:.1%} of the run, most of it in "
            f"{one.name} ({lost / losses[cause]:.0%}); what helps: "
            + remedy.format(groups=config.groups, load_bits=config.weights.load_bits,
                            burst_depth=config.burst_depth, post_width=config.post.width,
                            banks=config.banks))


def to_json(network: str, config: Config, images: int, clock_hz: float, cycles: int,
            accounts: Sequence[LayerAccount], *, measured: Sequence[Counted] | None,
            advice: str) -> dict[str, Any]:
    """Return the account for scripts (``docs/profile.md`` lists the keys).

    Parameters
    ----------
    network : str
    config : Config
    images : int
    clock_hz : float
    cycles : int
        Of the whole run.
    accounts : sequence of LayerAccount
    measured : sequence of Counted or None
        The hardware's counters, if there was a simulation.
    advice : str
        As `hint` returns it.
    """
    return {
        "network": network, "configuration": config.name, "hash": config.hash.hex(),
        "images": images, "clock_hz": clock_hz, "cycles": cycles,
        "images_per_second": images * clock_hz / cycles, "hint": advice,
        "engines": [asdict(one) for one in engines(accounts, cycles)],
        "layers": [{"name": one.name, "engine": one.engine, "lanes": one.lanes,
                    "utilisation": one.utilisation, "lane_cycles": one.lane_cycles,
                    "cycles": asdict(one.counted),
                    "measured": None if measured is None else asdict(measured[index])}
                   for index, one in enumerate(accounts)],
    }
