"""Labels many texts from few answers: clusters, proposals that spread from what is known, the next question to ask.

Nothing here asks a person; the command line does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.semi_supervised import LabelSpreading

from assistant.head import FOLDS, Predicted
from assistant.words import content
from retrieval.embedder import Vectors

NEIGHBOURS = 7  # through which labels spread
HOLD = 0.1  # share of its own label that a known text may lose to its neighbours
NAME_WORDS = 2


@dataclass(frozen=True, slots=True)
class Cluster:
    """Texts that lie together."""

    name: str  # proposed from the words that are commonest here against elsewhere
    members: tuple[int, ...]  # the most central first


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that is probably wrong."""

    place: int
    given: str
    likelier: str
    probability: float  # of the likelier label, from a head that did not see this row


def clusters(texts: Sequence[str], vectors: Vectors, count: int | None = None, seed: int = 0) -> list[Cluster]:
    """Group texts by meaning, the largest group first.

    Args:
        texts: n texts.
        vectors: [n, d], unit rows.
        count: how many groups; by default the root of half of n.
        seed: of the start.
    """
    count = min(count or max(2, round((len(texts) / 2) ** 0.5)), len(texts))
    model = KMeans(count, n_init=4, random_state=seed).fit(vectors)
    stems = [content(text) for text in texts]
    everywhere = Counter(word for words in stems for word in words)
    found = []
    for number in range(count):
        members = np.flatnonzero(model.labels_ == number)
        order = members[np.argsort(-(vectors[members] @ model.cluster_centers_[number]), kind="stable")]
        found.append(Cluster(_name([stems[place] for place in members], everywhere), tuple(map(int, order))))
    return sorted(found, key=lambda cluster: -len(cluster.members))


def spread(vectors: Vectors, known: Mapping[int, str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Labels and, for each text, their probabilities, [n, labels], spread from the known ones over near neighbours."""
    labels = tuple(sorted(set(known.values())))
    if len(labels) < 2:
        return labels, np.ones((len(vectors), len(labels)))
    target = np.full(len(vectors), -1)
    for place, label in known.items():
        target[place] = labels.index(label)
    model = LabelSpreading(kernel="knn", n_neighbors=min(NEIGHBOURS, len(vectors) - 1), alpha=HOLD, max_iter=100)
    near = model.fit(vectors, target).label_distributions_
    # a head on the known texts and the surest proposals: what no neighbour reaches gets a label, too
    sure = (near.max(1) >= 0.9) | (target >= 0)
    head = LogisticRegression(C=20.0, max_iter=1000, class_weight="balanced")
    learned = np.where(target[sure] >= 0, target[sure], near[sure].argmax(1))
    if len(set(learned.tolist())) < len(labels):
        return labels, np.asarray(near)
    odds = (near + head.fit(vectors[sure], learned).predict_proba(vectors)) / 2
    for place, label in known.items():
        odds[place] = np.eye(len(labels))[labels.index(label)]
    return labels, np.asarray(odds)


def proposals(labels: Sequence[str], odds: NDArray[np.float64]) -> list[Predicted]:
    """The likeliest label of each text, with its probability."""
    return [(labels[int(place)], float(row[place])) for row, place in zip(odds, odds.argmax(1), strict=True)]


def next_question(vectors: Vectors, odds: NDArray[np.float64], known: Mapping[int, str]) -> int | None:
    """The text whose label would teach most: least sure, where many others lie; None when all are known."""
    open_ = np.array([place for place in range(len(vectors)) if place not in known], dtype=int)
    if not len(open_):
        return None
    doubt = 1.0 - odds[open_].max(1)
    crowd = (vectors[open_] @ vectors.T).mean(1)
    return int(open_[np.argmax((doubt + 1e-3) * np.maximum(crowd, 1e-6))])


def doubts(vectors: Vectors, labels: Sequence[str]) -> list[Doubt]:
    """Labels that a head which did not see them finds wrong, likeliest first (confident learning, Northcutt, 2021).

    A label counts as wrong where another one is as likely as it is, on average, for the texts that carry it.
    """
    names = sorted(set(labels))
    target = np.array([names.index(label) for label in labels])
    fewest = int(np.bincount(target).min())
    if len(names) < 2 or fewest < 2:
        return []
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=0)
    head = LogisticRegression(C=20.0, max_iter=1000, class_weight="balanced")
    odds = cross_val_predict(head, vectors, target, cv=folds, method="predict_proba")
    usual = np.array([odds[target == place, place].mean() for place in range(len(names))])
    likely = np.where(odds >= usual, odds, 0.0)
    found = [
        Doubt(place, names[given], names[int(best)], float(odds[place, best]))
        for place, (given, best) in enumerate(zip(target, likely.argmax(1), strict=True))
        if best != given and likely[place, best] > odds[place, given]
    ]
    return sorted(found, key=lambda doubt: -doubt.probability)


def _name(members: Sequence[set[str]], everywhere: Counter[str]) -> str:
    here = Counter(word for words in members for word in words)
    best = sorted(here, key=lambda word: (-(here[word] ** 2) / everywhere[word], word))
    return "_".join(best[:NAME_WORDS]) or "other"
