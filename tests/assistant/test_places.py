"""Which places a text names, and when what is said of one is no answer for another."""

from __future__ import annotations

import pytest

from assistant import places


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


def test_every_place_lies_in_a_known_one() -> None:
    assert {"Texas", "Germany", "Europe", "North America"} <= places._around().keys()
