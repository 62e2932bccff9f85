"""How documents are cut: headings, sections, sentences, ids and spans."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.passage import MAX_WORDS, Document, Passage, passages, sentences


def cut(text: str, document: str = "doc") -> list[Passage]:
    return list(passages(Document(document, "Title", text, "Source", "2026-01-01", "Apache-2.0")))


def texts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One sentence. Another one! A third? Yes.", ["One sentence.", "Another one!", "A third?", "Yes."]),
        ("Dr. Smith met Mr. Jones. They talked.", ["Dr. Smith met Mr. Jones.", "They talked."]),
        ("Fruit, e.g. Apples, is fine. Eat it.", ["Fruit, e.g. Apples, is fine.", "Eat it."]),
        ("See Fig. 3 and No. 5 in Art. 7. Then stop.", ["See Fig. 3 and No. 5 in Art. 7.", "Then stop."]),
        ("J. R. Hartley wrote it. It sold.", ["J. R. Hartley wrote it.", "It sold."]),
        ("The dose is 2.5 mg. Take it at 8.30 daily.", ["The dose is 2.5 mg.", "Take it at 8.30 daily."]),
        ("It costs 1.200,50 euros. Pay now.", ["It costs 1.200,50 euros.", "Pay now."]),
        ("Version 1.2.3 is out. 5 bugs are gone.", ["Version 1.2.3 is out.", "5 bugs are gone."]),
        ('He said "Stop." Then he left.', ['He said "Stop.', "Then he left."]),
        ("Über alles. Ärzte helfen.", ["Über alles.", "Ärzte helfen."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("Bring:\n- A card.\n- Some money.\n* A pen", ["Bring:", "A card.", "Some money.", "A pen"]),
        ("no capital follows. so this stays one", ["no capital follows. so this stays one"]),
        ("", []),
        (" \n\t ", []),
        ("- \n* \n•", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


words = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=8)
running = st.lists(st.one_of(words, st.sampled_from([". ", "! ", "? ", "\n", "\n- ", " ", "A", "e.g. ", "3.5"]))).map(
    "".join
)


@settings(max_examples=300, deadline=None)
@given(running)
def test_sentence_spans_are_disjoint_ordered_trimmed_and_cover_every_word(text: str) -> None:
    spans = sentences(text)
    assert all(start < end for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(text[start:end] == text[start:end].strip(" \t\n-*•") for start, end in spans)
    outside = "".join(
        text[left:right]
        for left, right in zip(
            [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)], strict=True
        )
    )
    assert not re.search(r"\w", outside)


def test_each_heading_starts_a_passage_that_knows_its_section() -> None:
    found = cut("Lead text.\n\n# First\n\nOne.\n\n## Second part ##\nTwo.\n\n### Empty\n\n# Last\nThree.")
    assert [(one.section, one.text) for one in found] == [
        ("", "Lead text."),
        ("First", "One."),
        ("First > Second part", "Two."),
        ("Last", "Three."),
    ]
    assert [one.heading for one in found[:2]] == ["Title", "Title > First"]


def test_a_text_without_headings_is_one_passage() -> None:
    (only,) = cut("Just text. No heading.")
    assert (only.id, only.section, only.text) == ("doc#start", "", "Just text. No heading.")


def test_a_hash_without_a_space_is_no_heading() -> None:
    (only,) = cut("#hashtag is a word\n#5 too")
    assert only.section == ""


def test_ids_are_stable_while_the_heading_stays_whatever_happens_around_it() -> None:
    before = {one.section: one.id for one in cut("## Fees\nOld text.\n## Rooms\nA room.")}
    after = {one.section: one.id for one in cut("## New\nNew.\n## Fees\nQuite another text.\n## Rooms\nA room.")}
    assert before == {"Fees": "doc#fees", "Rooms": "doc#rooms"}
    assert before.items() <= after.items()


def test_a_heading_used_twice_is_numbered() -> None:
    assert [one.id for one in cut("## Fees\nA.\n## Fees\nB.\n## Fees!\nC.")] == ["doc#fees", "doc#fees-2", "doc#fees-3"]


def test_ids_of_one_document_never_collide() -> None:
    found = [one.id for one in cut("## Fees\nA.\n## Fees\nB.\n## Fees 2\nC.")]
    assert len(set(found)) == 3, found


def test_the_digest_is_of_the_text() -> None:
    (only,) = cut("## Prüfung\nÄpfel sind gut.")
    assert only.sha256 == hashlib.sha256("Äpfel sind gut.".encode()).hexdigest()
    assert (only.document, only.title, only.source, only.date, only.licence) == (
        "doc", "Title", "Source", "2026-01-01", "Apache-2.0",
    )  # fmt: skip


def test_a_section_of_exactly_the_most_words_stays_whole() -> None:
    assert len(cut("## A\n" + " ".join(["word"] * MAX_WORDS))) == 1


def test_a_long_section_is_cut_at_sentence_ends_and_loses_nothing() -> None:
    body = " ".join(f"Sentence number {n} has exactly seven words." for n in range(80))
    found = cut(f"## Long\n{body}")
    assert len(found) > 1
    assert all(len(one.text.split()) <= MAX_WORDS for one in found)
    assert [sentence for one in found for sentence in texts(one.text)] == texts(body)
    assert [one.id for one in found[:2]] == ["doc#long", "doc#long-2"]


def test_one_giant_sentence_is_kept_whole() -> None:
    (only,) = cut("## A\n" + "word " * 300)
    assert len(only.text.split()) == 300


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(words, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=30))
def test_spans_index_back_into_the_passages_own_text(lines: list[str]) -> None:
    for passage in cut("## Section\n" + ". ".join(lines)):
        for start, end in sentences(passage.text):
            assert 0 <= start < end <= len(passage.text)
            assert passage.text[start:end].strip() == passage.text[start:end]
