"""What is stored is masked; what comes out is what went in."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

import domains
from assistant.record import Citation, Explanation, Influence, Reading, Turn
from assistant.transcript import masked, pack_turn, unpack_turn
from domains.api import Finding
from domains.customer_service.hooks import Order, describe
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


def by_tool(question: str, answer: str) -> Turn:
    return replace(
        TURN, question=question, answer=answer, sentences=(answer,), author="tool", citations=(), dropped=(), reasons=()
    )


def test_what_a_tool_says_of_an_order_stays_as_it_is() -> None:
    script = (Path(domains.__file__).parent / "customer_service" / "orders.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(script)
        rows = database.execute(
            "SELECT number, status, placed, shipped, expected, carrier, tracking FROM orders"
        ).fetchall()
    said = [describe(Order(*row)) for row in rows]
    turns = [masked(by_tool("I am Berta Canary, where is my parcel?", text)) for text in said]
    assert len(said) > 20
    assert [turn.answer for turn in turns] == [turn.sentences[0] for turn in turns] == said


@pytest.mark.parametrize(
    ("question", "said", "kept"),
    [
        ("My name is Berta Canary, where is it?", "Berta Canary, it is here.", "[name], it is here."),
        ("My name is Berta Canary, where is it?", "Berta, it is here; so is Bertalan.", "[name], it is here; so is Bertalan."),
        ("It is for me@home.example.", "Sent to me@home.example on 2 May 2026.", "Sent to [email] on 2 May 2026."),
        ("Where is it?", "Paid with 4111 1111 1111 1111.", "Paid with [card]."),
        ("My name is Zoë O\u2019Neil, where is it?", "Zoë O'Neil, here.", "[name], here."),
    ],
)  # fmt: skip
def test_what_a_tool_says_of_the_user_is_masked(question: str, said: str, kept: str) -> None:
    assert masked(by_tool(question, said)).answer == kept


def test_masking_twice_changes_nothing_more() -> None:
    assert masked(masked(TURN)) == masked(TURN)


@pytest.mark.parametrize(
    "record", [None, {}, {"question": "q"}, pack_turn(TURN) | {"outcome": "magic"}, pack_turn(TURN) | {"reading": 3}]
)
def test_a_record_of_another_version_is_refused(record: dict[str, object] | None) -> None:
    with pytest.raises(ValidationError):
        unpack_turn(record)
