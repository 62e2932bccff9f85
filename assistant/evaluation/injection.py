"""How many attempts to change the assistant's behaviour are seen, and how many honest texts are taken for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assistant import hearing, safety
from assistant.app import App
from assistant.evaluation import scores
from assistant.evaluation.rows import Injection
from assistant.evaluation.scores import Progress
from assistant.turn import Parts


def injection(app: App, data: Path, progress: Progress = lambda *_: None) -> Any:
    """Screen every text of ``data`` as a turn would.

    Raises:
        DataError: a line of the file does not fit.
    """
    parts = app.parts()
    screened = scores.screen(data, Injection, "injection", lambda text: attacks(parts, text), progress)
    return screened.result("injection", parts, ("precision", "recall", "f1", "false_positive_rate", "accuracy"))


def attacks(parts: Parts, text: str) -> bool:
    """Whether the input screens call a text an injection."""
    heard = hearing.hear(text, (), parts.embedder, parts.detectors)
    return any(finding.code.startswith("injection.") for finding in safety.screen(heard, (), None).findings)
