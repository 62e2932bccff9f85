"""Fits the default recipe on a file and measures it on another: intents with what is out of scope, and sentiment."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant import classifier, scope
from assistant.classifier import Tune
from assistant.dataset import DataError, Labelled, read
from assistant.evaluation import classification
from assistant.reader import Reader
from assistant.scope import STRANGER
from assistant.tone import Tone
from retrieval.embedder import Embedder, Vectors

TIMED = 100  # queries that are timed one by one
MOODS = {"bearish": "negative", "bullish": "positive"}  # two names of one thing


@dataclass(frozen=True, slots=True)
class Files:
    """What is learned from and measured on."""

    train: Path
    test: Path
    dev: Path | None = None
    oos_train: Path | None = None
    oos_dev: Path | None = None
    oos_test: Path | None = None


def intents(embedder: Embedder, files: Files, tune: Tune | None = None, seed: int = 0) -> dict[str, Any]:
    """Train and test; with out-of-scope files also how well strangers are told apart.

    Raises:
        DataError: a file does not fit, or only one of the out-of-scope files for training and test was given.
    """
    if (files.oos_train is None) != (files.oos_test is None):
        raise DataError("out of scope is measured with both --oos-train and --oos-test, and only one was given")
    if files.oos_train and files.oos_test:
        return _scoped(embedder, files, tune, seed)
    return trained("intents", embedder, files, tune, seed)


def trained(task: str, embedder: Embedder, files: Files, tune: Tune | None = None, seed: int = 0) -> dict[str, Any]:
    """Train and test a classifier of any labels.

    Raises:
        DataError: a file does not fit.
    """
    started = time.perf_counter()
    rows, test, dev = read(files.train), read(files.test), read(files.dev) if files.dev else ()
    fitted = classifier.fit(rows, embedder.embed, dev=dev, tune=tune, seed=seed)
    seconds = time.perf_counter() - started
    found = fitted.predict([row.text for row in test])
    measured = classification.metrics(found, [row.label for row in test])
    measured |= {"train_seconds": round(seconds, 2), "query_ms_p50": _latency(fitted.predict, test)}
    return _result(task, files.test, len(test), started, embedder, measured, seed)


def shipped(embedder: Embedder, reader: Reader, data: Path, tone: Tone | None = None) -> dict[str, Any]:
    """A shipped sentiment head on a file; where the file has fewer labels, the head chooses among those.

    Args:
        embedder: the shared one.
        reader: whose head for what customers write is measured …
        data: the labelled texts.
        tone: … unless the head for financial texts is given.

    Raises:
        DataError: the file does not fit.
    """
    started = time.perf_counter()
    labels = tone.head.labels if tone else reader.sentiment.labels
    moods = [MOODS.get(label, label) for label in labels]
    words = [*moods, *(word for word, mood in MOODS.items() if mood in moods)]
    rows = [Labelled(row.text, MOODS.get(row.label, row.label)) for row in read(data, words)]
    texts = [row.text for row in rows]
    odds = tone.probabilities(texts) if tone else _moods(reader, embedder.embed(texts))
    odds = odds * [mood in {row.label for row in rows} for mood in moods]
    odds /= odds.sum(axis=1, keepdims=True)
    found = [(moods[int(place)], float(row[place])) for row, place in zip(odds, odds.argmax(1), strict=True)]
    measured = classification.metrics(found, [row.label for row in rows])
    digest = tone.digest if tone else reader.sentiment.digest
    return _result("sentiment", data, len(rows), started, embedder, measured, None, digest)


def _moods(reader: Reader, vectors: Vectors) -> NDArray[np.float64]:
    head = reader.sentiment
    ranked = [dict(head.probabilities(vector)) for vector in vectors]
    return np.array([[odds[label] for label in head.labels] for odds in ranked])


def _scoped(embedder: Embedder, files: Files, tune: Tune | None, seed: int) -> dict[str, Any]:
    def maybe(path: Path | None) -> tuple[Labelled, ...]:
        return read(path) if path else ()

    started = time.perf_counter()
    rows, test = read(files.train), read(files.test)
    strangers, odd = maybe(files.oos_train), maybe(files.oos_test)
    if any(row.label == STRANGER for row in (*rows, *test)):
        raise DataError(f"{files.train} or {files.test}: the label {STRANGER!r} belongs in the out-of-scope files")
    fitted = scope.fit(
        rows, strangers, embedder.embed, dev=maybe(files.dev), strange_dev=maybe(files.oos_dev), tune=tune, seed=seed
    )
    seconds = time.perf_counter() - started
    found = fitted.inner.predict([row.text for row in test])
    measured = classification.metrics(found, [row.label for row in test])
    kept = np.array(fitted.labels([row.text for row in test]))
    caught = np.array(fitted.labels([row.text for row in odd])) == STRANGER
    said = int(caught.sum()) + int((kept == STRANGER).sum())
    measured |= {
        "in_scope_accuracy": round(float((kept == np.array([row.label for row in test])).mean()), 4),
        "oos_recall": round(float(caught.mean()), 4),
        "oos_precision": round(float(caught.sum()) / said, 4) if said else 0.0,
        "train_seconds": round(seconds, 2),
        "query_ms_p50": _latency(fitted.labels, test),
    }
    return _result("intents", files.test, len(test) + len(odd), started, embedder, measured, seed)


def _latency(ask: Callable[[Sequence[str]], object], rows: Sequence[Labelled]) -> float:
    """Median milliseconds for one text alone, its embedding included."""
    times = []
    for row in rows[:TIMED]:
        began = time.perf_counter()
        ask([row.text])
        times.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(times), 2)


def _result(
    task: str,
    data: Path,
    n: int,
    started: float,
    embedder: Embedder,
    measured: dict[str, float],
    seed: int | None,
    head: str | None = None,
) -> dict[str, Any]:
    return {
        "task": task,
        "data": str(data),
        "n": n,
        "seconds": round(time.perf_counter() - started, 2),
        "seed": seed,
        "model": {"base": None, "adapter": None, "embedder": embedder.fingerprint, "head": head},
        "metrics": measured,
    }
