"""The timeline of a run as a picture (SVG)."""

import itertools
from collections.abc import Sequence
from html import escape

import numpy as np

from .account import CAUSES, LayerAccount, total
from .timeline import Timeline

__all__ = ["COLOURS", "WIDTH", "draw"]

COLOURS = {
    "useful": "#2e8b57", "reduction": "#c6dbef", "channels": "#7fb2dc", "images": "#3f78b5",
    "weights": "#e6780d", "layer": "#756bb1", "bank": "#c51b6a", "port": "#f4a6c8",
    "fill": "#dcdcdc",
}
"""Of every cause, in the picture and on the terminal."""
WIDTH = 1200
"""Pixels of the whole run; a bin of the timeline should be one or more of them."""
_LEFT, _RIGHT, _NAMES, _COMPUTE, _STORE = 70, 100, 120, 180, 50
_RESULTS, _PORT = "#666666", "#f4a6c8"
_LABEL_WIDTH = 16


def draw(title: str, line: Timeline, accounts: Sequence[LayerAccount], clock_hz: float) -> str:
    """Draw a run.

    Parameters
    ----------
    title : str
    line : Timeline
    accounts : sequence of LayerAccount
        Of its layers.
    clock_hz : float
        For the times under the cycles.

    Returns
    -------
    str
        An SVG document.
    """
    scale = WIDTH / line.cycles
    top, lower = _NAMES + 40, _NAMES + 40 + _COMPUTE + 24
    parts = [_text(_LEFT, 24, title, size=16), *_layers(line, accounts, scale, top, lower + _STORE)]
    parts += [_text(_LEFT - 8, top + _COMPUTE / 2, "compute", anchor="end"),
              _text(_LEFT - 8, lower + _STORE / 2, "store", anchor="end")]
    parts += _stack(line.compute, line.cycles, list(COLOURS.values()), top, _COMPUTE)
    parts += _stack(line.store, line.cycles, [_RESULTS, _PORT], lower, _STORE)
    parts += _axis(line.cycles, scale, lower + _STORE, clock_hz)
    parts += _legend(line, accounts, lower + _STORE + 70)
    height = lower + _STORE + 130
    width = _LEFT + WIDTH + _RIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start",
          turn: int = 0) -> str:
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{turned}>'
            f"{escape(text)}</text>")


def _layers(line: Timeline, accounts: Sequence[LayerAccount], scale: float, top: float,
            bottom: float) -> list[str]:
    """Draw where each layer begins, its name if there is room, and what a pointer is shown."""
    parts, room = [], 0.0
    for index, (start, one) in enumerate(zip(line.starts, accounts, strict=True)):
        x, width = _LEFT + start * scale, one.counted.cycles * scale
        told = (f"{one.name} ({one.engine}): {one.counted.cycles:,} cycles, "
                f"{one.utilisation:.1%} useful")
        fill = "#f4f4f4" if index % 2 else "#ffffff"
        parts.append(f'<rect x="{x:.2f}" y="{top - 8}" width="{width:.2f}" '
                     f'height="{bottom - top + 8:.0f}" fill="{fill}"><title>{escape(told)}</title>'
                     f"</rect>")
        parts.append(f'<path d="M{x:.2f} {top - 8}V{bottom}" stroke="#999999" '
                     f'stroke-width="0.5"/>')
        if x + width / 2 >= room:
            parts.append(_text(x + width / 2, top - 12, one.name, size=11, turn=-45))
            room = x + width / 2 + _LABEL_WIDTH
    return parts


def _stack(bins: np.ndarray, cycles: int, colours: Sequence[str], top: float,
           height: float) -> list[str]:
    """Draw the columns of an array (bins, kinds) as stacked steps, the first at the bottom."""
    edges = _LEFT + (np.arange(len(bins) + 1) * cycles // len(bins)) * (WIDTH / cycles)
    lengths = np.diff(np.arange(len(bins) + 1) * cycles // len(bins))
    levels = np.concatenate([np.zeros((len(bins), 1)), np.cumsum(bins, axis=1)], axis=1)
    heights = top + height * (1 - levels / lengths[:, None])
    parts = []
    for kind, colour in enumerate(colours):
        if not bins[:, kind].any():
            continue
        upper, lower = heights[:, kind + 1], heights[:, kind]
        path = _steps(edges, upper) + "L" + _steps(edges, lower, back=True)[1:] + "Z"
        parts.append(f'<path d="{path}" fill="{colour}" pointer-events="none"/>')
    return parts


def _steps(edges: np.ndarray, levels: np.ndarray, *, back: bool = False) -> str:
    """Return the path of a step function, from left to right or back; equal steps are one."""
    changes = [0, *(np.flatnonzero(np.abs(np.diff(levels)) > 0.01) + 1).tolist(), len(levels)]
    points = [(edges[x], levels[begin]) for begin, end in itertools.pairwise(changes)
              for x in (begin, end)]
    if back:
        points.reverse()
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)


def _axis(cycles: int, scale: float, y: float, clock_hz: float) -> list[str]:
    step = 10 ** (len(str(cycles)) - 1)
    step = next(size for size in (step // 10 or 1, step // 5 or 1, step // 2 or 1, step)
                if cycles / size <= 12)
    parts = []
    for at in range(0, cycles + 1, step):
        x, us = _LEFT + at * scale, at / clock_hz * 1e6
        parts += [f'<path d="M{x:.2f} {y}v6" stroke="black"/>',
                  _text(x, y + 20, f"{at:,}", anchor="middle"),
                  _text(x, y + 36, f"{us:,.{0 if us >= 10 else 2}f} µs", size=10, anchor="middle")]
    return [*parts, _text(_LEFT - 8, y + 20, "cycles", anchor="end")]


def _legend(line: Timeline, accounts: Sequence[LayerAccount], y: float) -> list[str]:
    shares, parts = total(accounts), []
    cycles = sum(shares.values())
    port = line.store[:, 1].sum()
    entries = [(colour, f"{CAUSES[cause]} {shares[cause] / cycles:.1%}")
               for cause, colour in COLOURS.items() if shares[cause]]
    entries += [(_RESULTS, "store: results stored")]
    entries += [(_PORT, "store: waits for the port")] * bool(port)
    for index, (colour, text) in enumerate(entries):
        column, row = index % 5, index // 5
        x = _LEFT + column * 250
        parts += [f'<rect x="{x}" y="{y + row * 22 - 11}" width="14" height="14" '
                  f'fill="{colour}"/>', _text(x + 20, y + row * 22, text)]
    return parts
