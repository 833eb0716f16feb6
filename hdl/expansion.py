"""The order in which the weight expander makes a step's codes (``docs/expander.md``)."""

from dataclasses import dataclass

from .packing import slot

__all__ = ["BURST_RESTART", "PIPELINE", "Visit", "visit_count", "visits"]

BURST_RESTART = 2
"""Cycles between the last visit of a burst and the first one of the next."""
PIPELINE = 4
"""Cycles from a visit to the word that it completes."""


@dataclass(frozen=True)
class Visit:
    """One cycle's work: the part of a group of lanes whose codes lie in one word.

    Parameters
    ----------
    row, group : int
        Lanes ``group * width`` and up of a row.
    slots : tuple of (int, int)
        Places in the word, and the lanes of the group that go there.
    word_end, group_end : bool
        Whether it completes the word, and the group.
    """

    row: int
    group: int
    slots: tuple[tuple[int, int], ...]
    word_end: bool
    group_end: bool


def visits(rows, lanes, per_word, width):
    """Return the visits of a step, in order.

    Parameters
    ----------
    rows, lanes : int
        Of the shift engine.
    per_word : int
        Codes of a loader word.
    width : int
        Lanes of a group: codes made per cycle.

    Returns
    -------
    list of Visit
    """
    made = []
    for row in range(rows):
        for group, low in enumerate(range(0, lanes, width)):
            codes = range(row * lanes + low, row * lanes + min(low + width, lanes))
            for word in range(slot(codes[0], per_word)[0], slot(codes[-1], per_word)[0] + 1):
                here = [code for code in codes if slot(code, per_word)[0] == word]
                made.append(Visit(
                    row, group, tuple((slot(code, per_word)[1], code - codes[0]) for code in here),
                    word_end=slot(here[-1] + 1, per_word)[1] == 0 or here[-1] + 1 == rows * lanes,
                    group_end=here[-1] == codes[-1]))
    return made


def visit_count(rows, lanes, per_word, width):
    """Return ``len(visits(...))``: groups, and one more where a word ends inside a group."""
    cut = sum(code % lanes % width > 0 for code in range(per_word, rows * lanes, per_word))
    return rows * -(-lanes // width) + cut
