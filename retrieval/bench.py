"""Measures the index as it grows: made-up passages in clusters, our whole search against FAISS alone, in one run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.embedder import Vectors
from retrieval.generation import build
from retrieval.index import FaissIndex
from retrieval.passage import Document, Passage, passages

WIDTH, CLUSTERS, VOCABULARY, WORDS = 384, 256, 20_000, 24
QUERIES = 100
NEAREST = 10
BLOCK = 1_000  # vectors made at a time
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Grown:
    """What an index of one size took. Milliseconds are of one search by one user, the question's embedding left out."""

    passages: int
    per_second: float  # passages built, their embedding left out
    p50_ms: float
    p99_ms: float
    dense_p50_ms: float  # the part of it that FAISS takes
    faiss_p50_ms: float  # FAISS alone, exact, over the same vectors
    recall: float  # share of the exact ten nearest among the ten that the dense ranking gives
    open_seconds: float  # from disk to the first search
    memory_mb: float  # the most that the process took so far


class Clustered:
    """An embedder without a model: a text's first number says which point of which cluster it is."""

    fingerprint = f"clustered {WIDTH} {CLUSTERS}"

    def __init__(self) -> None:
        self._centres = _unit(np.random.default_rng(0).normal(size=(CLUSTERS, WIDTH)))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Points near their cluster's centre: [n, d], rows of unit length."""
        numbers = [int(next(word for word in text.split() if word.isdigit())) for text in texts]
        noise = np.stack([np.random.default_rng(number).normal(size=WIDTH) for number in numbers])
        return _unit(self._centres[np.array(numbers) % CLUSTERS] + noise / 16)


def measure(folder: Path, sizes: Sequence[int], progress: Progress = lambda *_: None) -> list[Grown]:
    """Build and search one index a size under ``folder``, smallest first."""
    return [_grown(folder / str(size), size, progress) for size in sorted(sizes)]


def _grown(folder: Path, size: int, progress: Progress) -> Grown:
    embedder = Clustered()
    started = time.perf_counter()
    made = build(folder, _corpus(size), embedder, lambda done, all_: progress(f"Building {size:,}", done, all_))
    seconds = time.perf_counter() - started
    alone = faiss.IndexFlatIP(WIDTH)
    for start in range(0, size, BLOCK):
        alone.add(embedder.embed([_text(number) for number in range(start, min(size, start + BLOCK))]))
    started = time.perf_counter()
    index = FaissIndex(made, embedder)
    index.search("Item", embedder.embed([_text(0)])[0])
    opened = time.perf_counter() - started
    faiss.omp_set_num_threads(1)  # as our search does
    ours, dense, theirs, found = [], [], [], 0
    for number in range(size, size + QUERIES):
        text = _text(number)
        vector = embedder.embed([text])[0]
        took, (_, exact) = _timed(partial(alone.search, vector[None, :], NEAREST))
        theirs.append(took)
        took, rows = _timed(partial(index.dense, vector, NEAREST))
        dense.append(took)
        found += len(set(exact[0].tolist()) & {row - 1 for row in rows})  # rows count from 1, in the corpus's order
        ours.append(_timed(partial(index.search, text, vector, NEAREST))[0])
        progress(f"Searching {size:,}", number - size + 1, QUERIES)
    index.close()
    return Grown(
        passages=size,
        per_second=round(size / seconds, 1),
        p50_ms=round(float(np.percentile(ours, 50)), 2),
        p99_ms=round(float(np.percentile(ours, 99)), 2),
        dense_p50_ms=round(float(np.percentile(dense, 50)), 2),
        faiss_p50_ms=round(float(np.percentile(theirs, 50)), 2),
        recall=round(found / (QUERIES * NEAREST), 4),
        open_seconds=round(opened, 2),
        memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _corpus(size: int) -> list[Passage]:
    return [one for n in range(size) for one in passages(Document(f"p{n}", f"{n} Passage", _text(n), "made up"))]


def _text(number: int) -> str:
    """Words as common as words are: the second half as often as the first, and so on."""
    chance = np.random.default_rng(number)
    words = np.minimum(chance.zipf(1.3, WORDS), VOCABULARY)
    return f"Item {number} " + " ".join(f"word{word}" for word in words) + "."


def _unit(rows: NDArray[np.float64]) -> Vectors:
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds, and what came of it."""
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1000, result
