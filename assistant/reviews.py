"""Turns that a person should look at, and what the person decided. Decisions are only ever added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from assistant import pii
from assistant.access import HIDDEN, Standing, restricted, shown, unchecked
from assistant.record import Turn
from assistant.store import ConversationRow, DecisionRow, Store, TicketRow, TurnRow, now
from assistant.transcript import pack_turn, unpack_turn
from assistant.users import User

Action = Literal["approve", "edit", "reject"]
TicketState = Literal["open", "approved", "edited", "rejected"]
WITHHELD = "not shown: it rests on documents that you may not read, or on a conversation that was deleted"
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

    def __init__(self, store: Store, standing: Standing = unchecked) -> None:
        """``standing`` says which of the passages that old answers quote are still there."""
        self._store, self._standing = store, standing

    def open(self, reader: User) -> list[Ticket]:
        """Undecided tickets as ``reader`` may see them: most urgent first, then held, then oldest first."""
        order = (TicketRow.priority, TicketRow.held.desc(), TicketRow.created, TicketRow.id)
        with self._store.begin() as session:
            query = select(TicketRow, TurnRow).join(TurnRow, TurnRow.id == TicketRow.turn)
            rows = session.execute(query.where(TicketRow.state == "open").order_by(*order))
            return [self._for(reader, _ticket(*row)) for row in rows]

    def closed(self, reader: User, limit: int = 50) -> list[Ticket]:
        """Decided tickets as ``reader`` may see them, newest first."""
        with self._store.begin() as session:
            query = select(TicketRow, TurnRow).join(TurnRow, TurnRow.id == TicketRow.turn)
            rows = session.execute(query.where(TicketRow.state != "open").order_by(TicketRow.id.desc()).limit(limit))
            return [self._for(reader, _ticket(*row)) for row in rows]

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
            if action == "approve" and shown(turn, reviewer.groups, self._standing).answer != turn.answer:
                raise ReviewError("this answer rests on documents that you may not read; ask somebody of their group")
            _apply(session, ticket, action, pii.mask(text.strip()))
            return _record(session, ticket_id, reviewer, action, pii.mask(text.strip()), pii.mask(note.strip()))

    def decisions(self, reader: User, limit: int = 50) -> list[Decision]:
        """The newest decisions, newest first, without words about documents that ``reader`` may not read.

        The digests are of the whole decisions: only ``broken_at``, which sees all, can check them.
        """
        query = (
            select(DecisionRow, TurnRow.record)
            .join(TicketRow, TicketRow.id == DecisionRow.ticket, isouter=True)
            .join(TurnRow, TurnRow.id == TicketRow.turn, isouter=True)
        )
        with self._store.begin() as session:
            rows = session.execute(query.order_by(DecisionRow.id.desc()).limit(limit))
            return [self._told(reader, _decision(row), record) for row, record in rows]

    def broken_at(self) -> int | None:
        """The id of the first decision whose digest or link does not hold; None while the chain is whole."""
        previous = GENESIS
        with self._store.begin() as session:
            for row in session.scalars(select(DecisionRow).order_by(DecisionRow.id)):
                if row.previous != previous or row.digest != _digest(_decision(row)):
                    return row.id
                previous = row.digest
        return None

    def _for(self, reader: User, ticket: Ticket) -> Ticket:
        """A ticket without what ``reader`` may not read; what is shown instead says why."""
        turn = shown(ticket.turn, reader.groups, self._standing)
        hidden = turn.answer == HIDDEN != ticket.turn.answer or len(turn.hits) < len(ticket.turn.hits)
        return replace(ticket, turn=turn, reasons=(WITHHELD,) if hidden else ticket.reasons)

    def _open_to(self, reader: User, turn: Turn) -> bool:
        return {*restricted(turn)} <= reader.groups and shown(turn, reader.groups, self._standing).answer != HIDDEN

    def _told(self, reader: User, decision: Decision, record: dict[str, Any] | None) -> Decision:
        """A decision without words about what ``reader`` may not read, or about a conversation that is deleted."""
        turn = unpack_turn(record) if record else None
        if decision.reviewer == reader.name or (turn and self._open_to(reader, turn)):
            return decision
        return replace(decision, text=WITHHELD if decision.text else "", note=WITHHELD if decision.note else "")


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
        groups = restricted(turn) if action == "edit" else ()
        turn = replace(turn, answer=said, sentences=(said,), citations=(), author="human", held=False, rests_on=groups)
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
