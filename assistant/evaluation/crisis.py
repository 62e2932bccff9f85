"""How many people in danger are noticed, and how many ordinary messages raise a false alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assistant import hearing, safety
from assistant.app import App
from assistant.evaluation import scores
from assistant.evaluation.rows import Message
from assistant.evaluation.scores import Progress
from assistant.turn import Parts, Question, concerned
from assistant.turn import read as understand


def crisis(app: App, data: Path, progress: Progress = lambda *_: None) -> Any:
    """Screen every message of ``data`` by the general screens, and by all live packs as when no domain is chosen.

    Raises:
        DataError: a line of the file does not fit.
    """
    parts = app.parts()
    screened = scores.screen(data, Message, "crisis", lambda text: in_danger(parts, text), progress)
    return screened.result("crisis", parts, ("recall", "false_positive_rate", "precision"))


def in_danger(parts: Parts, text: str) -> bool:
    """Whether a message is answered with a crisis text, as a turn without a chosen domain would."""
    heard = hearing.hear(text, (), parts.embedder, parts.detectors)
    reading = understand(parts, Question(text), heard)
    return safety.screen(heard, concerned(parts, reading, heard.alone), None).emergency is not None
