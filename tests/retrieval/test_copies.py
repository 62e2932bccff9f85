"""Which passages of a ranking are copies of a better one, and which of two versions stays."""

from __future__ import annotations

import pytest

from retrieval.copies import distinct
from retrieval.passage import Document, Passage, passages

LONG = " ".join(
    f"Step {letter}: the {letter} valve is closed before the {letter} pump starts." for letter in "abcdefgh"
)
EDITED = LONG.replace("The", "the").replace("Step h: the", "Step h: then the")


def passage(name: str, text: str = LONG, date: str = "2026-01-05", access: str = "") -> Passage:
    (one,) = passages(Document(name, name, text, "A manual", date, access=access))
    return one


def left(*ranked: Passage, k: int = 5) -> list[str]:
    """The documents that stay of a ranking."""
    rows = dict(enumerate(ranked))
    kept = distinct(list(rows), k, lambda asked: {row: rows[row] for row in asked})
    assert all(rows[row] is one for row, one in kept.items())
    return [one.document for one in kept.values()]


@pytest.mark.parametrize(
    ("first", "second", "stay"),
    [
        (passage("a"), passage("b"), ["a"]),
        (passage("a"), passage("b", EDITED), ["a"]),
        (passage("a", "退货期限是三十天，运费由买家承担。"), passage("b", "退货期限是三十天，运费由买家承担！"), ["a"]),
        (passage("a", date="2025-01-05"), passage("b", date="2026-01-05"), ["b"]),
        (passage("a", date="2026-01-05"), passage("b", date="2025-01-05"), ["a"]),
        (passage("a", date=""), passage("b", date="2025-01-05"), ["b"]),
        (passage("a", f"{LONG} It takes 5 minutes.", "2025-01-05"), passage("b", f"{LONG} It takes 6 minutes."), ["b"]),
        (passage("a", f"{LONG} It takes 5 minutes."), passage("b", f"{LONG} It takes 6 minutes."), ["a", "b"]),
        (passage("a", access="nurses"), passage("b"), ["a", "b"]),
        (passage("a"), passage("b", LONG.replace("pump", "fan")), ["a", "b"]),
        (passage("a"), passage("b", f"{LONG} The last valve is oiled once a month, and whenever it squeaks."), ["a", "b"]),
        (passage("a", "No pets."), passage("b", "No dogs."), ["a", "b"]),
        (passage("a", "!!!"), passage("b", "???"), ["a"]),
    ],
    ids=[
        "the same", "edited a little", "Chinese", "a newer one below", "an older one below", "an undated one above",
        "a new figure", "two figures of one date", "for other readers", "other words", "one in a longer one", "short",
        "without words",
    ],
)  # fmt: skip
def test_of_two_passages_a_copy_goes(first: Passage, second: Passage, stay: list[str]) -> None:
    assert left(first, second) == stay


def test_one_document_may_repeat_itself() -> None:
    (one, other) = passages(Document("a", "A", f"## Pump\n{LONG}\n## Fan\n{LONG}", "A manual"))
    assert left(one, other) == ["a", "a"]


def test_the_next_ones_fill_the_places_of_copies() -> None:
    copies = [passage(f"copy {number}") for number in range(9)]
    others = [passage(f"other {letter}", f"A text of its own about {letter * 3}.") for letter in "abc"]
    assert left(*copies, *others, k=3) == ["copy 0", "other a", "other b"]


def test_a_newer_version_that_stands_just_below_the_last_place_takes_it() -> None:
    assert left(passage("old", date="2025-01-05"), passage("new"), k=1) == ["new"]


def test_what_is_gone_is_left_out() -> None:
    assert distinct([1, 2], 2, lambda rows: {2: passage("a")} if 2 in rows else {}).keys() == {2}
    assert left() == left(passage("a"), k=0) == []
