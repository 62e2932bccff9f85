"""Leaves out of a ranking what another document says in nearly the same words. Compares few, and changes no index."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from retrieval.passage import Passage
from retrieval.tables import spaced, words_in

SAME = 0.9  # share of runs of words in common, above which two passages are copies
RUN = 5  # words
_FIGURE = re.compile(r"\d+")


def distinct(
    order: Sequence[int], k: int, read: Callable[[Sequence[int]], Mapping[int, Passage]]
) -> dict[int, Passage]:
    """The ``k`` best passages by row, best first, without copies. Of two versions the one of the newer date stays.

    Args:
        order: rows, best first.
        k: how many.
        read: gives the passages in rows; what is gone is left out.
    """
    kept: dict[int, _Version] = {}
    for start in range(0, len(order), 2 * k or 1):  # beyond the k best: a newer version may stand a little lower
        block = order[start : start + 2 * k]
        found = read(block)
        for row in (row for row in block if row in found):
            version = _Version(found[row])
            other = next((one for one in kept if kept[one].copies(version)), None)
            if other is None:
                kept[row] = version
            elif version.passage.date > kept[other].passage.date:
                del kept[other]
                kept[row] = version
        if len(kept) >= k:
            break
    return {row: version.passage for row, version in list(kept.items())[:k]}


class _Version:
    """A passage with what it is compared by."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        words = words_in(spaced(passage.text.lower()))
        self.runs = set(zip(*(words[at:] for at in range(RUN)), strict=False)) or {tuple(words)}

    def copies(self, other: _Version) -> bool:
        """Whether both say the same to the same readers; of one date, with the same figures, too."""
        mine, theirs = self.passage, other.passage
        if mine.document == theirs.document or mine.access != theirs.access:
            return False
        least = SAME * max(len(self.runs), len(other.runs))
        if min(len(self.runs), len(other.runs)) <= least or len(self.runs & other.runs) <= least:
            return False
        return mine.date != theirs.date or _FIGURE.findall(mine.text) == _FIGURE.findall(theirs.text)
