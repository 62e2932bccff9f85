"""The review queue: what a decision does to the conversation, who wins a race, and a chain that shows tampering."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant.record import Citation, Reading, Turn
from assistant.reviews import GENESIS, REJECTED, Action, ReviewError, Reviews, open_ticket
from assistant.store import ConversationRow, Store, TurnRow, UserRow
from assistant.transcript import pack_turn, unpack_turn
from assistant.users import User

REA, ADA, ANA = User("rea", "reviewer"), User("ada", "admin"), User("ana", "user")
READING = Reading("library", 0.9, False, ("library",), "fee", 0.8, "neutral", 0.7)
CITATION = Citation(0, 1, "fees#late-fee", "Fees", "House rules", 0, 4, "Text", "0" * 64, "Text")
TURN = Turn(
    "Can you waive my fee?", "Text", "answered", "model", READING, sentences=("Text",), citations=(CITATION,), held=True
)


@pytest.fixture
def reviews(store: Store) -> Iterator[Reviews]:
    with store.begin() as session:
        session.add(UserRow(name="ana", password="x", role="user"))
        session.flush()
        session.add(ConversationRow(user="ana", title="Fees"))
    yield Reviews(store)


def queue(store: Store, turn: Turn = TURN, reasons: tuple[str, ...] = ("held: why",)) -> int:
    """Store a turn with a ticket; returns the turn's id."""
    with store.begin() as session:
        row = TurnRow(
            conversation=1, state="held" if turn.held else "final", question=turn.question, record=pack_turn(turn)
        )
        session.add(row)
        session.flush()
        open_ticket(session, row.id, turn, reasons)
        return row.id


def stored(store: Store, turn_id: int) -> tuple[str, Turn, int]:
    """State, turn, and the conversation's version."""
    with store.begin() as session:
        row = session.get_one(TurnRow, turn_id)
        return row.state, unpack_turn(row.record), session.get_one(ConversationRow, 1).version


@pytest.mark.parametrize(
    ("action", "text", "state", "answer", "author", "citations"),
    [
        ("approve", "", "released", "Text", "model", (CITATION,)),
        ("approve", "is ignored", "released", "Text", "model", (CITATION,)),
        ("edit", "  Ask at the desk.  ", "edited", "Ask at the desk.", "human", ()),
        ("reject", "", "rejected", REJECTED, "human", ()),
    ],
)
def test_a_decision_on_a_held_turn_reaches_the_conversation(
    reviews: Reviews,
    store: Store,
    action: Action,
    text: str,
    state: str,
    answer: str,
    author: str,
    citations: tuple[Citation, ...],
) -> None:
    turn_id = queue(store)
    (ticket,) = reviews.open(REA)
    assert (ticket.turn_id, ticket.held, ticket.state, ticket.reasons) == (turn_id, True, "open", ("held: why",))
    reviews.decide(ticket.id, REA, action, text)
    found, turn, version = stored(store, turn_id)
    assert (found, turn.answer, turn.author, turn.citations) == (state, answer, author, citations)
    assert turn.sentences == (answer,)
    assert not turn.held
    assert version == 1
    assert reviews.open(REA) == []
    (closed,) = reviews.closed(REA)
    assert closed.state == {"approve": "approved", "edit": "edited", "reject": "rejected"}[action]


def test_approving_a_turn_that_was_shown_changes_nothing_in_it(reviews: Reviews, store: Store) -> None:
    turn_id = queue(store, replace(TURN, held=False))
    reviews.decide(reviews.open(REA)[0].id, REA, "approve")
    state, turn, version = stored(store, turn_id)
    assert (state, turn, version) == ("final", replace(TURN, held=False), 0)


@pytest.mark.parametrize(("action", "answer"), [("edit", "Better."), ("reject", REJECTED)])
def test_a_turn_that_was_shown_can_be_corrected_and_withdrawn(
    reviews: Reviews, store: Store, action: Action, answer: str
) -> None:
    turn_id = queue(store, replace(TURN, held=False))
    reviews.decide(reviews.open(REA)[0].id, REA, action, "Better." if action == "edit" else "")
    _, turn, version = stored(store, turn_id)
    assert (turn.answer, turn.author, version) == (answer, "human", 1)


def test_the_version_grows_with_every_change(reviews: Reviews, store: Store) -> None:
    for _ in range(3):
        queue(store)
    for ticket in reviews.open(REA):
        reviews.decide(ticket.id, REA, "approve")
    assert stored(store, 1)[2] == 3


def test_the_queue_is_sorted_by_urgency_then_held_then_age(reviews: Reviews, store: Store) -> None:
    shown = replace(TURN, held=False)
    flagged, handover, held, danger = (
        queue(store, shown),
        queue(store, replace(shown, outcome="handover")),
        queue(store),
        queue(store, replace(shown, outcome="escalated")),
    )
    later = queue(store)
    assert [(ticket.turn_id, ticket.priority) for ticket in reviews.open(REA)] == [
        (danger, 0), (held, 1), (later, 1), (handover, 1), (flagged, 2),
    ]  # fmt: skip


def test_only_reviewers_and_admins_decide(reviews: Reviews, store: Store) -> None:
    queue(store)
    with pytest.raises(ReviewError, match="^'ana' has the role 'user'; only reviewers and admins decide$"):
        reviews.decide(1, ANA, "approve")
    reviews.decide(1, ADA, "approve")
    assert [decision.reviewer for decision in reviews.decisions(REA)] == ["ada"]


def test_what_cannot_be_decided_is_refused_and_leaves_the_ticket_open(reviews: Reviews, store: Store) -> None:
    queue(store)
    with pytest.raises(ReviewError, match="^an edit needs the text of the answer; reject the ticket if there is none"):
        reviews.decide(1, REA, "edit", " \n ")
    with pytest.raises(ReviewError, match="^action 'delete' is unknown; it is one of approve, edit, reject$"):
        reviews.decide(1, REA, "delete")  # type: ignore[arg-type]
    with pytest.raises(ReviewError, match="^ticket 7 does not exist; reload the queue$"):
        reviews.decide(7, REA, "approve")
    assert len(reviews.open(REA)) == 1 and reviews.decisions(REA) == []
    reviews.decide(1, REA, "reject")
    with pytest.raises(ReviewError, match="^ticket 1 was rejected already; reload the queue$"):
        reviews.decide(1, REA, "approve")
    assert stored(store, 1)[0] == "rejected"


def test_of_many_reviewers_at_once_one_wins_every_ticket(reviews: Reviews, store: Store) -> None:
    tickets, rivals = 3, 4
    for _ in range(tickets):
        queue(store)
    start = threading.Barrier(rivals)

    def work(number: int) -> list[tuple[int, int]]:
        won = []
        start.wait()
        for ticket in range(1, tickets + 1):
            try:
                reviews.decide(ticket, User(f"rea{number}", "reviewer"), "edit", f"answer of {number}")
                won.append((ticket, number))
            except ReviewError as error:
                assert "was edited already" in str(error)
        return won

    with ThreadPoolExecutor(rivals) as pool:
        won = dict(pair for pairs in pool.map(work, range(rivals)) for pair in pairs)
    assert sorted(won) == [1, 2, 3]
    assert len(reviews.decisions(REA)) == tickets
    for decision in reviews.decisions(REA):
        assert decision.reviewer == f"rea{won[decision.ticket_id]}"
        assert stored(store, decision.ticket_id)[1].answer == f"answer of {won[decision.ticket_id]}"
    assert reviews.broken_at() is None


def test_each_decision_is_chained_to_the_one_before(reviews: Reviews, store: Store) -> None:
    assert reviews.broken_at() is None
    for _ in range(3):
        queue(store)
    made = [reviews.decide(number, REA, "reject", note=f"note {number}") for number in (1, 2, 3)]
    assert [one.previous for one in made] == [GENESIS, made[0].digest, made[1].digest]
    assert reviews.decisions(REA) == made[::-1]
    first = made[0]
    fields = [GENESIS, 1, "rea", "reject", "", "note 1", first.created.isoformat()]
    assert first.digest == hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()
    assert reviews.broken_at() is None


@pytest.mark.parametrize(
    ("forgery", "broken"),
    [
        ("UPDATE decisions SET text = 'forged' WHERE id = 2", 2),
        ("UPDATE decisions SET reviewer = 'ana' WHERE id = 1", 1),
        ("UPDATE decisions SET action = 'approve' WHERE id = 3", 3),
        ("UPDATE decisions SET note = '' WHERE id = 2", 2),
        ("UPDATE decisions SET created = '2020-01-01 00:00:00.000000' WHERE id = 2", 2),
        ("UPDATE decisions SET ticket = 9 WHERE id = 2", 2),
        (f"UPDATE decisions SET digest = '{'f' * 64}' WHERE id = 2", 2),
        ("DELETE FROM decisions WHERE id = 1", 2),
        ("DELETE FROM decisions WHERE id = 2", 3),
    ],
)
def test_tampering_past_the_triggers_is_found(
    reviews: Reviews, store: Store, tmp_path: Path, forgery: str, broken: int
) -> None:
    for number in (1, 2, 3):
        queue(store)
        reviews.decide(number, REA, "edit", "An answer.", "A note.")
    with closing(sqlite3.connect(tmp_path / "state.db")) as raw, raw:
        for verb in ("update", "delete"):
            raw.execute(f"DROP TRIGGER decisions_no_{verb}")
        assert raw.execute(forgery).rowcount == 1
    assert reviews.broken_at() == broken


def test_what_reviewers_and_reasons_say_is_masked(reviews: Reviews, store: Store) -> None:
    turn_id = queue(store, reasons=("flagged by the user: call +44 20 7946 0958",))
    (ticket,) = reviews.open(REA)
    assert ticket.reasons == ("flagged by the user: call [phone]",)
    made = reviews.decide(ticket.id, REA, "edit", "Write to me@home.example.", "card 4111 1111 1111 1111")
    assert (made.text, made.note) == ("Write to [email].", "card [card]")
    assert stored(store, turn_id)[1].answer == "Write to [email]."


def test_lists_are_as_long_as_asked(reviews: Reviews, store: Store) -> None:
    for number in (1, 2, 3):
        queue(store)
        reviews.decide(number, REA, "approve")
    assert [ticket.id for ticket in reviews.closed(REA, 2)] == [3, 2]
    assert [decision.ticket_id for decision in reviews.decisions(REA, 2)] == [3, 2]


def test_a_ticket_goes_with_its_turn_and_the_decision_stays(reviews: Reviews, store: Store) -> None:
    queue(store)
    reviews.decide(1, REA, "approve")
    with store.begin() as session:
        session.delete(session.scalars(select(ConversationRow)).one())
    assert reviews.closed(REA) == reviews.open(REA) == []
    assert len(reviews.decisions(REA)) == 1 and reviews.broken_at() is None
