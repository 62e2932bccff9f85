"""Decides whether a text belongs to any class at all: a judge over three signs, with a threshold for a stated aim.

The signs: how likely the likeliest class is, how much probability the class of strangers takes, and how close the
nearest example lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from assistant import classifier
from assistant.classifier import FLOOR, Classifier, EmbedTexts, Remembering, Tune
from assistant.dataset import Labelled
from assistant.head import FOLDS
from retrieval.embedder import Vectors

STRANGER = "oos"  # the class of what belongs to none
WORTH = 0.5  # of a stranger that is caught, against a text that is rightly kept and classed: half each


@dataclass(frozen=True, slots=True)
class Scoped:
    """A classifier that may say ``STRANGER``."""

    inner: Classifier  # STRANGER is one of its classes
    examples: Vectors  # [n, d], those that belong
    judge: LogisticRegression
    threshold: float = 0.5

    def labels(self, texts: Sequence[str]) -> list[str]:
        """A class for each text, or ``STRANGER``."""
        found, signs = _read(self, texts)
        strange = self.judge.predict_proba(signs)[:, 1] >= self.threshold
        return [STRANGER if odd else name for odd, name in zip(strange, _names(self.inner, found), strict=True)]


def fit(
    rows: Sequence[Labelled],
    strangers: Sequence[Labelled],
    embed: EmbedTexts,
    *,
    dev: Sequence[Labelled] = (),
    strange_dev: Sequence[Labelled] = (),
    tune: Tune | None = None,
    seed: int = 0,
) -> Scoped:
    """Fit classes and judge; the judge learns from ``dev`` and ``strange_dev``, or from folds where one is missing."""
    odd = [Labelled(row.text, STRANGER) for row in strangers]
    if tune and not (dev and strange_dev):  # what judges the encoder must be new to it
        (rows, dev), (odd, strange_dev) = classifier.cut(rows, seed), classifier.cut(odd, seed)
    whole = [*rows, *odd]
    once = Remembering(embed)
    inner = classifier.fit(whole, once, dev=[*dev, *strange_dev], tune=tune, seed=seed)
    bare = Scoped(inner, once([row.text for row in rows]), LogisticRegression())
    signs, truth, right = _judged(bare, [*dev, *strange_dev]) if dev and strange_dev else _folded(bare, whole, seed)
    judge = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(signs, truth)
    threshold = _threshold(judge.predict_proba(signs)[:, 1], truth, right)
    return Scoped(replace(inner, embed=embed), bare.examples, judge, threshold)


def _threshold(strange: NDArray[np.float64], truth: NDArray[np.bool_], right: NDArray[np.bool_]) -> float:
    """Where as many strangers are caught and as many others kept and classed rightly as can be."""

    def worth(at: float) -> float:
        kept = ((strange < at) & right)[~truth].mean()
        return WORTH * float((strange[truth] >= at).mean()) + (1 - WORTH) * float(kept)

    return float(max(np.linspace(0.02, 0.98, 97), key=worth))


Signs = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]  # [n, 3], strange, classed rightly


def _judged(scoped: Scoped, rows: Sequence[Labelled]) -> Signs:
    found, signs = _read(scoped, [row.text for row in rows])
    right = [name == row.label for name, row in zip(_names(scoped.inner, found), rows, strict=True)]
    return signs, np.array([row.label == STRANGER for row in rows]), np.array(right)


def _folded(scoped: Scoped, rows: Sequence[Labelled], seed: int) -> Signs:
    """The signs as cheap heads see them that did not learn from the row."""
    truth = np.array([row.label == STRANGER for row in rows])
    signs, right = np.zeros((len(rows), 3)), np.zeros(len(rows), dtype=bool)
    for learn, judge in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(signs, truth):
        learned = [rows[place] for place in learn]
        inner = classifier.refit(scoped.inner, learned)
        known = scoped.inner.embed([row.text for row in learned if row.label != STRANGER])
        signs[judge], _, right[judge] = _judged(
            replace(scoped, inner=inner, examples=known), [rows[place] for place in judge]
        )
    return signs, truth, right


def _read(scoped: Scoped, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of all classes, [n, classes], and the signs, [n, 3]."""
    vectors = scoped.inner.embed(texts)
    found = scoped.inner.probabilities(texts, vectors)
    known = _known(scoped.inner)
    best = np.log(found[:, known].max(1) + FLOOR)
    strange = np.log(np.delete(found, known, axis=1).sum(1) + 1e-4)
    nearest = (vectors @ scoped.examples.T).max(1)
    return found, np.stack([best, strange, 5 * nearest], axis=1)


def _names(inner: Classifier, found: NDArray[np.float64]) -> list[str]:
    known = _known(inner)
    return [inner.labels[known[place]] for place in found[:, known].argmax(1)]


def _known(inner: Classifier) -> list[int]:
    return [place for place, label in enumerate(inner.labels) if label != STRANGER]
