"""Nobody retrieves, and nobody sees a citation of, what their groups may not read: random people, random documents."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.access import HIDDEN, Standing, shown, stale
from assistant.chats import Chats
from assistant.record import Citation, Reading, Turn
from assistant.reviews import WITHHELD, ReviewError, Reviews, open_ticket
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
    ticket = reviews.open(User("rea", "reviewer"))[0]
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


FATES = ("stays", "gone", "changed", "moved", "moved and changed")
fates = st.lists(st.tuples(access, access, st.sampled_from(FATES)), min_size=1, max_size=4)


def fated(number: int, then: str, later: str, fate: str) -> tuple[Passage, Passage | None, set[str]]:
    """A passage when it was quoted, as it is now, and the groups one has to be of to see it."""
    old = passage(number, then)
    old = replace(old, text=f"secret-{number}.", sha256=sha256(f"secret-{number}.".encode()).hexdigest())
    new = replace(old, sha256="0" * 64, text="new") if "changed" in fate else old
    new = replace(new, access=later) if "moved" in fate else new
    needed = {then} if "moved" not in fate else {later, then} if "changed" in fate else {later}
    return old, None if fate == "gone" else new, needed


@pytest.fixture(scope="module")
def people() -> Iterator[Path]:
    """A database with one account, to copy: making one takes longer than all the rest."""
    with tempfile.TemporaryDirectory() as home:
        store = Store(f"sqlite:///{home}/state.db")
        Users(store).add("ana", "ana-password", "user")
        store.close()
        yield Path(home) / "state.db"


@settings(max_examples=40, deadline=None)
@given(fates, st.lists(st.booleans(), min_size=4, max_size=4), groups, st.sampled_from(["open", "edit", "reject"]))
def test_no_path_shows_words_of_a_document_to_who_may_not_read_it(
    people: Path, documents: list[tuple[str, str, str]], cited: list[bool], mine: frozenset[str], end: str
) -> None:
    made = [fated(number, *one) for number, one in enumerate(documents)]
    now = {new.id: new for _, new, _ in made if new}

    def standing(_: str, ids: Collection[str]) -> Mapping[str, Passage]:
        return {name: now[name] for name in ids if name in now}

    quoted = [old for (old, _, _), yes in zip(made, cited, strict=False) if yes]
    said = " ".join(old.text for old in quoted) or "Nothing."
    every = " ".join(old.text for old, _, _ in made)
    turn = Turn(
        "q", said, "answered", "quote", READING, tuple(Hit(old, 1.0, 1.0, 1.0, 1.0, (0, 5)) for old, _, _ in made),
        0.9, (said,), tuple(_cited(old, number) for number, old in enumerate(quoted)), dropped=(every,),
        reasons=(f"rule.x: {every}",), held=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(people, home)
        store = Store(f"sqlite:///{home}/state.db")
        seen = _everything(store, turn, standing, mine, end, every)
        store.close()
    for number, (_, _, needed) in enumerate(made):
        assert f"secret-{number}." not in seen or needed <= {"", *mine}, (number, needed)
    if all(needed <= {"", *mine} for _, _, needed in made) and mine >= {one for one, _, _ in documents} - {""}:
        assert HIDDEN not in seen and WITHHELD not in seen


def _cited(old: Passage, number: int) -> Citation:
    return Citation(
        0, number, old.id, old.heading, old.source, 0, 5, old.text, old.sha256, old.text, old.access, domain="library"
    )


def _everything(store: Store, turn: Turn, standing: Standing, mine: frozenset[str], end: str, words: str) -> str:
    """All that a user and a reviewer of these groups are shown of a turn, by every path there is."""
    Users(store).set_groups("ana", mine)
    with store.begin() as session:
        session.add(ConversationRow(id=1, user="ana", title="q"))
        session.flush()
        session.add(TurnRow(id=1, conversation=1, state="held", question="q", record=pack_turn(turn)))
        session.flush()
        open_ticket(session, 1, turn, turn.reasons)
    reviews, reader = Reviews(store, standing), User("rea", "reviewer", mine)
    tickets = reviews.open(reader)
    if end != "open":
        boss = User("ben", "reviewer", frozenset(GROUPS))
        reviews.decide(tickets[0].id, boss, "edit" if end == "edit" else "reject", words, words)
    chats = Chats(store, lambda: pytest.fail("nothing is asked"), standing=standing)
    shown_to_her: list[Any] = [*chats.messages("ana", 1), *tickets, *reviews.open(reader), *reviews.closed(reader)]
    chats.close()
    everything = [asdict(one) for one in [*shown_to_her, *reviews.decisions(reader)]]
    return json.dumps(everything, default=str)


@pytest.mark.parametrize(("fate", "expected"), [("stays", ""), ("gone", "gone"), ("changed", "changed"), ("moved", "")])
def test_a_stale_citation_says_so_and_keeps_the_quote_as_it_was(fate: str, expected: str) -> None:
    old, new, _ = fated(1, "", "board", fate)
    turn = Turn("q", old.text, "answered", "quote", READING, sentences=(old.text,), citations=(_cited(old, 1),))

    def standing(_: str, ids: Collection[str]) -> Mapping[str, Passage]:
        return {name: new for name in ids if new and new.id == name}

    (seen,) = shown(turn, ["board"], standing).citations
    assert (seen.stale, seen.quote, seen.text, seen.sha256) == (expected, old.text, old.text, old.sha256)
    assert stale(turn.citations[0], standing) == expected
    assert shown(turn, ["board"]) is turn  # nobody looked: nothing is claimed


def test_what_was_written_about_a_deleted_conversation_is_shown_to_its_author_only(held: Store) -> None:
    reviews, ben = Reviews(held), User("ben", "reviewer", frozenset({"board"}))
    reviews.decide(1, ben, "edit", "The secret, in other words.", "")
    chats = Chats(held, lambda: pytest.fail("nothing is asked"))
    chats.delete("ana", 1)
    chats.close()
    assert [one.text for one in reviews.decisions(ben)] == ["The secret, in other words."]
    assert [one.text for one in reviews.decisions(User("rea", "reviewer", ben.groups))] == [WITHHELD]
