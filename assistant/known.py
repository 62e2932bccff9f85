"""Questions that a pack's lessons have answered before: a new one close to them is led to the same sentence.

Two questions in everyday words are closer to each other than either is to the article that answers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retrieval.embedder import Vectors
from retrieval.passage import Hit, sentences

NEAR = 0.45  # cosine from which a known question says something about a new one
LED_TO = 10  # passages that known questions may bring into a search
Place = tuple[str, int]  # passage id and which of its sentences


@dataclass(frozen=True, slots=True)
class Near:
    """What the known questions say about a new one."""

    places: Mapping[Place, float]  # similarity to the closest question that each sentence answers, best first
    unanswered: float  # … to the closest question that nothing answers; 0 where there is none

    def passages(self) -> list[str]:
        """Ids of the passages that answered similar questions, best first."""
        return list(dict.fromkeys(name for (name, _), similarity in self.places.items() if similarity >= NEAR))[:LED_TO]

    def mark(self, hit: Hit) -> Hit:
        """The hit with what is known about each of its sentences."""
        name = hit.passage.id
        count = len(sentences(hit.passage.text))
        return replace(hit, known=tuple(round(self.places.get((name, number), 0.0), 4) for number in range(count)))


NOTHING = Near({}, 0.0)


@dataclass(frozen=True, slots=True)
class Known:
    """The lessons as keys."""

    vectors: Vectors  # [n, d], unit rows
    places: tuple[Place | None, ...]  # what answers each; None: nothing does

    def near(self, vector: Vectors) -> Near:
        """Which known questions a new one resembles, and what answers those."""
        if not self.places:
            return NOTHING
        similarity = self.vectors @ vector
        found: dict[Place, float] = {}
        unanswered = 0.0
        for number in np.argsort(-similarity, kind="stable"):
            place = self.places[number]
            if place is None:
                unanswered = max(unanswered, float(similarity[number]))
            else:
                found.setdefault(place, float(similarity[number]))
        return Near(found, unanswered)

    def only(self, numbers: Sequence[int]) -> Known:
        """Some of the lessons."""
        return Known(self.vectors[list(numbers)], tuple(self.places[number] for number in numbers))
