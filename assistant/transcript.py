"""Turns as they are stored: masked on the way in, whole again on the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from assistant import pii
from assistant.record import Explanation, Turn
from assistant.words import normalise
from retrieval.embedder import STRIPPED

_TURN = TypeAdapter(Turn)


def masked(turn: Turn) -> Turn:
    """The turn without personal data. What a source or a policy text says is public and stays."""
    reasons = _each(turn.reasons)  # one may repeat the error of a pack's code, and that the question
    turn = replace(turn, explanations=tuple(_unnamed(one, turn.question) for one in turn.explanations))
    if turn.author == "policy":
        return replace(turn, question=pii.mask(turn.question), dropped=_each(turn.dropped), reasons=reasons)
    if turn.author == "tool":
        own = dict(_own(turn.question))
        answer, sentences = _of_tool(turn.answer, own), tuple(_of_tool(text, own) for text in turn.sentences)
    else:
        public = [citation.text for citation in turn.citations]
        answer, sentences = pii.mask(turn.answer, public), _each(turn.sentences, public)
    return replace(
        turn,
        question=pii.mask(turn.question),
        answer=answer,
        sentences=sentences,
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


def _of_tool(text: str, own: dict[str, str]) -> str:
    """What a tool says, without the user's ``own`` data: a date or a firm of its records is no name to be guessed."""
    kinds = own | {text[span.start : span.end]: span.kind for span in pii.patterned(text)}
    either = "|".join(re.escape(value) for value in sorted(kinds, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", lambda found: f"[{kinds[found[0]]}]", text) if kinds else text


def _own(question: str) -> Iterator[tuple[str, str]]:
    """The values in a question that name a person, each with its kind; of a name also its words."""
    for text in (question, normalise(question)):  # the second is what a tool gets to see
        for span in pii.find(text):
            if span.kind not in pii.INDIRECT:
                value = text[span.start : span.end]
                words = value.split() if span.kind == "name" else ()
                yield from ((one, span.kind) for one in (value, *words) if len(one) > 2)


def _each(texts: tuple[str, ...], public: list[str] | None = None) -> tuple[str, ...]:
    return tuple(pii.mask(text, public or ()) for text in texts)
