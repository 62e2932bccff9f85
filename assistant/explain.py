"""Says why a question was read as it was: the words that drove each prediction, and the nearest known examples.

The sentence vector is the mean of its tokens' vectors and the heads are linear in it, so a word's share of the
evidence for a label is exact, and costs one more pass of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from assistant.head import Head
from assistant.reader import Reader
from assistant.record import Explanation, Influence, Reading
from retrieval.embedder import Embedder, Vectors

WORDS = 4  # that are named for a label
NEAREST = 3
FAINT = 0.05  # share of the strongest word's influence below which a word is left out


@runtime_checkable
class TakesApart(Protocol):
    """An embedder that can say which word brought what."""

    def parts(self, text: str) -> list[tuple[str, Vectors]]:
        """Words in order with their parts of the sentence vector, [d] each; empty where it cannot be taken apart."""
        ...


def explain(
    embedder: Embedder, reader: Reader, reading: Reading, text: str, vector: Vectors
) -> tuple[Explanation, ...]:
    """Why ``text`` was taken for its domain, intent and sentiment; what was chosen by the user needs no reason."""
    parts = embedder.parts(text) if isinstance(embedder, TakesApart) else []
    near = reader.nearest(reading.domain, vector, NEAREST) if reading.domain else ()
    return tuple(
        Explanation(of, label, influences(head, label, parts), near if of == "intent" else ())
        for of, label, head in _predictions(reader, reading)
    )


def _predictions(reader: Reader, reading: Reading) -> Iterator[tuple[str, str, Head]]:
    if reading.domain and not reading.chosen and reading.domain in reader.router.labels:
        yield "domain", reading.domain, reader.router
    if reading.domain and reading.intent:
        yield "intent", reading.intent, reader.intents[reading.domain]
    if reading.sentiment != "neutral" and reading.sentiment in reader.sentiment.labels:
        yield "sentiment", reading.sentiment, reader.sentiment


def influences(head: Head, label: str, parts: Sequence[tuple[str, Vectors]]) -> tuple[Influence, ...]:
    """The words that spoke most for or against ``label``, against the other labels by their odds; strongest first."""
    if not parts or len(head.labels) < 2:
        return ()
    matrix = np.stack([part for _, part in parts])
    place = head.labels.index(label)
    odds = np.array([dict(head.probabilities(matrix.sum(0)))[name] for name in head.labels])
    odds[place] = 0.0
    direction = head.weights[place] - odds @ head.weights / max(float(odds.sum()), 1e-12)
    worth = matrix @ direction
    strongest = np.argsort(-np.abs(worth), kind="stable")[:WORDS]
    least = FAINT * float(np.abs(worth).max())
    return tuple(Influence(parts[i][0], round(float(worth[i]), 3)) for i in strongest if abs(worth[i]) > least)
