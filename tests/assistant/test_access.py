"""Nobody retrieves, and nobody sees a citation of, what their groups may not read: random people, random documents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.access import HIDDEN, shown
from assistant.chats import Chats
from assistant.record import Citation, Reading, Turn
from assistant.reviews import ReviewError, Reviews, open_ticket
from assistant.store import ConversationRow, Store, TurnRow
from assistant.transcript import pack_turn
from assistant.users import User, Users
from retrieval.generation import build
from retrieval.index import FaissIndex
from retrieval.library import Library
from retrieval.passage import Document, Hit, Passage, passages
from retrieval.tables import Scope
from tests.retrieval.test_index import CORPUS, BagOfWords

GROUPS = ("", "board", "staff", "ward 7")
READING = Reading("library", 1.0, True, (), "", 0.0, "neutral", 0.0)
access = st.sampled_from(GROUPS)
groups = st.frozensets(st.sampled_from(GROUPS[1:]))


@pytest.fixture(scope="module")
def index() -> Iterator[FaissIndex]:
    """One index with the same words in every group, so that everything is found by every question."""
    with tempfile.TemporaryDirectory() as home:
        library = Library(Path(home) / "documents.sqlite")
        opened = FaissIndex(build(Path(home) / "indexes", CORPUS, BagOfWords()), BagOfWords(), library)
        for number in range(40):
            library.put(f"{number}.md", [passage(number, GROUPS[number % len(GROUPS)])])
        opened.sync()
        yield opened
        opened.close()
        library.close()


def passage(number: int, group: str) -> Passage:
    text = f"Rule {number} on salary and holiday of {group or 'all'}."
    (one,) = passages(Document(f"files/{number}", f"Rule {number}", text, "HR", "2026-01-01", "", group))
    return one


@settings(max_examples=150, deadline=None)
@given(groups, st.sampled_from(["salary", "holiday of board", "rule 7", "ward 7 staff", "late fee", ""]), st.booleans())
def test_a_search_finds_only_what_may_be_read_and_all_of_it(
    index: FaissIndex, mine: frozenset[str], question: str, tuned: bool
) -> None:
    vector = BagOfWords().embed([question])[0]
    hits = index.search(question, vector, 50, vector if tuned else None, Scope(mine))
    readable = {"", *mine}
    assert {hit.passage.access for hit in hits} <= readable
    allowed = [one for one in index.passages() if one.access in readable]
    assert len(hits) == min(50, len(allowed))


def cite(number: int, group: str) -> Citation:
    one = passage(number, group)
    return Citation(0, number, one.id, one.heading, one.source, 0, 5, one.text[:5], one.sha256, one.text, group)


@settings(max_examples=200, deadline=None)
@given(st.lists(access, max_size=5), st.lists(access, max_size=3), groups)
def test_a_stored_turn_shows_nothing_of_a_group_one_is_not_in(
    found: list[str], cited: list[str], mine: frozenset[str]
) -> None:
    hits = tuple(Hit(passage(n, group), 1.0, 1.0, 1.0, 1.0, (0, 5)) for n, group in enumerate(found))
    citations = tuple(cite(n, group) for n, group in enumerate(cited))
    secret = "The secret words."
    turn = Turn("q", secret, "answered", "quote", READING, hits, 0.9, (secret,), citations, dropped=(secret,))
    seen = shown(turn, mine)
    readable = {"", *mine}
    assert {hit.passage.access for hit in seen.hits} | {one.access for one in seen.citations} <= readable
    hidden = not set(cited) <= readable
    assert (seen.answer == HIDDEN) == hidden
    if hidden or not set(found) <= readable:
        assert secret not in seen.dropped and (secret in seen.sentences) != hidden
    else:
        assert seen is turn


@pytest.fixture
def held(store: Store) -> Store:
    """A held answer to ana, who is of the board, from a document of the board."""
    users = Users(store)
    users.add("ana", "ana-password", "user")
    users.set_groups("ana", ["board"])
    turn = Turn(
        "q", "The secret.", "answered", "quote", READING, sentences=("The secret.",), citations=(cite(1, "board"),)
    )
    with store.begin() as session:
        session.add(ConversationRow(id=1, user="ana", title="q"))
        session.flush()
        session.add(TurnRow(id=1, conversation=1, state="held", question="q", record=pack_turn(turn)))
        session.flush()
        open_ticket(session, 1, turn, ["held: a test"])
    return store


def test_who_leaves_a_group_no_longer_sees_its_answers_in_their_own_conversation(held: Store) -> None:
    chats = Chats(held, lambda: pytest.fail("nothing is asked"))
    assert chats.messages("ana", 1)[0].turn.answer == "The secret."
    Users(held).set_groups("ana", [])
    seen = chats.messages("ana", 1)[0].turn
    assert (seen.answer, seen.citations) == (HIDDEN, ())
    chats.close()


def test_a_reviewer_outside_the_group_cannot_release_what_they_cannot_read(held: Store) -> None:
    reviews = Reviews(held)
    ticket = reviews.open()[0]
    with pytest.raises(ReviewError, match="rests on documents that you may not read; ask somebody of their group"):
        reviews.decide(ticket.id, User("rea", "reviewer"), "approve")
    reviews.decide(ticket.id, User("rea", "reviewer", frozenset({"board"})), "approve")


def test_groups_are_kept_and_taken_away(store: Store) -> None:
    users = Users(store)
    users.add("ana", "ana-password", "user")
    users.set_groups("ana", ["staff ", "board", "board"])
    assert users.get("ana") == User("ana", "user", frozenset({"board", "staff"}))
    users.set_groups("ana", [])
    assert [one.groups for one in users.list()] == [frozenset()]
