"""A picture of the placed cells, coloured by component."""

from collections import Counter
from html import escape

from .netlist import Placement

__all__ = ["COLOURS", "colours", "floorplan"]

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5",
           "#9c6b4e", "#6b8e23", "#d62728", "#17becf", "#7f5fc7", "#c7a252", "#2f6f6f", "#b5477f")
_OTHERS = "#9498a0"
_TILE = 7


def colours(placement: Placement) -> dict[str, str]:
    """Return a colour for each component, the largest first; the rest share one."""
    sizes: Counter[str] = Counter()
    for owners in placement.tiles.values():
        sizes.update(owners)
    names = [name for name, _ in sizes.most_common()]
    return {name: COLOURS[rank] if rank < len(COLOURS) else _OTHERS
            for rank, name in enumerate(names)}


def floorplan(placement: Placement, path: tuple[tuple[int, int], ...] = ()) -> str:
    """Return an SVG: a square for every tile in use, in the colour of whom most of it is.

    Parameters
    ----------
    placement : Placement
    path : tuple of (int, int)
        Places of the cells of a path, drawn as a line.
    """
    width, height = placement.size
    chosen = colours(placement)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * _TILE} '
             f'{height * _TILE}" role="img" aria-label="floorplan">']
    for name, colour in chosen.items():
        squares = []
        for (x, y), owners in sorted(placement.tiles.items(), key=lambda item: item[0][::-1]):
            # Ties go to the name, so that the picture does not depend on the order of cells.
            if max(owners, key=lambda owner: (owners[owner], owner)) == name:
                squares.append(f"M{x * _TILE} {y * _TILE}h{_TILE - 1}v{_TILE - 1}h-{_TILE - 1}z")
        if squares:
            parts.append(f'<path fill="{colour}" d="{"".join(squares)}">'
                         f"<title>{escape(name)}</title></path>")
    if path:
        half = _TILE // 2
        points = " ".join(f"{x * _TILE + half},{y * _TILE + half}" for x, y in path)
        parts.append(f'<polyline points="{points}" fill="none" stroke="#000" stroke-width="2.5"/>'
                     f'<polyline points="{points}" fill="none" stroke="#fff" stroke-width="1"/>')
    return "".join([*parts, "</svg>"])
