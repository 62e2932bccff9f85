"""Reads a question: which domain, which intent, which mood. Linear heads on one shared embedding, calibrated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from domains.manifest import Sentiment
from domains.pack import Domain
from retrieval.embedder import Vectors

NOWHERE = ""  # the router's class for what belongs to no pack
ANYWHERE = "*"  # … and for greetings and thanks, which belong to every pack
OUT_OF_SCOPE = Path(__file__).parent / "out_of_scope.txt"
SEED = 0
_FOLDS = 4

_SUBJECT = re.compile(r"\b(?:my|our)\b", re.IGNORECASE)
_FOLLOW_UP = re.compile(
    r"^(?:and|but|so|also|what about|how about|what if|why|why not|really|ok|okay|then|or)\b|"
    r"\b(?:it|its|they|them|their|those|these|that one|this one|he|she|the same|there)\b",
    re.IGNORECASE,
)


class EmbedTexts(Protocol):
    """Embeds many texts, from a cache where it can."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[n, d], rows of unit length."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """A calibrated linear classifier on unit vectors."""

    labels: tuple[str, ...]
    weights: NDArray[np.float64]  # [classes, d], temperature folded in
    bias: NDArray[np.float64]  # [classes]

    def probabilities(self, vector: Vectors) -> list[tuple[str, float]]:
        """Labels with their probabilities, likeliest first."""
        values = softmax(self.weights @ vector + self.bias)
        return [(self.labels[i], float(values[i])) for i in np.argsort(-values)]


def fit(vectors: Vectors, labels: Sequence[str], *, strength: float = 20.0) -> Head:
    """Fit a head; its temperature is chosen on folds it was not trained on.

    Args:
        vectors: [n, d], unit rows.
        labels: n labels; with a single class the head always says that one.
        strength: inverse L2 regularisation.
    """
    classes = sorted(set(labels))
    if len(classes) == 1:
        return Head((classes[0],), np.zeros((1, vectors.shape[1])), np.zeros(1))
    model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    target = np.array([classes.index(label) for label in labels])
    model.fit(vectors, target)
    scale = 1.0 / _temperature(model, vectors, target)
    weights, bias = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row for two classes
        weights, bias = np.vstack([-weights[0] / 2, weights[0] / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return Head(tuple(classes), weights * scale, bias * scale)


def _temperature(model: LogisticRegression, vectors: Vectors, target: NDArray[np.int_]) -> float:
    if np.bincount(target).min() < _FOLDS:
        return 1.0
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, vectors, target, cv=folds, method="decision_function")
    if scores.ndim == 1:
        scores = np.stack([-scores / 2, scores / 2], axis=1)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float(logs[np.arange(len(target)), target].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


@dataclass(frozen=True, slots=True)
class Reader:
    """The router over all live packs, an intent head for each, one sentiment head for all."""

    router: Head
    intents: dict[str, Head]
    sentiment: Head

    def domains(self, vector: Vectors) -> list[tuple[str, float]]:
        """Packs, ``NOWHERE`` and ``ANYWHERE`` with probabilities, likeliest first."""
        return self.router.probabilities(vector)

    def intent(self, domain: str, vector: Vectors) -> tuple[str, float]:
        """The likeliest intent; ``("", 0.0)`` in a pack without examples."""
        head = self.intents.get(domain)
        return head.probabilities(vector)[0] if head else ("", 0.0)

    def mood(self, vector: Vectors) -> tuple[Sentiment, float]:
        """The likeliest sentiment."""
        label, probability = self.sentiment.probabilities(vector)[0]
        return ("negative" if label == "negative" else "positive" if label == "positive" else "neutral"), probability


def train(domains: Sequence[Domain], embed: EmbedTexts) -> Reader:
    """Fit every head from the packs' examples, lessons and headings. Takes about a second for three packs."""
    with threadpool_limits(1):  # the products are small: on a busy machine more threads only wait for each other
        texts, labels = zip(*_routed(domains), strict=True)
        examples = [example for domain in domains for example in domain.examples]
        moods = [example.sentiment for example in examples] or ["neutral"]
        mood_vectors = embed([example.text for example in examples] or ["hello"])
        return Reader(
            router=fit(embed(texts), labels),
            intents={domain.name: _intents(domain, embed) for domain in domains if domain.examples},
            sentiment=fit(mood_vectors, moods),
        )


def follows_up(question: str) -> bool:
    """Whether a question leans on the one before it: "and for children?"."""
    said = _FOLLOW_UP.search(question)
    if not said or len(question.split()) > 9:
        return False
    return not _SUBJECT.search(question[: said.start()])  # "my father says he …" brings what it speaks of


def _intents(domain: Domain, embed: EmbedTexts) -> Head:
    return fit(embed([e.text for e in domain.examples]), [e.intent for e in domain.examples])


def _routed(domains: Sequence[Domain]) -> list[tuple[str, str]]:
    rows = [(line, NOWHERE) for line in OUT_OF_SCOPE.read_text().splitlines() if line and not line.startswith("#")]
    for domain in domains:
        social = {intent.name for intent in domain.manifest.intents if intent.responder in ("small_talk", "handover")}
        rows += [(e.text, ANYWHERE if e.intent in social else domain.name) for e in domain.examples]
        rows += [(lesson.ask, domain.name) for lesson in domain.lessons]
        rows += [(article.title, domain.name) for article in domain.articles]
    return rows
