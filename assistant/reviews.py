"""Turns that a person should look at, and what the person decided. Decisions are only ever added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from assistant import pii
from assistant.access import shown
from assistant.record import Turn
from assistant.store import ConversationRow, DecisionRow, Store, TicketRow, TurnRow, now
from assistant.transcript import pack_turn, unpack_turn
from assistant.users import User

Action = Literal["approve", "edit", "reject"]
TicketState = Literal["open", "approved", "edited", "rejected"]
GENESIS = "0" * 64  # what the first decision follows
REJECTED = (
    "A person looked at this and could not confirm an answer. "
    "Please ask in another way, or ask for a person to contact you."
)
_TICKET_AFTER: dict[Action, TicketState] = {"approve": "approved", "edit": "edited", "reject": "rejected"}
_TURN_AFTER = {"approve": "released", "edit": "edited", "reject": "rejected"}


class ReviewError(Exception):
    """A decision that cannot be taken."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A turn in the review queue."""

    id: int
    turn_id: int
    domain: str
    created: datetime
    priority: int  # 0 is the most urgent
    reasons: tuple[str, ...]
    state: TicketState
    held: bool  # the user waits
    turn: Turn  # masked


@dataclass(frozen=True, slots=True)
class Decision:
    """One link of the chain of decisions."""

    id: int
    ticket_id: int
    reviewer: str
    action: Action
    text: str
    note: str
    created: datetime
    digest: str  # SHA-256 over this decision and ``previous``
    previous: str


def open_ticket(session: Session, turn_id: int, turn: Turn, reasons: Sequence[str]) -> None:
    """Put a turn into the queue, as part of the transaction that stores it."""
    session.add(
        TicketRow(
            turn=turn_id,
            domain=turn.reading.domain or "",
            created=now(),
            priority=_priority(turn),
            reasons=[pii.mask(reason) for reason in reasons],
            held=turn.held,
            state="open",
        )
    )


class Reviews:
    """The queue and its history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self) -> list[Ticket]:
        """Undecided tickets: most urgent first, then held before flagged, then oldest first."""
        order = (TicketRow.priority, TicketRow.held.desc(), TicketRow.created, TicketRow.id)
        with self._store.begin() as session:
            query = select(TicketRow, TurnRow).join(TurnRow, TurnRow.id == TicketRow.turn)
            return [_ticket(*row) for row in session.execute(query.where(TicketRow.state == "open").order_by(*order))]

    def closed(self, limit: int = 50) -> list[Ticket]:
        """Decided tickets, newest first."""
        with self._store.begin() as session:
            query = select(TicketRow, TurnRow).join(TurnRow, TurnRow.id == TicketRow.turn)
            rows = session.execute(query.where(TicketRow.state != "open").order_by(TicketRow.id.desc()).limit(limit))
            return [_ticket(*row) for row in rows]

    def decide(self, ticket_id: int, reviewer: User, action: Action, text: str = "", note: str = "") -> Decision:
        """Approve, edit or reject; the user's conversation shows it at once.

        Args:
            ticket_id: which ticket.
            reviewer: who decides.
            action: what is decided; "edit" needs ``text``.
            text: the answer that the user shall see.
            note: for the record.

        Raises:
            ReviewError: not a reviewer, no such open ticket, or an edit without text.
        """
        if not reviewer.reviews:
            raise ReviewError(f"{reviewer.name!r} has the role {reviewer.role!r}; only reviewers and admins decide")
        if action not in get_args(Action):
            raise ReviewError(f"action {action!r} is unknown; it is one of {', '.join(get_args(Action))}")
        if action == "edit" and not text.strip():
            raise ReviewError("an edit needs the text of the answer; reject the ticket if there is none to give")
        with self._store.begin() as session:
            _take(session, ticket_id, action)
            ticket = session.get_one(TicketRow, ticket_id)
            turn = unpack_turn(session.get_one(TurnRow, ticket.turn).record)
            if action == "approve" and shown(turn, reviewer.groups).answer != turn.answer:
                raise ReviewError("this answer rests on documents that you may not read; ask somebody of their group")
            _apply(session, ticket, action, pii.mask(text.strip()))
            return _record(session, ticket_id, reviewer, action, pii.mask(text.strip()), pii.mask(note.strip()))

    def decisions(self, limit: int = 50) -> list[Decision]:
        """The newest decisions, newest first."""
        with self._store.begin() as session:
            rows = session.scalars(select(DecisionRow).order_by(DecisionRow.id.desc()).limit(limit))
            return [_decision(row) for row in rows]

    def broken_at(self) -> int | None:
        """The id of the first decision whose digest or link does not hold; None while the chain is whole."""
        previous = GENESIS
        with self._store.begin() as session:
            for row in session.scalars(select(DecisionRow).order_by(DecisionRow.id)):
                if row.previous != previous or row.digest != _digest(_decision(row)):
                    return row.id
                previous = row.digest
        return None


def _priority(turn: Turn) -> int:
    if turn.outcome == "escalated":
        return 0
    return 1 if turn.held or turn.outcome == "handover" else 2


def _take(session: Session, ticket_id: int, action: Action) -> None:
    """Close the ticket if it is open: of two reviewers, the database lets one through."""
    taken = session.execute(
        update(TicketRow)
        .where(TicketRow.id == ticket_id, TicketRow.state == "open")
        .values(state=_TICKET_AFTER[action])
        .returning(TicketRow.id)
    ).first()
    if taken is None:
        known = session.get(TicketRow, ticket_id)
        state = f"was {known.state} already" if known else "does not exist"
        raise ReviewError(f"ticket {ticket_id} {state}; reload the queue")


def _apply(session: Session, ticket: TicketRow, action: Action, text: str) -> None:
    row = session.get_one(TurnRow, ticket.turn)
    if action == "approve" and row.state != "held":
        return  # it was shown long ago; the decision confirms it
    if action == "reject" and row.state != "held":
        text = REJECTED
    turn = unpack_turn(row.record)
    if action != "approve":
        said = text if action == "edit" else REJECTED
        turn = replace(turn, answer=said, sentences=(said,), citations=(), author="human", held=False)
    row.record = pack_turn(replace(turn, held=False))
    row.state = _TURN_AFTER[action]
    conversation = session.get_one(ConversationRow, row.conversation)
    conversation.version += 1


def _record(session: Session, ticket_id: int, reviewer: User, action: Action, text: str, note: str) -> Decision:
    last = session.scalar(select(DecisionRow.digest).order_by(DecisionRow.id.desc()).limit(1)) or GENESIS
    draft = Decision(0, ticket_id, reviewer.name, action, text, note, now(), "", last)
    row = DecisionRow(
        ticket=ticket_id,
        reviewer=reviewer.name,
        action=action,
        text=text,
        note=note,
        created=draft.created,
        digest=_digest(draft),
        previous=last,
    )
    session.add(row)
    session.flush()
    return _decision(row)


def _digest(decision: Decision) -> str:
    fields = [
        decision.previous,
        decision.ticket_id,
        decision.reviewer,
        decision.action,
        decision.text,
        decision.note,
        decision.created.isoformat(),
    ]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


def _ticket(row: TicketRow, turn: TurnRow) -> Ticket:
    state: TicketState = next(state for state in get_args(TicketState) if state == row.state)
    return Ticket(
        row.id, row.turn, row.domain, row.created, row.priority, tuple(row.reasons), state, row.held,
        unpack_turn(turn.record),
    )  # fmt: skip


def _decision(row: DecisionRow) -> Decision:
    action: Action = next(action for action in get_args(Action) if action == row.action)
    return Decision(row.id, row.ticket, row.reviewer, action, row.text, row.note, row.created, row.digest, row.previous)
