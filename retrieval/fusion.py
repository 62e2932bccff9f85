"""One ranking made of several: by rank, or by score with what the best passages say of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.embedder import Vectors

RANK_CONSTANT = 5  # of reciprocal-rank fusion (Cormack et al., SIGIR 2009, use 60); 2 to 10 did best on the packs
LEADERS = 3  # passages that the question learns from (Rocchio's feedback, without a person)
LEARNED = 0.5  # what they weigh beside the question, at most
SMOOTHED = 50  # candidates that vouch for each other
VOUCHED = 0.4  # share of a passage's score that its neighbours among them give, at most
NEIGHBOURS = 10  # … of which
WIDE = 100  # candidates by words and by meaning
DOUBT, TRUST = 1.0, 4.0  # how far the first stands above the tenth: up to DOUBT nothing is learned, from TRUST all
Scores = Mapping[int, float]  # by row, higher is better


def fuse(rankings: Iterable[Sequence[int]]) -> dict[int, float]:
    """Reciprocal-rank fusion: a score for every row of the rankings, higher is better."""
    fused: dict[int, float] = {}
    for ranking in rankings:
        for place, row in enumerate(ranking):
            fused[row] = fused.get(row, 0.0) + 1.0 / (RANK_CONSTANT + place + 1)
    return fused


def hybrid(
    vector: Vectors,
    words: Scores,
    near: Scores,
    nearest: Callable[[Vectors], Scores],
    vectors: Callable[[Sequence[int]], Mapping[int, Vectors]],
) -> dict[int, float]:
    """Scores by words and meaning together; where the first stand out, what they hold is searched for, too.

    It needs nothing that was learned from questions, and is made for more passages than one can know.

    Args:
        vector: the question's, [d], unit length.
        words: BM25 of the ``WIDE`` best passages.
        near: cosines of the ``WIDE`` passages nearest to it.
        nearest: finds the same for another vector.
        vectors: of passages, by row.
    """
    first = blend(words, near)
    trust = _trust(first)
    if not trust:
        return first
    leaders = best(first, LEADERS)
    found = vectors(leaders)
    moved = _moved(vector, [found[row] for row in leaders if row in found], LEARNED * trust)
    second = blend(words, nearest(moved))
    top = best(second, SMOOTHED)
    smooth = vouched({row: second[row] for row in top}, vectors(top), VOUCHED * trust)
    behind = min(smooth.values(), default=0.0) - max(second.values(), default=0.0)
    return {row: second[row] + behind for row in second} | smooth


def _trust(scores: Scores) -> float:
    """How surely the best passages are the right ones to learn from: [0, 1]."""
    ordered = sorted(scores.values(), reverse=True)[:10]
    margin = ordered[0] - ordered[-1] if ordered else 0.0
    return min(1.0, max(0.0, (margin - DOUBT) / (TRUST - DOUBT)))


def blend(words: Scores, meaning: Scores) -> dict[int, float]:
    """The sum of both in standard deviations of each; a passage that one lacks gets the least that it gives.

    Of a question's words fewer passages may hold one than are near in meaning: the others count as 0.
    """
    rows = sorted(words.keys() | meaning.keys())
    total = np.zeros(len(rows))
    for part, without in ((words, max(0, len(meaning) - len(words))), (meaning, 0)):
        own = np.array([*part.values(), *[0.0] * without])
        if len(own):
            scores = np.array([part.get(row, own.min()) for row in rows])
            total += (scores - own.mean()) / (own.std() + 1e-9)
    return dict(zip(rows, total.tolist(), strict=True))


def best(scores: Scores, count: int) -> list[int]:
    """The rows with the highest scores, best first."""
    return sorted(scores, key=lambda row: (-scores[row], row))[:count]


def _moved(vector: Vectors, leaders: Sequence[Vectors], weight: float) -> Vectors:
    """A question's vector moved towards those of its best passages, the first most: [d], unit length."""
    if not leaders:
        return vector
    shares = 1 / np.sqrt(np.arange(len(leaders)) + 1)
    moved = vector + weight * (shares / shares.sum()) @ np.stack(leaders)
    return np.ascontiguousarray(moved / np.linalg.norm(moved), dtype=np.float32)


def vouched(scores: Scores, vectors: Mapping[int, Vectors], share: float) -> dict[int, float]:
    """Scores smoothed over those of the nearest neighbours: relevant passages lie together, strays alone."""
    rows = [row for row in scores if row in vectors]
    if len(rows) < 2:
        return dict(scores)
    own = np.array([scores[row] for row in rows])
    own -= own.min()
    near = _neighbours(np.stack([vectors[row] for row in rows]))
    return dict(zip(rows, ((1 - share) * own + share * near @ own).tolist(), strict=True))


def _neighbours(vectors: Vectors) -> NDArray[np.float64]:
    """What each weighs for each, [n, n]: the cube of the cosine of the nearest, rows that sum to one."""
    cosine = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(cosine, 0.0)
    if len(cosine) > NEIGHBOURS:
        least = np.partition(cosine, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS, None]
        cosine = np.where(cosine >= least, cosine, 0.0)
    weight: NDArray[np.float64] = np.clip(cosine, 0.0, None) ** 3
    weight /= weight.sum(axis=1, keepdims=True) + 1e-9
    return weight
