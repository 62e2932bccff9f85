"""What the medical pack's tool says about test results, what it asks for, and what it leaves to retrieval."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from domains.api import Exchange, Reply, Request
from domains.medical import hooks

PACK = Path(hooks.__file__).parent


def ask(text: str, intent: str = "", history: tuple[Exchange, ...] = ()) -> Reply | None:
    return hooks.respond(Request(text, intent, history, PACK, PACK))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("My haemoglobin is 11.2 g/dL, I'm a woman", ("112 g/L", "below", "120 to 160 g/L")),
        ("Hgb 150 g/L, male", ("within", "130 to 180 g/L")),
        ("my hba1c is 6.1%", ("43 mmol/mol", "above", "20 to 41 mmol/mol")),
        ("HbA1c 38 mmol/mol", ("within",)),
        ("my fasting sugar is 110 mg/dl", ("6.1 mmol/L", "above", "70 to 99 mg/dL")),
        ("creatinine 0.7 mg/dL, husband", ("within", "62 to 115 micromol/L")),
        ("platelets 250,000/µL", ("within", "150 to 400")),
        ("wbc 12.3 x10⁹/L", ("above",)),
        ("my total cholesterol came back as 5,8 mmol/l", ("above", "5.0 mmol/L or below")),
        ("my TSH is 6.2", ("above", "0.4 to 4.0 mU/L")),
        ("vitamin D 18 ng/ml", ("45 nmol/L", "below")),
        ("my LDL cholesterol is 2.4 mmol/L", ("LDL cholesterol of 2.4", "within")),
    ],
)
def test_a_result_is_converted_and_compared_with_the_adult_interval(text: str, words: tuple[str, ...]) -> None:
    reply = ask(text)
    assert reply is not None and reply.complete and reply.tool == "lab_reference"
    assert all(word in reply.text for word in words), reply.text
    assert "laboratory's own range and a clinician decide" in reply.text


@pytest.mark.parametrize(
    "text",
    [
        "potassium 6.5 mmol/L",
        "my potassium is 2.4",
        "my glucose was 2.9 mmol/L",
        "glucose 50 mg/dL",
        "sodium 118 mmol/L",
        "Hb 6.1 g/dL",
        "my bp is 190/100",
    ],
)
def test_a_critical_value_says_contact_a_doctor_now(text: str) -> None:
    reply = ask(text)
    assert reply is not None and reply.complete
    assert "Contact a doctor now" in reply.text


@pytest.mark.parametrize("text", ["potassium 6.4 mmol/L", "glucose 3.0 mmol/L"])
def test_a_value_just_short_of_critical_is_only_outside(text: str) -> None:
    reply = ask(text)
    assert reply is not None and "Contact a doctor now" not in reply.text and "show this result" in reply.text


@pytest.mark.parametrize(
    ("text", "intent", "question"),
    [
        ("my a1c is 6.1", "", "Which unit"),
        ("my haemoglobin is 12.5 g/dL", "", "a woman or a man"),
        ("please check my potassium result", "", "What is the value and unit"),
        ("my cholesterol please", "lab_result", "What is the value and unit"),
        ("haemoglobin 11 mg/dL", "", "g/L, g/dL or mmol/L"),
    ],
)
def test_what_is_missing_is_asked_for(text: str, intent: str, question: str) -> None:
    reply = ask(text, intent)
    assert reply is not None and not reply.complete
    assert question in reply.text


def test_unit_and_sex_given_one_after_the_other_complete_the_answer() -> None:
    history: tuple[Exchange, ...] = ()
    for text in ("my hb is 13.1", "g/dl"):
        reply = ask(text, "", history)
        assert reply is not None and not reply.complete
        history = (*history, Exchange(text, reply.text))
    reply = ask("a man", "", history)
    assert reply is not None and reply.complete and "within the adult reference interval for men" in reply.text


def test_a_new_topic_after_our_question_is_left_to_retrieval() -> None:
    question = ask("my hb is 13.1")
    assert question is not None
    assert ask("how do I treat a cold?", "", (Exchange("my hb is 13.1", question.text),)) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("my haemoglobin is 112 g/dL, I'm a man", "Could it be 112 g/L?"),
        ("my potassium is -4", "not possible"),
        ("potassium 45 mmol/L", "not possible"),
        ("my bp is 90/150", "first number should be the larger"),
    ],
)
def test_an_impossible_value_is_refused_with_a_hint(text: str, hint: str) -> None:
    reply = ask(text)
    assert reply is not None and hint in reply.text


@pytest.mark.parametrize("text", ["I'm pregnant and my Hb is 105 g/L", "my 5 year old's haemoglobin is 10.1 g/dL"])
def test_children_and_pregnant_people_are_not_compared_with_adults(text: str) -> None:
    reply = ask(text)
    assert reply is not None and "adults who are not pregnant" in reply.text


def test_glucose_after_a_meal_is_not_compared_with_the_fasting_interval() -> None:
    reply = ask("my sugar was 150 mg/dl after lunch")
    assert reply is not None and "not fasting" in reply.text and "above" not in reply.text


def test_an_unknown_test_gets_the_list_of_known_ones() -> None:
    reply = ask("my ferritin is 12 ng/ml", "lab_result")
    assert reply is not None and "no reference interval" in reply.text and "potassium" in reply.text


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("my blood pressure is 150/95", "high"),
        ("BP 118/76 mmHg", "ideal"),
        ("my bp was 85/55", "low"),
        ("my bp is 130/82", "above the ideal"),
    ],
)
def test_blood_pressure_gets_its_category(text: str, category: str) -> None:
    reply = ask(text)
    assert reply is not None and category in reply.text


@pytest.mark.parametrize(
    "text",
    [
        "What is a normal haemoglobin for women?",
        "How do I lower my cholesterol?",
        "Can I take metformin 500 mg if my glucose is high?",
        "What does a CRP over 100 suggest?",
        "Should I take vitamin D 1000 IU?",
        "What is 5 mmol/L cholesterol in mg/dL?",
        "How much paracetamol can an adult take in 24 hours?",
        "thanks",
    ],
)
def test_general_questions_are_left_to_retrieval(text: str) -> None:
    assert ask(text) is None


def test_every_known_test_has_rows_with_a_source_in_the_table() -> None:
    with (PACK / hooks.RANGES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["analyte"] for row in rows} == {analyte.key for analyte in hooks.ANALYTES}
    assert all(row["source"] and (row["low"] or row["high"]) for row in rows)
