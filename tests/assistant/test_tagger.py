"""The tagger: its tokens, how tags become spans, and what the shipped one finds in plain messages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import tagger
from assistant.tagger import joined, tokens


def test_words_numbers_marks_and_line_ends_are_tokens() -> None:
    text = "Ana B., 12a\n\nRoad"
    assert [text[start:end] for start, end in tokens(text)] == ["Ana", "B", ".", ",", "12", "a", "\n\n", "Road"]


def test_tags_that_go_on_are_joined_and_neighbours_that_begin_are_not() -> None:
    places = [(0, 3), (4, 7), (8, 11), (12, 15), (16, 19)]
    tags = ["B-name", "I-name", "B-name", "O", "B-place"]
    assert list(joined(places, tags)) == [(0, 7, "name"), (8, 11, "name"), (16, 19, "place")]


@pytest.mark.parametrize(
    ("text", "quote", "kind"),
    [
        ("Please send it to Maria Keller before Friday.", "Maria Keller", "name"),
        ("I live at 44 Elm Grove, Leeds", "44 Elm Grove", "address"),
        ("My zip code is 2371", "2371", "postcode"),
    ],
)
def test_the_shipped_tagger_finds_names_and_places(text: str, quote: str, kind: str) -> None:
    assert (quote, kind) in [(text[start:end], kind) for start, end, kind in tagger.shipped().spans(text)]


@given(st.text(max_size=120))
def test_spans_of_any_text_are_ordered_and_disjoint(text: str) -> None:
    spans = list(tagger.shipped().spans(text))
    assert all(0 <= start < end <= len(text) for start, end, _ in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
