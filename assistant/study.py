"""What a pack's lessons teach when it is loaded: how its users ask, and when its sources do not answer.

Both are learned in seconds on a CPU and kept beside the index, so a new pack tunes itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from assistant import evidence
from assistant.evidence import EvidenceHead, Row
from assistant.known import NOTHING, Known, Near, Place
from assistant.reader import OUT_OF_SCOPE, EmbedTexts, out_of_scope
from domains.manifest import Lesson
from domains.pack import Domain
from retrieval import tuning
from retrieval.embedder import Vectors
from retrieval.passage import Hit, Passage, sentences
from retrieval.storage import Index
from retrieval.tables import EVERYBODY, Scope
from retrieval.tuning import QueryTuning

VERSION = 2  # raise it when what is learned, or how, changes
FOLDS = 4  # questions are judged by what was learned without them
FEWEST_UNANSWERED = 15  # lessons without an answer that a pack needs to fit a gate of its own
STRENGTH = 3.0  # inverse L2 regularisation of the gate
WEIGHED = 1_500  # lessons that fit a pack's own gate: more take minutes and change no weight that counts
SEARCHED = 6  # passages that are found and weighed; the model reads the best of them


@dataclass(frozen=True, slots=True)
class Learned:
    """How to search a pack, and how to weigh what was found."""

    tuning: QueryTuning | None
    gate: EvidenceHead
    known: Known | None = None

    def find(self, index: Index, text: str, vector: Vectors, scope: Scope = EVERYBODY) -> tuple[list[Hit], Near]:
        """Search as the pack has learned to; also what its known questions say."""
        return _find(index, self.tuning, self.known, text, vector, scope)


def _find(
    index: Index,
    tuned: QueryTuning | None,
    known: Known | None,
    text: str,
    vector: Vectors,
    scope: Scope = EVERYBODY,
) -> tuple[list[Hit], Near]:
    near = known.near(vector) if known else NOTHING
    hits = index.search(text, vector, SEARCHED, tuned(vector) if tuned else None, scope, near.passages())
    return [near.mark(hit) for hit in hits] if known else hits, near


def learn(domain: Domain, index: Index, embed: EmbedTexts, *, reading: bool = False) -> Learned:
    """Learn from the pack's lessons, or read what was learned before; too few lessons teach nothing.

    Args:
        domain: the pack.
        index: of its passages.
        embed: embeds the lessons' questions.
        reading: whether a cross-encoder reads what is found. It needs no gate of the pack's own: the one that ships
            was fitted on lessons that the cross-encoder had not seen, and these here it may have.
    """
    unanswered = sum(lesson.answer is None for lesson in domain.lessons)
    if unanswered < FEWEST_UNANSWERED or len(domain.lessons) - unanswered < tuning.FEWEST:
        return Learned(None, evidence.load(kind="read" if reading else "plain"))
    gate = evidence.load(kind="read_known") if reading else None
    path = index.folder / f"learned-{_key(domain, reading)}.safetensors"
    learned = _read(path)
    if learned is None:
        learned = _learn(domain, index, embed, gate)
        _write(path, learned)
    vectors = embed([lesson.ask for lesson in domain.lessons])
    known = _known(vectors, targets(domain.lessons, index), index)
    return Learned(learned.tuning, gate or learned.gate, known)


def cross_fitted(
    domain: Domain, index: Index, embed: EmbedTexts, most: int | None = None
) -> Iterator[tuple[int, list[Hit], Near]]:
    """For each lesson, by its place, what a search finds that knows the other folds' lessons only.

    ``most``: no more than so many lessons, drawn evenly; all teach nevertheless.
    """
    vectors = embed([lesson.ask for lesson in domain.lessons])
    rows = targets(domain.lessons, index)
    known = _known(vectors, rows, index)
    asked: Sequence[int] = range(len(vectors))
    if most and len(asked) > most:  # any order that is always the same, and none that the file's may rhyme with
        asked = np.sort(np.random.default_rng(0).permutation(len(vectors))[:most]).tolist()
    for fold in range(FOLDS):
        others = [place for place in range(len(vectors)) if place % FOLDS != fold]
        tuned, keys = _fit(vectors, rows, others, index), known.only(others)
        for place in (place for place in asked if place % FOLDS == fold):
            yield place, *_find(index, tuned, keys, domain.lessons[place].ask, vectors[place])


def _known(vectors: Vectors, rows: dict[int, int], index: Index) -> Known:
    starts = sorted((row, name) for name, row in index.first_sentences().items())
    begins = [row for row, _ in starts]

    def place(row: int) -> Place:
        begin, name = starts[bisect_right(begins, row) - 1]
        return name, row - begin

    return Known(vectors, tuple(place(rows[number]) if number in rows else None for number in range(len(vectors))))


def targets(lessons: Sequence[Lesson], index: Index) -> dict[int, int]:
    """For each answered lesson, by its place, the row of the index's sentence that answers it."""
    first = index.first_sentences()
    by_section: dict[tuple[str, str], list[Passage]] = {}
    for passage in index.passages():
        by_section.setdefault((passage.document, passage.section), []).append(passage)
    rows: dict[int, int] = {}
    for place, lesson in enumerate(lessons):
        document, _, section = (lesson.source or "").partition("#")
        for passage in by_section.get((document, section), ()):
            number = _answering(lesson.answer or "", passage.text)
            if number is not None:
                rows.setdefault(place, first[passage.id] + number)
    return rows


def _answering(answer: str, text: str) -> int | None:
    start, end = sentences(answer)[0]
    wanted = answer[start:end]
    for number, (a, b) in enumerate(sentences(text)):
        if wanted in text[a:b] or text[a:b] in answer:
            return number
    return None


def _learn(domain: Domain, index: Index, embed: EmbedTexts, gate: EvidenceHead | None) -> Learned:
    vectors = embed([lesson.ask for lesson in domain.lessons])
    rows = targets(domain.lessons, index)
    whole = _fit(vectors, rows, list(rows), index)
    if gate:
        return Learned(whole, gate)
    cases = [*_judged(domain, index, embed), *_strangers(index, whole, _known(vectors, rows, index), embed)]
    features, truth = np.array([row for row, _ in cases]), np.array([answered for _, answered in cases])
    with threadpool_limits(1):  # as in assistant.reader
        model = LogisticRegression(C=STRENGTH, max_iter=5000, class_weight="balanced").fit(features, truth)
    weights = tuple(float(weight) for weight in model.coef_[0])
    return Learned(whole, EvidenceHead(weights, float(model.intercept_[0]), _digest(weights)))


def _fit(vectors: Vectors, rows: dict[int, int], places: Sequence[int], index: Index) -> QueryTuning | None:
    chosen = [place for place in places if place in rows]
    right: NDArray[np.int64] = np.array([rows[place] for place in chosen], dtype=np.int64)
    return tuning.fit(vectors[chosen], right, index.sentences)


def _judged(domain: Domain, index: Index, embed: EmbedTexts) -> Iterator[tuple[Row, bool]]:
    for place, hits, near in cross_fitted(domain, index, embed, WEIGHED):
        lesson = domain.lessons[place]
        yield evidence.features(lesson.ask, hits, index, near.unanswered), lesson.answer is not None


def _strangers(index: Index, tuned: QueryTuning | None, known: Known, embed: EmbedTexts) -> Iterator[tuple[Row, bool]]:
    lines = out_of_scope()
    for line, vector in zip(lines, embed(lines), strict=True):
        hits, near = _find(index, tuned, known, line, vector)
        yield evidence.features(line, hits, index, near.unanswered), False


def _key(domain: Domain, reading: bool) -> str:
    material = json.dumps([VERSION, reading, evidence.FEATURES, [lesson.model_dump() for lesson in domain.lessons]])
    return hashlib.sha256((material + OUT_OF_SCOPE.read_text()).encode()).hexdigest()[:16]


def _digest(weights: Sequence[float]) -> str:
    return hashlib.sha256(np.asarray(weights).tobytes()).hexdigest()


def _read(path: Path) -> Learned | None:
    try:
        arrays = load_file(path)
        weights = tuple(float(weight) for weight in arrays["gate"][:-1])
        gate = EvidenceHead(weights, float(arrays["gate"][-1]), _digest(weights))
        return Learned(QueryTuning(arrays["a"], arrays["b"]), gate)
    except (OSError, SafetensorError, KeyError):  # absent or damaged: it is learned again
        return None


def _write(path: Path, learned: Learned) -> None:
    if learned.tuning is None:
        return
    gate = np.array([*learned.gate.weights, learned.gate.bias])
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        save_file({"a": learned.tuning.a, "b": learned.tuning.b, "gate": gate}, aside)
        aside.replace(path)
    except (OSError, SafetensorError):  # a full disk costs seconds at the next start, nothing else
        aside.unlink(missing_ok=True)
