"""The exam tells who spoke: an engine that fails, or says nothing of use, hides behind quotes of the sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assistant.evaluation import golden
from assistant.evaluation.golden import Graded
from assistant.record import Author, Outcome, Reading, Turn
from domains.manifest import Golden

READING = Reading("library", 1.0, True, ("library",), "", 0.0, "neutral", 0.0)
TURN = Turn("ask", "Said.", "answered", "model", READING)


def graded(outcome: Outcome, author: Author) -> Graded:
    return Graded(Golden(ask="ask", expect="answer"), replace(TURN, outcome=outcome, author=author), None)


@pytest.mark.parametrize(
    ("turns", "share"),
    [
        ([("answered", "model"), ("answered", "quote"), ("answered", "model"), ("answered", "model")], 0.75),
        ([("answered", "quote")], 0.0),
        ([("answered", "model"), ("answered", "tool"), ("unknown", "policy"), ("refused", "policy")], 1.0),
        ([("answered", "tool"), ("refused", "policy")], None),
    ],
)
def test_the_share_of_answers_from_sources_in_the_models_words(
    turns: list[tuple[Outcome, Author]], share: float | None
) -> None:
    assert golden.metrics([graded(*turn) for turn in turns])["spoke"] == share


def test_a_model_that_failed_is_told_from_one_that_was_not_asked() -> None:
    assert golden.broken(replace(TURN, reasons=("held: a fee", "the model failed: EngineError"))) == (
        "the model failed: EngineError"
    )
    assert golden.broken(replace(TURN, reasons=("the user seems unhappy",))) is None
