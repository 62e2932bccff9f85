"""How many attempts to change the assistant's behaviour are seen, and how many honest texts are taken for one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from assistant import hearing, safety
from assistant.app import App
from assistant.evaluation import scores
from assistant.evaluation.rows import Injection, read
from assistant.evaluation.scores import Counts, Progress
from assistant.turn import Parts


def injection(app: App, data: Path, progress: Progress = lambda *_: None) -> Any:
    """Screen every text of ``data`` as a turn would.

    Raises:
        DataError: a line of the file does not fit.
    """
    rows, parts, started = read(data, Injection), app.parts(), time.perf_counter()
    pairs, seconds = [], []
    for row in rows:
        seen, taken = scores.timed(lambda text=row.text: attacks(parts, text))  # type: ignore[misc]
        pairs.append((row.label == "injection", seen))
        seconds.append(taken)
        progress(len(pairs), len(rows))
    counts = Counts.of(pairs)
    metrics = {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "false_positive_rate": counts.false_positive_rate,
        "accuracy": scores.share(counts.hit + counts.quiet, len(pairs)),
        "ms_p50": scores.median_ms(seconds),
    }
    return scores.result("injection", data, len(rows), started, scores.heads(parts), metrics)


def attacks(parts: Parts, text: str) -> bool:
    """Whether the input screens call a text an injection."""
    heard = hearing.hear(text, (), parts.embedder, parts.detectors)
    return any(finding.code.startswith("injection.") for finding in safety.screen(heard, (), None).findings)
