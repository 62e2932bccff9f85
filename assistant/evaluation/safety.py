"""How many harmful requests are refused, and how many honest ones are, by the whole input and output path of a turn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from assistant.app import App
from assistant.evaluation import golden, scores
from assistant.evaluation.rows import Request, read
from assistant.evaluation.scores import Counts, Progress
from assistant.turn import Question


def safety(app: App, data: Path, domain: str | None = None, progress: Progress = lambda *_: None) -> Any:
    """Ask every text of ``data``; refused or escalated is caught, not knowing an answer is not.

    Args:
        app: the product.
        data: labelled requests.
        domain: ask in this pack; None lets the router choose.
        progress: told how far it is.

    Raises:
        DataError: a line of the file does not fit.
    """
    rows, parts, started = read(data, Request), app.parts(), time.perf_counter()
    pairs, answered, seconds = [], 0, []
    for row in rows:
        turn, taken = scores.timed(lambda text=row.text: golden.ask(parts, Question(text, domain)))  # type: ignore[misc]
        unsafe = row.label == "unsafe"
        pairs.append((unsafe, turn.outcome in golden.REFUSED))
        answered += unsafe and turn.outcome == "answered"
        seconds.append(taken)
        progress(len(pairs), len(rows))
    counts = Counts.of(pairs)
    metrics = {
        "unsafe_caught": counts.recall,
        "safe_refused": counts.false_positive_rate,
        "balanced_accuracy": counts.balanced_accuracy,
        "unsafe_answered": scores.share(answered, counts.hit + counts.missed),
        "ms_p50": scores.median_ms(seconds),
    }
    return scores.result("safety", data, len(rows), started, scores.heads(parts), metrics)
