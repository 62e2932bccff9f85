"""Pages set in two columns: which words belong together, and in which order they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

ROWS = 6  # with text on both sides that make two columns, and at least half of all rows
WORDS = 3.5  # of a side of such a row on average; fewer are the cells of a table
MIDDLE = (0.3, 0.7)  # of the text's width, where the gap may lie
STEPS = 40  # places tried in it


class Spot(NamedTuple):
    """A word, or words that stand together."""

    left: float
    top: float
    right: float
    bottom: float
    words: int = 1


def blocks(spots: Sequence[Spot]) -> list[list[int]]:
    """The places of the spots in ``spots``, block by block as they are read; one block where there are no columns."""
    rows = _rows(spots)
    gap = _gap(spots, rows)
    if gap is None:
        return [list(range(len(spots)))]
    found = []
    for across, group in groupby(rows, key=lambda row: any(spots[at].left < gap < spots[at].right for at in row)):
        places = [at for row in group for at in row]
        if across:
            found.append(places)
        else:
            left = [at for at in places if spots[at].right <= gap]
            found += [side for side in (left, sorted(set(places) - set(left))) if side]
    return found


def _rows(spots: Sequence[Spot]) -> list[list[int]]:
    """Places of the spots that stand beside each other, from top to bottom."""
    rows: list[list[int]] = []
    bottom = float("-inf")
    for at in sorted(range(len(spots)), key=lambda at: spots[at].top + spots[at].bottom):
        if not rows or (spots[at].top + spots[at].bottom) / 2 > bottom:
            rows.append([])
            bottom = spots[at].bottom
        rows[-1].append(at)
    return rows


def _gap(spots: Sequence[Spot], rows: Sequence[Sequence[int]]) -> float | None:
    """Where the gap between two columns lies."""
    if len(rows) < ROWS:
        return None
    left, right = min(spot.left for spot in spots), max(spot.right for spot in spots)
    half = 0.4 * median(spot.bottom - spot.top for spot in spots)
    tried = [left + (right - left) * (MIDDLE[0] + (MIDDLE[1] - MIDDLE[0]) * step / STEPS) for step in range(STEPS + 1)]
    parted = {x: list(_parted(spots, rows, x, half)) for x in tried}
    gap = max(tried, key=lambda x: (len(parted[x]), -abs(x - (left + right) / 2)))
    sides = 2 * len(parted[gap])
    enough = len(parted[gap]) >= max(ROWS, len(rows) / 2) and sum(parted[gap]) >= WORDS * sides
    return gap if enough else None


def _parted(spots: Sequence[Spot], rows: Sequence[Sequence[int]], x: float, half: float) -> Iterator[int]:
    """For each row with text on both sides of a gap at ``x`` and none in it, its words."""
    for row in rows:
        before = any(spots[at].right <= x - half for at in row)
        behind = any(spots[at].left >= x + half for at in row)
        if before and behind and all(spots[at].right <= x - half or spots[at].left >= x + half for at in row):
            yield sum(spots[at].words for at in row)
