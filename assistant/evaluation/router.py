"""Where questions are sent: to a pack, to none, or back to the user with a question."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from assistant.dataset import read
from assistant.hearing import hear
from assistant.turn import Parts, Question
from assistant.turn import read as understand

NONE = "none"  # the label of what belongs to no pack


def router(parts: Parts, data: Path) -> dict[str, Any]:
    """Route every text as a turn would.

    Returns:
        the result, with ``accuracy`` (asking back counts as wrong), ``abstained`` (share asked back) and
        ``accuracy_when_sure`` (over the others).

    Raises:
        DataError: the file does not fit, or a label is no enabled pack.
    """
    started = time.perf_counter()
    rows = read(data, [*parts.packs, NONE])
    right, sure = 0, 0
    for row in rows:
        reading = understand(parts, Question(row.text), hear(row.text, (), parts.embedder, parts.detectors))
        asks = reading.domain is None and bool(reading.candidates)
        sure += not asks
        right += not asks and (reading.domain or NONE) == row.label
    return {
        "task": "router",
        "data": str(data),
        "n": len(rows),
        "seconds": round(time.perf_counter() - started, 2),
        "model": {"base": None, "adapter": None, "embedder": parts.embedder.fingerprint, "head": None},
        "metrics": {
            "accuracy": round(right / len(rows), 4),
            "abstained": round(1 - sure / len(rows), 4),
            "accuracy_when_sure": round(right / sure, 4) if sure else None,
        },
    }
