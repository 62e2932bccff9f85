"""The default recipe for telling texts apart: cheap heads and a tuned encoder, mixed on held-out rows, calibrated.

A linear head on the shared embedding, one on words and pieces of words, and, where it is asked for, a fine-tuned
encoder. It chooses shares and temperature on rows that the heads did not learn from, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline, make_union

from assistant.dataset import DataError, Labelled
from assistant.head import FOLDS, Predicted, temperature
from retrieval.embedder import Vectors

Logs = NDArray[np.float64]  # [n, classes], logarithms of probabilities
EmbedTexts = Callable[[Sequence[str]], Vectors]
STRENGTH = 20.0  # inverse L2 regularisation of the head on the embedding
WORD_STRENGTH = 10.0  # … of the head on words
WORDS_FROM = 5  # rows a class, on average, from which words are worth counting
WORD_SHARES = (0.0, 0.2, 0.35, 0.5)
TUNED_SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)
TUNE_FROM = 30  # rows a class, on average, from which a fine-tuned encoder is worth its minutes; see NOTES.md
FLOOR = 1e-9


class Tuned(Protocol):
    """A fine-tuned encoder."""

    @property
    def labels(self) -> Sequence[str]:
        """Its classes."""
        ...

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[n, classes]."""
        ...


Tune = Callable[[Sequence[Labelled], Sequence[Labelled]], Tuned]  # rows, rows to stop early on


@dataclass(frozen=True, slots=True)
class Cheap:
    """The heads that are fitted in seconds: on the shared embedding, and on words where there are rows enough."""

    labels: tuple[str, ...]
    linear: LogisticRegression
    words: Any = None  # a scikit-learn pipeline, or None

    def logs(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """What the heads say, [2, n, classes]; the second repeats the first where there is no head on words."""
        linear = _logs(self.linear.predict_proba(vectors))
        return np.stack([linear, _logs(self.words.predict_proba(texts)) if self.words is not None else linear])


@dataclass(frozen=True, slots=True)
class Classifier:
    """A fitted recipe; thread-safe, since nothing changes."""

    labels: tuple[str, ...]
    embed: EmbedTexts
    cheap: Cheap
    share: float  # of the words among the cheap heads
    heat: float  # temperature of the whole
    tuned: Tuned | None = None
    tuned_share: float = 0.0

    def probabilities(self, texts: Sequence[str], vectors: Vectors | None = None) -> NDArray[np.float64]:
        """[n, classes], calibrated; ``vectors`` saves embedding the texts again."""
        vectors = self.embed(texts) if vectors is None else vectors
        scores = _joined(self.cheap.logs(texts, vectors), self.share)
        if self.tuned is not None:
            scores = _joined([scores, log_softmax(self.tuned.logits(texts), axis=1)], self.tuned_share)
        return np.asarray(softmax(scores / self.heat, axis=1))

    def predict(self, texts: Sequence[str]) -> list[Predicted]:
        """The likeliest label of each text, with its probability."""
        found = self.probabilities(texts)
        return [(self.labels[place], float(row[place])) for row, place in zip(found, found.argmax(1), strict=True)]


def fit(
    rows: Sequence[Labelled],
    embed: EmbedTexts,
    *,
    dev: Sequence[Labelled] = (),
    tune: Tune | None = None,
    seed: int = 0,
) -> Classifier:
    """Fit the recipe; shares and temperature are chosen on rows that the heads did not learn from.

    Args:
        rows: what to learn from.
        embed: the shared embedding.
        dev: what a fine-tuned encoder stops early on; without it, a tenth of ``rows``.
        tune: makes a fine-tuned encoder; None does without one.
        seed: of folds and samples.

    Raises:
        DataError: fewer than two labels.
    """
    labels = tuple(sorted({row.label for row in rows}))
    if len(labels) < 2:
        raise DataError(f"expected at least two labels to tell apart, found only {', '.join(labels) or 'none'}")
    texts, vectors, targets = _texts(rows), embed([row.text for row in rows]), _places(rows, labels)
    with_words = len(rows) >= WORDS_FROM * len(labels)
    held, truth = _held_out(texts, vectors, targets, labels, seed, with_words=with_words)
    share = _best_share(held, truth, WORD_SHARES) if with_words and len(truth) else 0.0
    cheap = _cheap(texts, vectors, targets, labels, with_words=with_words)
    heat = temperature(_joined(held, share), truth) if len(truth) else 1.0
    plain = Classifier(labels, embed, cheap, share, heat)
    return _with_tuned(plain, rows, dev, tune, seed) if tune else plain


def _with_tuned(
    plain: Classifier, rows: Sequence[Labelled], dev: Sequence[Labelled], tune: Tune, seed: int
) -> Classifier:
    """Add a fine-tuned encoder; its share and the temperature are chosen on rows that nothing learned from."""
    learned, judged, judge = list(rows), [row for row in dev if row.label in plain.labels], plain
    if not judged:
        learned, judged = cut(rows, seed)
        judge = refit(plain, learned)
    tuned = tune(learned, judged)
    asked, truth = [row.text for row in judged], _places(judged, plain.labels)
    cheap = np.log(judge.probabilities(asked) + FLOOR)
    both = np.stack([cheap * plain.heat, log_softmax(tuned.logits(asked), axis=1)])
    share = _best_share(both, truth, TUNED_SHARES)
    return replace(plain, tuned=tuned, tuned_share=share, heat=temperature(_joined(both, share), truth))


def _joined(both: Sequence[Logs] | NDArray[np.float64], share: float) -> Logs:
    return np.asarray((1 - share) * both[0] + share * both[1])


def worth_tuning(rows: Sequence[Labelled]) -> bool:
    """Whether there is enough to learn from that a fine-tuned encoder beats the frozen one."""
    return len(rows) >= TUNE_FROM * len({row.label for row in rows})


class Remembering:
    """An embedding that computes each text once; for fitting, where folds ask for the same texts again."""

    def __init__(self, embed: EmbedTexts) -> None:
        self._embed, self._known = embed, dict[str, Vectors]()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[n, d]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._embed(new), strict=True)
        return np.stack([self._known[text] for text in texts])


def refit(fitted: Classifier, rows: Sequence[Labelled]) -> Classifier:
    """The cheap heads learned anew from other rows with the same classes; shares and temperature stay."""
    targets, words = _places(rows, fitted.labels), fitted.cheap.words is not None
    vectors = fitted.embed([row.text for row in rows])
    return replace(fitted, cheap=_cheap(_texts(rows), vectors, targets, fitted.labels, with_words=words), tuned=None)


def cut(rows: Sequence[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Nine tenths to learn from and one to choose on; each class is in both where it has two rows."""
    kinds = [row.label for row in rows]
    count = max(len(set(kinds)), len(rows) // 10, 1)
    even = min(kinds.count(label) for label in set(kinds)) >= 2 and count <= len(rows) // 2
    size = count if even else max(1, len(rows) // 10)
    learned, judged = train_test_split(list(rows), test_size=size, random_state=seed, stratify=kinds if even else None)
    return learned, judged


def _cheap(
    texts: NDArray[Any], vectors: Vectors, targets: NDArray[np.int_], labels: tuple[str, ...], *, with_words: bool
) -> Cheap:
    linear = LogisticRegression(C=STRENGTH, max_iter=1000, class_weight="balanced").fit(vectors, targets)
    return Cheap(labels, linear, _words().fit(texts, targets) if with_words else None)


def _words() -> Any:
    whole = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=50_000)
    judge = LogisticRegression(C=WORD_STRENGTH, max_iter=200, class_weight="balanced")
    return make_pipeline(make_union(whole, pieces), judge)


def _held_out(
    texts: NDArray[Any],
    vectors: Vectors,
    targets: NDArray[np.int_],
    labels: tuple[str, ...],
    seed: int,
    *,
    with_words: bool,
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """What heads say that did not learn from the row: [2, n, classes]; no rows where a class has only one."""
    smallest = int(np.bincount(targets).min())
    if smallest < 2:
        return np.zeros((2, 0, len(labels))), targets[:0]
    found = np.zeros((2, len(targets), len(labels)))
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    for learn, judge in folds.split(vectors, targets):
        cheap = _cheap(texts[learn], vectors[learn], targets[learn], labels, with_words=with_words)
        found[:, judge] = cheap.logs(texts[judge].tolist(), vectors[judge])
    return found, targets


def _best_share(both: NDArray[np.float64], truth: NDArray[np.int_], shares: Sequence[float]) -> float:
    """The share of the second that makes the right labels likeliest, once calibrated."""
    return min(shares, key=lambda share: _loss(_joined(both, share), truth))


def _loss(scores: Logs, truth: NDArray[np.int_]) -> float:
    calm = log_softmax(scores / temperature(scores, truth), axis=1)
    return -float(calm[np.arange(len(truth)), truth].mean())


def _texts(rows: Sequence[Labelled]) -> NDArray[Any]:
    return np.array([row.text for row in rows], dtype=object)


def _places(rows: Sequence[Labelled], labels: Sequence[str]) -> NDArray[np.int_]:
    place = {label: number for number, label in enumerate(labels)}
    return np.array([place[row.label] for row in rows], dtype=np.int_)


def _logs(values: NDArray[np.floating[Any]]) -> Logs:
    return np.asarray(np.log(np.maximum(values, FLOOR)))
