"""Which places a text names, and when what is said of one is no answer for another."""

from __future__ import annotations

import pytest

from assistant import places
from assistant.answer import _of_the_place
from assistant.ranking import Candidate
from retrieval.passage import Document, Hit, passages, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I freelance in Texas, what do I pay?", {"Texas"}),
        ("can you tell us about the UK", {"UK"}),  # "us" is no country
        ("what is the limit in the US?", {"US"}),
        ("Is german law different from Scottish law?", {"Germany", "Scotland"}),
        ("Does American Express charge a fee, and what is German measles?", set()),
        ("a video call in British Sign Language", set()),
        ("the London Underground", {"England"}),
        ("nothing named here", set()),
    ],
)
def test_places_are_found(text: str, expected: set[str]) -> None:
    assert places.named(text) == expected


@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [
        ({"Australia"}, {"UK"}, True),
        ({"England"}, {"Scotland"}, True),
        ({"UK"}, {"Scotland"}, False),  # a part speaks of the whole
        ({"Texas"}, {"US"}, False),
        ({"Germany"}, {"EU"}, False),
        ({"Germany"}, {"France"}, True),
        ({"Germany", "UK"}, {"UK"}, False),
        ({"Norway"}, {"UK", "Ireland", "Germany"}, False),  # a list says who is on it
        (set(), {"UK"}, False),
        ({"UK"}, set(), False),
    ],
)
def test_what_is_said_of_another_place_is_no_answer(asked: set[str], said: set[str], expected: bool) -> None:
    assert places.elsewhere(frozenset(asked), frozenset(said)) is expected


def test_sentences_about_another_country_are_left_out_and_the_answer_with_them() -> None:
    text = "## All\n\nThe UK limit is 85,000 GBP. Savings are protected by law. The US limit is 250,000 USD."
    passage = next(passages(Document("limits", "Limits", text, "us")))
    hit = Hit(passage, 1.0, 0.5, 0.0, 0.5, (0, 0))
    odds = (0.7, 0.1, 0.2)
    ranked = tuple(Candidate(hit, start, end, p) for (start, end), p in zip(sentences(passage.text), odds, strict=True))
    kept, fit = _of_the_place(ranked, "What is the limit in Australia?")
    assert [one.text for one in kept] == ["Savings are protected by law."] and not fit
    kept, fit = _of_the_place(ranked, "What is the limit in England?")
    assert [one.probability for one in kept] == [0.7, 0.1] and fit
    assert _of_the_place(ranked, "What is the limit?") == (ranked, True)


def test_every_place_lies_in_a_known_one() -> None:
    assert {"Texas", "Germany", "Europe", "North America"} <= places._around().keys()
