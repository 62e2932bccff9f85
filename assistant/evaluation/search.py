"""How search grows with its corpus: speed, memory and recall by size, and a plot of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from retrieval.bench import Grown, measure
from retrieval.embedder import Embedder

QUESTIONS = ("How long is the warranty?", "What does a late payment cost?", "Can I take ibuprofen with food?")
ROUNDS = 10


def search(
    sizes: Sequence[int],
    embedder: Embedder,
    progress: Callable[[str, int, int], None],
    plot: Path | None = None,
) -> dict[str, Any]:
    """Metrics by name and size, in the one format of all evaluations.

    ``share_of_limit`` is what question and search take of one and a half times FAISS alone and the question.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        grown = measure(Path(folder), sizes, progress)
    question = _question(embedder)
    if plot:
        draw(grown, plot)
    return {
        "task": "search",
        "data": "made up",
        "n": sum(one.passages for one in grown),
        "seconds": round(time.perf_counter() - started, 2),
        "model": {"base": None, "adapter": None, "embedder": embedder.fingerprint, "head": None},
        "metrics": {"question_p50_ms": question}
        | {
            f"{name}_{one.passages}": value
            for one in grown
            for name, value in {**asdict(one), "share_of_limit": _share(one, question)}.items()
            if name != "passages"
        },
    }


def _share(one: Grown, question: float) -> float:
    return round((one.p50_ms + question) / (1.5 * one.faiss_p50_ms + question), 3)


def _question(embedder: Embedder) -> float:
    """Milliseconds that embedding a question takes, the median."""
    took = []
    for text in QUESTIONS * ROUNDS:
        started = time.perf_counter()
        embedder.embed([text])
        took.append((time.perf_counter() - started) * 1000)
    return round(median(took), 2)


def draw(grown: Sequence[Grown], path: Path) -> None:
    """Milliseconds of a search by passages in the index, ours and FAISS alone."""
    from matplotlib.figure import Figure  # late: an extra that only plots need

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="passages", ylabel="milliseconds", xscale="log", yscale="log")
    sizes = [one.passages for one in grown]
    axes.plot(sizes, [one.p50_ms for one in grown], "o-", label="search, median")
    axes.plot(sizes, [one.p99_ms for one in grown], "o:", label="search, 99th percentile")
    axes.plot(sizes, [one.faiss_p50_ms for one in grown], "s-", label="FAISS alone, median")
    axes.legend()
    figure.savefig(path)
