"""What is stored is masked; what comes out is what went in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from assistant.record import Citation, Explanation, Influence, Reading, Turn
from assistant.transcript import masked, pack_turn, unpack_turn
from domains.api import Finding
from retrieval.passage import Document, Hit, passages

(PASSAGE,) = passages(
    Document("contact", "Contact", "## Desk\nWrite to desk@library.example.", "House rules", "2026-01-05", "L")
)
CITATION = Citation(
    0, 1, PASSAGE.id, PASSAGE.heading, PASSAGE.source, 0, 30, PASSAGE.text[:30], PASSAGE.sha256, PASSAGE.text
)
TURN = Turn(
    question="I am me@home.example, where is the desk?",
    answer="Write to desk@library.example. You wrote from me@home.example.",
    outcome="answered",
    author="model",
    reading=Reading("library", 0.9, False, ("library",), "loan", 0.8, "neutral", 0.7),
    hits=(Hit(PASSAGE, 0.5, 0.4, 1.5, 0.3, (0, 30)),),
    evidence=0.75,
    sentences=("Write to desk@library.example.", "You wrote from me@home.example."),
    citations=(CITATION,),
    dropped=("Call +44 20 7946 0958, me@home.example.",),
    findings=(Finding("pii.email", "note", "input", "masked before it is stored"),),
    adapter="a" * 64,
    index="generation",
    timings={"read": 0.01},
    reasons=("held: why",),
    held=True,
    explanations=(
        Explanation("intent", "loan", (Influence("desk", 0.9), Influence("me@home.example", 0.4)), ("a loan",)),
    ),
)


def test_a_turn_survives_the_database() -> None:
    assert unpack_turn(json.loads(json.dumps(pack_turn(TURN)))) == TURN


def test_personal_data_is_masked_and_what_a_source_says_stays() -> None:
    found = masked(TURN)
    assert found.question == "I am [email], where is the desk?"
    assert found.answer == "Write to desk@library.example. You wrote from [email]."
    assert found.sentences == ("Write to desk@library.example.", "You wrote from [email].")
    assert found.dropped == ("Call [phone], [email].",)
    assert found.citations == TURN.citations
    assert [one.word for one in found.explanations[0].words] == ["desk"]
    assert "me@home.example" not in json.dumps(pack_turn(found))


def test_a_policy_text_keeps_its_telephone_numbers_and_the_question_does_not() -> None:
    turn = replace(TURN, author="policy", answer="Call +44 20 7946 0958.", sentences=("Call +44 20 7946 0958.",))
    found = masked(turn)
    assert (found.answer, found.sentences) == (turn.answer, turn.sentences)
    assert found.question == "I am [email], where is the desk?"
    assert found.dropped == ("Call [phone], [email].",)


def test_masking_twice_changes_nothing_more() -> None:
    assert masked(masked(TURN)) == masked(TURN)


@pytest.mark.parametrize(
    "record", [None, {}, {"question": "q"}, pack_turn(TURN) | {"outcome": "magic"}, pack_turn(TURN) | {"reading": 3}]
)
def test_a_record_of_another_version_is_refused(record: dict[str, object] | None) -> None:
    with pytest.raises(ValidationError):
        unpack_turn(record)
