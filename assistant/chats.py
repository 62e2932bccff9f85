"""Conversations: starts turns in the background, stores what comes of them, hands events to whoever watches.

A closed browser stops watching; the turn still ends and is stored.
"""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from assistant import pii
from assistant.access import Standing, shown, unchecked
from assistant.record import LONGEST, Author, Done, Event, Outcome, Reading, Sentence, Turn, Understood
from assistant.reviews import open_ticket
from assistant.store import ConversationRow, Store, TurnRow, UserRow, now
from assistant.traffic import FLAGGED
from assistant.transcript import masked, pack_turn, unpack_turn
from assistant.turn import Parts, Question, take_turn
from domains.api import Exchange

REMEMBERED = 4  # earlier turns that a question can lean on
INTERRUPTED = "The server stopped before this was answered. Please ask again."
RUNNING = "This question is being answered."
FAILED = "Something went wrong on our side, and this was not answered. A person was told; please ask again."
STOPPED = "Stopped."
_log = logging.getLogger(__name__)
TurnState = Literal["running", "interrupted", "final", "held", "released", "edited", "rejected"]


class ChatError(Exception):
    """A question that cannot be taken; the message is for the user."""


class BusyError(ChatError):
    """… now: later it can."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One chat of one user."""

    id: int
    title: str
    updated: datetime


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn as the conversation shows it; masked."""

    id: int
    created: datetime
    turn: Turn
    state: TurnState


@dataclass(slots=True)
class _Run:
    """A turn on its way."""

    user: str
    events: queue.SimpleQueue[Event | Exception]
    stop: threading.Event


class Chats:
    """All conversations of one installation."""

    def __init__(
        self, store: Store, parts: Callable[[], Parts], concurrency: int = 8, standing: Standing = unchecked
    ) -> None:
        """``parts`` is asked at the start of every turn, so a changed pack serves the next question.

        ``standing`` says which of the passages that old answers quote are still there.
        """
        self._store, self._parts, self._standing = store, parts, standing
        self._workers = ThreadPoolExecutor(concurrency, thread_name_prefix="turn")
        self._free = threading.BoundedSemaphore(concurrency * 4)  # running and waiting
        self._runs: dict[int, _Run] = {}  # by conversation
        self._each = max(2, concurrency)  # of one user, so that nobody takes all places
        self._lock = threading.Lock()

    def recover(self) -> None:
        """Mark turns as interrupted that ran when the server went down: for a server that starts, and nobody else.

        A command beside a running server shares its database, and would end the server's turns.
        """
        with self._store.begin() as session:
            session.execute(update(TurnRow).where(TurnRow.state == "running").values(state="interrupted"))

    def ask(
        self,
        user: str,
        conversation: int | None,
        text: str,
        domain: str | None = None,
        history: Sequence[Exchange] | None = None,
    ) -> Iterator[Event]:
        """Ask a question; yields what happens, ``Done`` last.

        Args:
            user: who asks.
            conversation: which chat; None starts one.
            text: the question.
            domain: the user's choice; None lets the router choose.
            history: what was said before, oldest first, where the caller keeps it; None: what is stored.

        Raises:
            BusyError: one question there is still running, or the server has too much to do.
            ChatError: empty or too long, or not the user's conversation.
        """
        text = text.strip()
        if not text:
            raise ChatError("Please write a question first.")
        if len(text) > LONGEST:
            raise ChatError(
                f"That is {len(text):,} characters long, and I read at most {LONGEST:,}. Please shorten it."
            )
        conversation = self.start(user) if conversation is None else conversation
        run = self._begin(user, conversation)
        try:
            question, turn_id = self._question(conversation, text, domain)
            if history is not None:
                question = replace(question, history=tuple(history)[-REMEMBERED:])
            self._workers.submit(self._work, conversation, turn_id, question, run)
        except BaseException:
            self._end(conversation)
            raise
        return _watch(run)

    def stop(self, user: str, conversation: int) -> None:
        """Stop the running answer after its current sentence."""
        with self._store.begin() as session:
            _owned(session, user, conversation)
        if run := self._runs.get(conversation):
            run.stop.set()

    def start(self, user: str) -> int:
        """A new conversation's id."""
        with self._store.begin() as session:
            row = ConversationRow(user=user, title="", updated=now(), version=0)
            session.add(row)
            session.flush()
            return row.id

    def list(self, user: str) -> Sequence[Conversation]:
        """The user's conversations that hold something, newest first."""
        with self._store.begin() as session:
            rows = session.scalars(
                select(ConversationRow)
                .where(ConversationRow.user == user, ConversationRow.title != "")
                .order_by(ConversationRow.updated.desc(), ConversationRow.id.desc())
            )
            return [Conversation(row.id, row.title, row.updated) for row in rows]

    def messages(self, user: str, conversation: int) -> Sequence[StoredTurn]:
        """The turns of a conversation, oldest first.

        Raises:
            ChatError: it is not the user's.
        """
        with self._store.begin() as session:
            _owned(session, user, conversation)
            groups = _groups(session, conversation)
            rows = session.scalars(select(TurnRow).where(TurnRow.conversation == conversation).order_by(TurnRow.id))
            turns = [_stored(row) for row in rows]
            return [replace(one, turn=shown(one.turn, groups, self._standing)) for one in turns]

    def version(self, user: str, conversation: int) -> int:
        """Grows whenever a turn was stored or changed by a reviewer."""
        with self._store.begin() as session:
            return _owned(session, user, conversation).version

    def rename(self, user: str, conversation: int, title: str) -> None:
        """Give a conversation another title."""
        with self._store.begin() as session:
            _owned(session, user, conversation).title = pii.mask(title.strip())[:200] or "Untitled"

    def delete(self, user: str, conversation: int) -> None:
        """Delete a conversation with its turns and tickets; decisions stay."""
        with self._store.begin() as session:
            session.delete(_owned(session, user, conversation))

    def flag(self, user: str, turn_id: int, comment: str) -> None:
        """Ask for a person to look at an answer."""
        with self._store.begin() as session:
            row = session.get(TurnRow, turn_id)
            chat = session.get(ConversationRow, row.conversation) if row else None
            if row is None or row.record is None or chat is None or chat.user != user:  # one text, as in _owned
                raise ChatError("There is no such answer.")
            comment = pii.mask(comment.strip())[:500]
            open_ticket(session, turn_id, unpack_turn(row.record), [f"{FLAGGED}: {comment or 'no comment'}"])

    def close(self) -> None:
        """Stop running turns, store them, and wait for that."""
        for run in list(self._runs.values()):
            run.stop.set()
        self._workers.shutdown(wait=True, cancel_futures=True)
        for run in list(self._runs.values()):  # cancelled before they began: nobody else would tell their watchers
            run.events.put(ChatError(INTERRUPTED))

    def _begin(self, user: str, conversation: int) -> _Run:
        with self._store.begin() as session:
            _owned(session, user, conversation)
        with self._lock:
            if conversation in self._runs:
                raise BusyError("I am still answering your last question here. Please wait, or press Stop.")
            if sum(run.user == user for run in self._runs.values()) >= self._each:
                raise BusyError(
                    f"{self._each} of your questions are still being answered. Please wait for one of them."
                )
            if not self._free.acquire(blocking=False):
                raise BusyError("Many people are asking at the moment. Please try again in a minute.")
            run = _Run(user, queue.SimpleQueue(), threading.Event())
            self._runs[conversation] = run
        return run

    def _end(self, conversation: int) -> None:
        with self._lock:
            del self._runs[conversation]
            self._free.release()

    def _question(self, conversation: int, text: str, domain: str | None) -> tuple[Question, int]:
        with self._store.begin() as session:
            earlier = session.scalars(
                select(TurnRow)
                .where(TurnRow.conversation == conversation, TurnRow.record.is_not(None))
                .order_by(TurnRow.id.desc())
                .limit(REMEMBERED)
            ).all()
            groups = _groups(session, conversation)
            turns = [shown(unpack_turn(row.record), groups, self._standing) for row in reversed(earlier)]
            row = TurnRow(conversation=conversation, created=now(), state="running", question=pii.mask(text))
            session.add(row)
            chat = session.get_one(ConversationRow, conversation)
            chat.title = chat.title or pii.mask(text)[:80]
            chat.updated = now()
            session.flush()
            # nothing leans on what was refused: it would be refused again
            history = tuple(Exchange(turn.question, turn.answer) for turn in turns if turn.outcome != "refused")
            last = turns[-1] if turns else None
            awaited = last is not None and last.outcome == "clarify" and last.tool is not None
            previous = last.reading.domain if last else None
            return Question(text, domain, history, previous, awaited, groups, conversation), row.id

    def _work(self, conversation: int, turn_id: int, question: Question, run: _Run) -> None:
        last: Event | Exception
        try:
            done = self._run(question, run)
            self._save(conversation, turn_id, done)
            last = Done(done, turn_id)
        except Exception as error:  # noqa: BLE001 - whatever broke, the watcher must be told and the question kept
            last = error
        self._end(conversation)  # before the watcher knows, who may ask again at once
        run.events.put(last)

    def _run(self, question: Question, run: _Run) -> Turn:
        spoken: list[Sentence] = []
        reading: Reading | None = None
        try:
            for event in take_turn(self._parts(), question):
                if isinstance(event, Done):
                    return event.turn
                if isinstance(event, Understood):
                    reading = event.reading
                if isinstance(event, Sentence):
                    spoken.append(event)
                run.events.put(event)
                if run.stop.is_set():
                    return _partial(question, reading, spoken, "stopped by the user")
        except Exception as error:  # noqa: BLE001 - a refusal and a ticket, never a lost question
            trace = "".join(traceback.format_tb(error.__traceback__))  # lines of code; what a user said is masked
            _log.error("a turn failed: %s\n%s", pii.mask(repr(error)), trace)
            failed = _blank(question.text, FAILED, "unknown")
            why = f"the turn failed ({type(error).__name__}); the server's log says more"
            return replace(failed, reading=reading or failed.reading, reasons=(why,))
        raise AssertionError("take_turn ended without Done")

    def _save(self, conversation: int, turn_id: int, turn: Turn) -> None:
        kept = masked(turn)
        with self._store.begin() as session:
            row = session.get(TurnRow, turn_id)
            if row is None:  # the conversation was deleted meanwhile
                return
            row.record = pack_turn(kept)
            row.state = "held" if turn.held else "final"
            chat = session.get_one(ConversationRow, conversation)
            chat.updated = now()
            chat.version += 1  # so that the same chat in another window shows it too
            if turn.reasons and turn.reasons != ("stopped by the user",):
                open_ticket(session, turn_id, kept, turn.reasons)

    def waiting(self) -> int:
        """How many turns are running or queued."""
        return len(self._runs)

    def counts(self) -> dict[str, int]:
        """Stored turns by state."""
        with self._store.begin() as session:
            rows = session.execute(select(TurnRow.state, func.count()).group_by(TurnRow.state)).all()
        return {str(state): int(number) for state, number in rows}


def _watch(run: _Run) -> Iterator[Event]:
    while True:
        event = run.events.get()
        if isinstance(event, ChatError):
            raise event
        if isinstance(event, Exception):
            raise ChatError(FAILED) from event
        yield event
        if isinstance(event, Done):
            return


def _owned(session: Session, user: str, conversation: int) -> ConversationRow:
    row = session.get(ConversationRow, conversation)
    if row is None or row.user != user:  # the same words for both: nobody learns which ids exist
        raise ChatError("There is no such conversation.")
    return row


def _groups(session: Session, conversation: int) -> frozenset[str]:
    """Whose documents the conversation's owner may read now."""
    user = session.get_one(ConversationRow, conversation).user
    return frozenset(session.get_one(UserRow, user).groups)


def _stored(row: TurnRow) -> StoredTurn:
    if row.record is not None:
        return StoredTurn(row.id, row.created, unpack_turn(row.record), _state(row.state))
    text = RUNNING if row.state == "running" else INTERRUPTED
    blank = _blank(row.question, text, "unknown")
    return StoredTurn(row.id, row.created, blank, _state(row.state))


def _state(name: str) -> TurnState:
    states: dict[str, TurnState] = {
        "running": "running", "interrupted": "interrupted", "final": "final", "held": "held",
        "released": "released", "edited": "edited", "rejected": "rejected",
    }  # fmt: skip
    return states[name]


def _partial(question: Question, reading: Reading | None, shown: list[Sentence], reason: str) -> Turn:
    """What was shown so far, with what it rests on."""
    turn = _blank(question.text, " ".join(one.text for one in shown) or STOPPED, "answered" if shown else "unknown")
    turn = replace(turn, reading=reading or turn.reading, reasons=(reason,))
    if not shown:
        return turn
    citations = tuple(citation for one in shown for citation in one.citations)
    quoted = all(one.text in {citation.quote for citation in one.citations} for one in shown)
    author: Author = "quote" if quoted else "model"
    return replace(turn, author=author, sentences=tuple(one.text for one in shown), citations=citations)


def _blank(question: str, answer: str, outcome: Outcome) -> Turn:
    reading = Reading(None, 0.0, False, (), "", 0.0, "neutral", 0.0)
    return Turn(question, answer, outcome, "policy", reading, sentences=(answer,))
