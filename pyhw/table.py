"""Tables of plain text and of HTML: what objects show of themselves."""

from collections.abc import Sequence
from html import escape

__all__ = ["html_table", "text_table"]


def text_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows in columns, one a line.

    Parameters
    ----------
    rows : sequence of sequence of str
        All of one length, the first usually a head.
    left : int
        Columns aligned to the left; the others are to the right.

    Returns
    -------
    str
        Ends in a line break.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) if i < left else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths))) for row in rows)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def html_table(caption: str, rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows as an HTML table for a notebook, the first row as its head.

    Parameters
    ----------
    caption : str
        Line above the table; texts are escaped, here and in the cells.
    rows, left
        As of `text_table`.

    Returns
    -------
    str
    """
    def line(row: Sequence[str], tag: str) -> str:
        cells = (f'<{tag} style="text-align:{"left" if i < left else "right"}">{escape(cell)}'
                 f"</{tag}>" for i, cell in enumerate(row))
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line(row, "td") for row in rows[1:])
    return (f"<table><caption>{escape(caption)}</caption><thead>{line(rows[0], 'th')}</thead>"
            f"<tbody>{body}</tbody></table>")
