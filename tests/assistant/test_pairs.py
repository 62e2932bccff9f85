"""Cases for the cross-encoder: the right sentence among tempting ones, or none, and never a lesson that is kept back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from assistant.pairs import REPEATED, SHOWN, Answered, Searched, cases, held_out, read_answered, recent
from assistant.ranking import Candidate
from domains.manifest import Lesson
from domains.pack import DomainError
from retrieval.passage import Document, Hit, Passage, passages, sentences

TOPICS = ("Loans", "Fees", "Rooms", "Events")
TEXT = "## All\n" + " ".join(f"Sentence number {number} says something." for number in range(5))
FOUND = [next(passages(Document(topic.lower(), topic, TEXT, "Rules"))) for topic in TOPICS]
OUTSIDE = [
    Answered(question=f"What is the {aspect} of ague?", answer=text, focus="Ague")
    for aspect, text in (
        ("cause", "Ague is caused by a parasite that a mosquito carries. It lives in the blood of a person."),
        ("cure", "Ague is treated with tablets that are taken for days. A hospital treats the severe kind."),
    )
]


def candidates(passage: Passage) -> list[Candidate]:
    spans = sentences(passage.text)
    hit = Hit(passage, 1.0, 0.5, 0.0, 0.5, (0, 0), tuple(0.5 for _ in spans))
    return [Candidate(hit, start, end, 0.1) for start, end in spans]


RANKED = tuple(one for passage in FOUND for one in candidates(passage))
TAUGHT = [ask for number in range(60) if not held_out(ask := f"Question {number}?")]
KEPT = [ask for number in range(60) if held_out(ask := f"Question {number}?")]


def lesson(ask: str, answered: bool) -> Searched:
    answer = RANKED[6].text if answered else None
    source = "fees#All" if answered else None
    return Searched(Lesson(ask=ask, answer=answer, source=source), (), RANKED, (6,) if answered else (), 0.0)


def test_a_fifth_of_the_lessons_is_kept_back_whatever_their_case() -> None:
    assert 5 <= len(KEPT) <= 20
    assert all(held_out(ask.upper()) for ask in KEPT)
    drawn = cases([lesson(ask, True) for ask in (*TAUGHT, *KEPT)], [])(0)
    assert sorted({case.question for case in drawn}) == sorted(TAUGHT)


def test_an_answered_lesson_has_its_answer_once_or_only_other_passages() -> None:
    drawn = cases([lesson(ask, True) for ask in TAUGHT], [])(0)
    right = RANKED[6].read_as
    answered = [case for case in drawn if case.right]
    withheld = [case for case in drawn if not case.right]
    assert answered and withheld
    assert all([case.texts[place] for place in case.right] == [right] for case in answered)
    assert all(case.texts.count(right) == 1 and len(case.texts) == SHOWN for case in answered)
    assert not any(text.startswith("Fees") for case in withheld for text in case.texts)
    assert len({case.right for case in answered}) > 1  # the place of the answer teaches nothing


def test_an_unanswered_lesson_has_no_right_text_and_is_repeated() -> None:
    drawn = cases([lesson(TAUGHT[0], False)], [])(0)
    assert len(drawn) == REPEATED
    assert all(case.right == () for case in drawn)


def test_the_last_lessons_are_learned_with_as_many_earlier_ones() -> None:
    lessons = [lesson(ask, True) for ask in TAUGHT[:20]]
    pack = SimpleNamespace(domain=SimpleNamespace(name="library", lessons=tuple(one.lesson for one in lessons)))
    drawn = [one.lesson.ask for one in recent([pack], {"library": lessons}, 4)]  # type: ignore[list-item]
    assert drawn[:4] == TAUGHT[16:20]
    assert len(drawn) == 8 and set(drawn[4:]) < set(TAUGHT[:16])


def test_every_epoch_draws_anew_and_a_seed_draws_the_same() -> None:
    lessons = [lesson(ask, True) for ask in TAUGHT]
    assert cases(lessons, [])(0) != cases(lessons, [])(1)
    assert cases(lessons, [])(1) == cases(lessons, [])(1)


def test_the_wrong_answers_to_an_outside_question_are_about_the_same_thing() -> None:
    drawn = cases([], OUTSIDE)(0)
    assert [case.question for case in drawn] == [one.question for one in OUTSIDE]
    for case, one, other in zip(drawn, OUTSIDE, reversed(OUTSIDE), strict=True):
        assert all(text.startswith("Ague: ") for text in case.texts)
        assert all(case.texts[place].removeprefix("Ague: ") in one.answer for place in case.right)
        wrong = [text for place, text in enumerate(case.texts) if place not in case.right]
        assert all(text.removeprefix("Ague: ") in other.answer for text in wrong)


def test_a_line_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_text(OUTSIDE[0].model_dump_json() + "\n" + json.dumps({"question": "Why?"}) + "\n")
    with pytest.raises(DomainError, match="qa.jsonl:2: expected question, answer and focus"):
        read_answered(path)
    with pytest.raises(DomainError, match="none.jsonl: cannot be read"):
        read_answered(tmp_path / "none.jsonl")
