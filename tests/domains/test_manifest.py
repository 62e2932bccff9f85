"""The schema of a pack's files: what is taken, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from domains.manifest import Example, FrontMatter, Golden, Intent, Lesson, Manifest, Rule, Rules, Strict

VALID: dict[str, Any] = {
    "name": "library",
    "title": "City library",
    "version": "1.0.0",
    "description": "Loans and fees.",
    "system_prompt": "Answer from the sources.",
    "refusals": {"unknown": "I do not know.", "policy": "I may not."},
    "crisis_text": "Call 112.",
    "greeting": "Welcome.",
    "suggestions": ["One?", "Two?", "Three?"],
    "intents": [{"name": "loan", "title": "Loans"}],
}


def test_what_is_left_out_has_a_careful_default() -> None:
    manifest = Manifest.model_validate(VALID)
    assert manifest.adapter is None and manifest.disclaimer is None and manifest.release == "sentence"
    assert manifest.intents[0].responder == "retrieval" and not manifest.intents[0].hold
    assert (manifest.thresholds.evidence, manifest.thresholds.support) == (0.5, 1.0)
    assert manifest.review.hold_below_evidence == 0.0


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"name": "Library"}, ("name",), "String should match pattern"),
        ({"name": "x"}, ("name",), "String should match pattern"),
        ({"name": "../etc"}, ("name",), "String should match pattern"),
        ({"version": "1.0"}, ("version",), "String should match pattern"),
        ({"title": "   "}, ("title",), "String should have at least 1 character"),
        ({"system_prompt": "x" * 4001}, ("system_prompt",), "String should have at most 4000 characters"),
        ({"suggestions": ["One?", "Two?"]}, ("suggestions",), "Tuple should have at least 3 items"),
        ({"suggestions": ["?"] * 7}, ("suggestions",), "Tuple should have at most 6 items"),
        ({"intents": []}, ("intents",), "Tuple should have at least 1 item"),
        ({"release": "never"}, ("release",), "Input should be 'sentence' or 'whole'"),
        ({"thresholds": {"evidence": 1.1}}, ("thresholds", "evidence"), "less than or equal to 1"),
        ({"gate": {"least": {"policy": 1.0}}}, ("gate", "least", "policy"), "Extra inputs are not permitted"),
        ({"gate": {"least": {"policy_passed": 100}}}, ("gate", "least", "policy_passed"), "less than or equal to 1"),
        ({"gate": {"slower": 0.5}}, ("gate", "slower"), "greater than or equal to 1"),
        ({"gate": {"never_worse": ["refusals"]}}, ("gate", "never_worse", 0), "Input should be 'answered_with_source'"),
        ({"thresholds": {"evidense": 0.5}}, ("thresholds", "evidense"), "Extra inputs are not permitted"),
        ({"review": {"hold_below_evidence": -0.1}}, ("review", "hold_below_evidence"), "greater than or equal to 0"),
        ({"refusals": {"unknown": "No."}}, ("refusals", "policy"), "Field required"),
        (
            {"intents": [{"name": "a1", "title": "A", "responder": "magic"}]},
            ("intents", 0, "responder"),
            "Input should",
        ),
        ({"sugestions": []}, ("sugestions",), "Extra inputs are not permitted"),
        (
            {"intents": [{"name": "hello", "title": "Hello", "responder": "small_talk"}]},
            ("intents", 0),
            "intent 'hello' answers by 'small_talk' and so needs a 'reply'",
        ),
        (
            {"intents": [{"name": "person", "title": "Person", "responder": "handover"}]},
            ("intents", 0),
            "intent 'person' answers by 'handover' and so needs a 'reply'",
        ),
        (
            {"intents": [{"name": name, "title": "T"} for name in ("loan", "fee", "loan", "fee")]},
            (),
            "intents named twice: fee, loan",
        ),
        (
            {"intents": [{"name": "loan", "title": "Loans", "disclaim": True}]},
            (),
            "an intent asks for the disclaimer, and the pack has none",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_by_key_and_reason(
    change: dict[str, Any], key: tuple[str | int, ...], reason: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate(VALID | change)
    error = caught.value.errors()[0]
    assert error["loc"] == key
    assert reason in error["msg"]


@pytest.mark.parametrize("missing", sorted(VALID))
def test_every_key_without_a_default_is_needed(missing: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate({key: value for key, value in VALID.items() if key != missing})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [((missing,), "missing")]


def test_a_demand_that_is_set_leaves_the_others_as_they_are() -> None:
    gate = Manifest.model_validate(VALID | {"gate": {"least": {"must_answer_answered": 0.8}}}).gate
    assert (gate.least.must_answer_answered, gate.least.sentences_supported, gate.worse) == (0.8, 0.99, 0.02)


def test_an_intent_is_found_by_its_name() -> None:
    manifest = Manifest.model_validate(VALID)
    assert manifest.intent("loan") == Intent(name="loan", title="Loans")
    assert manifest.intent("loans") is None


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Manifest.model_validate(VALID).name = "other"


@pytest.mark.parametrize("pattern", ["(", "[a", "(?P<x>a", "*a", "a{2,1}"])
@pytest.mark.parametrize("field", ["any", "unless"])
def test_a_pattern_that_does_not_compile_is_refused_with_the_pattern(field: str, pattern: str) -> None:
    values = {"code": "rule", "reason": "why", "any": ["fine"]} | {field: [pattern]}
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate(values)
    assert f"{pattern!r} is not a regular expression: " in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("family", ["must_refuse", "must_escalate", "must_hold", "must_disclaim", "must_not_say"])
def test_a_rule_needs_a_pattern(family: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Rules.model_validate({family: [{"code": "rule", "reason": "why", "any": []}]})
    assert caught.value.errors()[0]["loc"] == (family, 0, "any")


@pytest.mark.parametrize(
    ("model", "row", "key"),
    [
        (Example, {"text": "hi", "intent": "loan", "sentiment": "angry"}, "sentiment"),
        (Example, {"text": "", "intent": "loan", "sentiment": "neutral"}, "text"),
        (Example, {"text": "hi", "intent": "loan", "sentiment": "neutral", "label": 1}, "label"),
        (Golden, {"ask": "a?", "expect": "maybe"}, "expect"),
        (Golden, {"ask": "a?", "expect": "answer", "must_say": "21"}, "must_say"),
        (Golden, {"ask": "a?", "expect": "answer", "must_say": [""]}, "must_say"),
        (Lesson, {"ask": "a?"}, "answer"),
        (FrontMatter, {"title": "T", "source": "S", "date": "5 May 2026", "licence": "L"}, "date"),
        (FrontMatter, {"title": "T", "source": "", "date": "2026-05-05", "licence": "L"}, "source"),
        (FrontMatter, {"title": "T", "date": "2026-05-05", "licence": "L"}, "source"),
    ],
)
def test_a_wrong_row_is_refused_by_key(model: type[Strict], row: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(row)
    assert caught.value.errors()[0]["loc"][0] == key


@pytest.mark.parametrize(("answer", "source"), [("21 days.", None), (None, "loans#Loan period")])
def test_a_lesson_has_both_an_answer_and_a_source_or_neither(answer: str | None, source: str | None) -> None:
    with pytest.raises(ValidationError, match="a lesson has both an answer and a source, or neither"):
        Lesson(ask="How long?", answer=answer, source=source)
