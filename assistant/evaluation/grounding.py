"""How well the gate tells supported answers from unsupported ones. Found is what is *not* supported."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assistant import entailment
from assistant.app import App
from assistant.entailment import Verdict
from assistant.evaluation import scores
from assistant.evaluation.rows import Grounded, read
from assistant.evaluation.scores import Counts, Progress
from retrieval.embedder import Embedder
from retrieval.judge import Judge
from retrieval.passage import Passage, sentences

Spans = list[tuple[int, int]]


def grounding(app: App, data: Path, progress: Progress = lambda *_: None) -> Any:
    """Judge every sentence of every answer against its context; one without support makes an answer unsupported.

    Raises:
        DataError: a line of the file does not fit.
    """
    rows, embedder, started = read(data, Grounded), app.parts().embedder, time.perf_counter()
    reader = entailment.support(embedder)
    pairs, seconds = [], []
    characters = Counts()
    for row in rows:
        (bad, count), taken = scores.timed(lambda row=row: unsupported(row, embedder, reader))  # type: ignore[misc]
        pairs.append((row.label == "unsupported", bool(bad)))
        seconds.append(taken / max(count, 1))
        if row.spans is not None:
            characters = _added(characters, _marked(row.spans), _marked(bad))
        progress(len(pairs), len(rows))
    counts = Counts.of(pairs)
    annotated = any(row.spans for row in rows)
    metrics = {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "balanced_accuracy": counts.balanced_accuracy,
        "span_f1": characters.f1 if annotated else None,
        "ms_per_sentence_p50": scores.median_ms(seconds),
    }
    model: dict[str, str | None] = {
        "embedder": embedder.fingerprint,
        "head": entailment.shipped(reader is not None).digest,
    }
    return scores.result("grounding", data, len(rows), started, model, metrics)


def unsupported(row: Grounded, embedder: Embedder, reader: Judge | None) -> tuple[Spans, int]:
    """Where the answer's unsupported sentences stand, and how many sentences it has."""
    spans = sentences(row.answer)
    claims = [row.answer[start:end] for start, end in spans]
    verdicts = entailment.judge(claims, [_passage(row.context)], embedder, reader)
    bad = [span for span, one in zip(spans, verdicts, strict=True) if one.verdict is not Verdict.SUPPORTED]
    return bad, len(spans)


def _passage(text: str) -> Passage:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Passage("context", "context", "", "", text, "", "", "", digest)


def _marked(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {place for start, end in spans for place in range(start, end)}


def _added(counts: Counts, wanted: set[int], found: set[int]) -> Counts:
    return Counts(
        counts.hit + len(wanted & found),
        counts.missed + len(wanted - found),
        counts.false_alarm + len(found - wanted),
    )
