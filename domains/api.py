"""The whole surface a pack's hooks.py may import. Plain data, standard library only.

A pack may define three functions with reserved names:
``check_input(text) -> list[Finding]``, ``check_output(sentence, evidence) -> list[Finding]`` and
``respond(request) -> Reply | None`` (``None`` declines, and retrieval answers instead).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["note", "review", "block"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. Checks report; one function in the assistant decides."""

    code: str  # dotted, most general first: "pii.card", "rule.dose_change"
    severity: Severity
    where: str  # "input", "passage" or "output"
    quote: str  # the words that caused it, or the reason; never personal data


@dataclass(frozen=True, slots=True)
class Exchange:
    """One earlier question and what was answered."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a tool gets to see."""

    text: str  # the question as the user wrote it
    intent: str  # "" when the reader was not sure
    history: tuple[Exchange, ...]  # oldest first
    pack: Path  # the pack's own folder, read-only by convention
    data: Path  # a folder this pack may write to; exists


@dataclass(frozen=True, slots=True)
class Reply:
    """A tool's answer. ``complete`` is false while it only asks for something it needs."""

    text: str
    tool: str  # shown as the source of the answer: "order_status"
    complete: bool = True


Check = Callable[[str], Sequence[Finding]]
CheckOutput = Callable[[str, Sequence[str]], Sequence[Finding]]
Respond = Callable[[Request], Reply | None]
