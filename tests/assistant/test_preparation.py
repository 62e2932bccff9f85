"""Cleaning counts what it changes, and splitting leaks nothing."""

from __future__ import annotations

import pytest

from assistant.dataset import DataError
from assistant.formats import Row
from assistant.preparation import clean, language_of, split, stats

LONG = "My parcel with the blue garden chair has still not been delivered to my home address, what can I do"
MESSY: list[Row] = [
    {"text": "Where is my card?", "label": "card"},
    {"text": "where is my card", "label": "card", "id": 2},
    {"text": f"{LONG}?", "label": "late"},
    {"text": f"{LONG} now?", "label": "late"},
    {"text": "  ", "label": "card"},
    {"text": "ﬁne\u200b  thanks", "label": "thanks"},
    {"text": "cancel it", "label": "cancel"},
    {"text": "Cancel it!", "label": "refund"},
    {"text": "Write to ada@home.example please", "label": "contact"},
    {"text": "Wo ist meine Karte und wie kann ich zahlen", "label": "card"},
]


def test_cleaning_drops_and_masks_and_counts_each_change() -> None:
    rows, changes = clean(MESSY, language="en")
    assert [row["text"] for row in rows] == [
        "Where is my card?", f"{LONG}?", "Write to [email] please",
    ]  # fmt: skip
    assert (changes.read, changes.kept, changes.empty, changes.normalised) == (10, 3, 1, 2)
    assert (changes.duplicates, changes.near_duplicates, changes.contradictions) == (1, 1, 2)
    assert (changes.masked, changes.other_language, changes.balanced_away) == (1, 2, 0)


def test_further_keys_stay_and_near_duplicates_may_stay_too() -> None:
    rows, changes = clean(MESSY[1:4], near=1.1)
    assert rows[0]["id"] == 2 and changes.near_duplicates == 0 and len(rows) == 3


def test_balancing_keeps_at_most_so_many_of_each_label() -> None:
    rows: list[Row] = [
        {"text": f"question number {n} about {n * 7}", "label": "a" if n < 20 else "b"} for n in range(23)
    ]
    kept, changes = clean(rows, near=1.1, most=5)
    labels = [row["label"] for row in kept]
    assert (labels.count("a"), labels.count("b"), changes.balanced_away) == (5, 3, 15)
    assert kept == clean(rows, near=1.1, most=5)[0] != clean(rows, near=1.1, most=5, seed=1)[0]


def test_near_duplicates_never_stand_in_two_parts_and_labels_are_spread() -> None:
    topics = "parcel invoice voucher warranty garden chair table lamp shelf carpet".split()
    rows: list[Row] = [
        {"text": f"I have a long question about the {topic} that I bought last summer in the shop{end}", "label": label}
        for topic in topics
        for label, end in (("a", "."), ("a", "!"))
    ] + [{"text": f"{topic} {topic[::-1]} please", "label": "b"} for topic in topics]
    parts = split(rows, {"train": 0.8, "dev": 0.2}, near=0.95)
    assert sum(map(len, parts.values())) == len(rows)
    for topic in topics:
        homes = [name for name, part in parts.items() if any(f"the {topic} that" in row["text"] for row in part)]
        assert len(homes) == 1
    assert {row["label"] for row in parts["dev"]} == {"a", "b"}
    assert 4 <= len(parts["dev"]) <= 8
    assert parts == split(rows, {"train": 0.8, "dev": 0.2}, near=0.95)


def test_stats_count_what_matters_before_training() -> None:
    found = stats(MESSY)
    assert found["rows"] == 10 and found["labels"]["card"] == 4
    assert found["duplicates"] == 2 and found["near_duplicates"] == 3
    assert found["personal_data"] == {"email": 1} and found["languages"]["de"] == 1


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my card and how do I get it?", "en"),
        ("Wo ist meine Karte und wie kann ich sie sperren?", "de"),
        ("Où est ma carte et comment je la bloque", "fr"),
        ("房间很干净，服务也很好", "zh"),
        ("カードはどこですか", "ja"),
        ("Где моя карта", "ru"),
        ("xyz 123", "unknown"),
    ],
)
def test_a_language_is_told_by_script_or_common_words(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_row_without_text_is_refused_with_its_number() -> None:
    with pytest.raises(DataError, match="row 2: no 'text', found the keys body"):
        clean([{"text": "a"}, {"body": "b"}])
    with pytest.raises(DataError, match="expected positive shares"):
        split([{"text": "a"}], {"train": 0.0})
