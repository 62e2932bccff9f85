"""Turns as they are stored: masked on the way in, whole again on the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from assistant import pii
from assistant.record import Explanation, Turn
from retrieval.embedder import STRIPPED

_TURN = TypeAdapter(Turn)


def masked(turn: Turn) -> Turn:
    """The turn without personal data. What a source or a policy text says is public and stays."""
    reasons = _each(turn.reasons)  # one may repeat the error of a pack's code, and that the question
    turn = replace(turn, explanations=tuple(_unnamed(one, turn.question) for one in turn.explanations))
    if turn.author == "policy":
        return replace(turn, question=pii.mask(turn.question), dropped=_each(turn.dropped), reasons=reasons)
    public = [citation.text for citation in turn.citations]
    return replace(
        turn,
        question=pii.mask(turn.question),
        answer=pii.mask(turn.answer, public),
        sentences=_each(turn.sentences, public),
        dropped=_each(turn.dropped),
        reasons=reasons,
    )


def pack_turn(turn: Turn) -> dict[str, Any]:
    """JSON for the database."""
    return dict(_TURN.dump_python(turn, mode="json"))


def unpack_turn(record: dict[str, Any] | None) -> Turn:
    """The turn that ``pack_turn`` packed.

    Raises:
        ValueError: the record is not of this version.
    """
    return _TURN.validate_python(record, strict=False)


def _unnamed(explanation: Explanation, question: str) -> Explanation:
    """Without words that stand in personal data, or in an earlier question, which is masked by itself."""
    open_words = {word.strip(STRIPPED) for word in pii.mask(question).split()}
    return replace(explanation, words=tuple(one for one in explanation.words if one.word in open_words))


def _each(texts: tuple[str, ...], public: list[str] | None = None) -> tuple[str, ...]:
    return tuple(pii.mask(text, public or ()) for text in texts)
