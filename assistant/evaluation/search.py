"""How search grows with its corpus: speed, memory and recall by size, and a plot of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from retrieval.bench import Clustered, Grown, measure


def search(sizes: Sequence[int], progress: Callable[[str, int, int], None], plot: Path | None = None) -> dict[str, Any]:
    """Metrics by name and size, in the one format of all evaluations."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        grown = measure(Path(folder), sizes, progress)
    if plot:
        draw(grown, plot)
    return {
        "task": "search",
        "data": "made up",
        "n": sum(one.passages for one in grown),
        "seconds": round(time.perf_counter() - started, 2),
        "model": {"base": None, "adapter": None, "embedder": Clustered.fingerprint, "head": None},
        "metrics": {
            f"{name}_{one.passages}": value
            for one in grown
            for name, value in asdict(one).items()
            if name != "passages"
        },
    }


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
