"""How many people in danger are noticed, and how many ordinary messages raise a false alarm."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from assistant import hearing, safety
from assistant.app import App
from assistant.evaluation import scores
from assistant.evaluation.rows import Message, read
from assistant.evaluation.scores import Counts, Progress
from assistant.turn import Parts, Question, concerned
from assistant.turn import read as understand


def crisis(app: App, data: Path, progress: Progress = lambda *_: None) -> Any:
    """Screen every message of ``data`` by the general screens, and by all live packs as when no domain is chosen.

    Raises:
        DataError: a line of the file does not fit.
    """
    rows, parts, started = read(data, Message), app.parts(), time.perf_counter()
    pairs, seconds = [], []
    for row in rows:
        seen, taken = scores.timed(lambda text=row.text: in_danger(parts, text))  # type: ignore[misc]
        pairs.append((row.label == "crisis", seen))
        seconds.append(taken)
        progress(len(pairs), len(rows))
    counts = Counts.of(pairs)
    metrics = {
        "recall": counts.recall,
        "false_positive_rate": counts.false_positive_rate,
        "precision": counts.precision,
        "ms_p50": scores.median_ms(seconds),
    }
    return scores.result("crisis", data, len(rows), started, scores.heads(parts), metrics)


def in_danger(parts: Parts, text: str) -> bool:
    """Whether a message is answered with a crisis text, as a turn without a chosen domain would."""
    heard = hearing.hear(text, (), parts.embedder, parts.detectors)
    reading = understand(parts, Question(text), heard)
    return safety.screen(heard, concerned(parts, reading, heard.alone), None).emergency is not None
