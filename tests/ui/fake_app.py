"""An in-memory App for tests of the page: the same methods as the real one, scripted answers, no model."""

from __future__ import annotations

import hashlib
import itertools
import queue
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from adapters.canary import Canary
from adapters.shelf import Held, ShelfError
from adapters.shelf import State as AdapterState
from assistant.chats import BusyError, ChatError
from assistant.graph import Graph
from assistant.knowledge import Knowledge
from assistant.life import Card
from assistant.record import Done, Event, Related, Sentence, Step, Turn, Understood
from assistant.tokens import Token
from assistant.traffic import Figures
from assistant.users import User, UserError
from domains.api import Exchange
from domains.pack import Domain, DomainError
from retrieval.generation import build
from retrieval.index import FaissIndex
from retrieval.library import Library
from retrieval.storage import Folder
from tests.retrieval.test_index import CORPUS, BagOfWords
from tests.ui.fake_script import (
    REJECTED,
    Conversation,
    Decision,
    FakeAdapter,
    FakeGeneration,
    FakeIndex,
    FakePack,
    FakeSettings,
    Problem,
    ReviewError,
    State,
    StoredTurn,
    Ticket,
    domain,
    reading,
    script,
    turn,
)


class FakeTokens:
    """``da_NAME`` is a token of NAME, and those that were made are listed."""

    def __init__(self, users: FakeUsers) -> None:
        self.users, self.kept, self.numbers = users, dict[int, Token](), itertools.count(1)

    def check(self, token: str) -> User | None:
        return self.users.get(token.removeprefix("da_"))

    def create(self, user: str, purpose: str) -> str:
        if not purpose.strip():
            raise UserError("say in 1 to 100 characters what the token is for, found 0")
        number = next(self.numbers)
        self.kept[number] = Token(number, user, purpose, datetime.now(UTC), None)
        return f"da_secret{number}"

    def list(self, user: str) -> list[Token]:
        return [one for one in self.kept.values() if one.user == user]

    def revoke(self, number: int, user: str) -> None:
        if self.kept[number].user != user:
            raise UserError(f"there is no token {number}")
        del self.kept[number]


@dataclass
class FakeUsers:
    known: dict[str, tuple[str, User]] = field(default_factory=dict)

    def check(self, name: str, password: str) -> User | None:
        secret, user = self.known.get(name, ("", User("", "user")))
        return user if secret and secret == password else None

    def get(self, name: str) -> User | None:
        return self.known[name][1] if name in self.known else None

    def add(
        self, name: str, password: str, role: Literal["user", "reviewer", "admin"], groups: frozenset[str] = frozenset()
    ) -> User:
        user = User(name, role, groups)
        self.known[name] = (password, user)
        return user

    def stamp(self, name: str) -> str | None:
        return self.known[name][0] if name in self.known else None  # groups and roles change nothing, as in Users

    def set_password(self, name: str, new: str) -> None:
        self.known[name] = (new, self.known[name][1])

    def list(self) -> list[User]:
        return [user for _, user in self.known.values()]


@dataclass
class Chat:
    id: int
    user: str
    title: str = ""
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: int = 0
    turns: list[StoredTurn] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)


class FakeChats:
    def __init__(self, app: FakeApp) -> None:
        self.app, self.numbers, self.pace = app, itertools.count(1), 0.05
        self.chats: dict[int, Chat] = {}
        self.histories: list[Sequence[Exchange] | None] = []

    def ask(
        self,
        user: str,
        conversation: int | None,
        text: str,
        domain: str | None,
        history: Sequence[Exchange] | None = None,
    ) -> Iterator[Event]:
        self.histories.append(history)
        if "everybody" in text:
            raise BusyError("Many people are asking at the moment. Please try again in a minute.")
        if text.startswith("break:"):
            raise RuntimeError(text)
        if not text:
            raise ChatError("Please write a question first.")
        if len(text) > 8000:
            raise ChatError("Your question has more than 8,000 characters. Please shorten it.")
        chat = self._own(user, conversation if conversation is not None else self.start(user))
        events: queue.Queue[Event] = queue.Queue()
        chat.stopped.clear()
        threading.Thread(target=self._run, args=(chat, text, domain, events), daemon=True).start()
        return self._listen(events)

    @staticmethod
    def _listen(events: queue.Queue[Event]) -> Iterator[Event]:
        while True:
            event = events.get(timeout=60)
            yield event
            if isinstance(event, Done):
                return

    def _run(self, chat: Chat, text: str, domain: str | None, events: queue.Queue[Event]) -> None:
        whole = script(text, domain)
        slow = 0.5 if "slow" in text else self.pace
        number = next(self.numbers)
        chat.title = chat.title or text[:60]
        place = len(chat.turns)
        chat.turns.append(
            StoredTurn(number, datetime.now(UTC), turn(text, "", "unknown", reading=reading(None)), "running")
        )
        events.put(Step("Reading your question"))
        time.sleep(slow)
        events.put(Understood(whole.reading))
        events.put(Step("Looking in the sources"))
        for index, sentence in enumerate(whole.sentences if not whole.held else ()):
            time.sleep(slow * 2)
            if chat.stopped.is_set():
                whole = replace(
                    whole, sentences=whole.sentences[:index], answer=" ".join(whole.sentences[:index]) or "Stopped."
                )
                break
            events.put(Sentence(sentence, tuple(one for one in whole.citations if one.sentence == index)))
        time.sleep(slow)
        chat.turns[place] = StoredTurn(number, datetime.now(UTC), whole, "held" if whole.held else "final")
        chat.updated = datetime.now(UTC)
        if whole.reasons:
            self.app.reviews.raise_ticket(number, whole, 0 if whole.outcome == "escalated" else 1)
        events.put(Done(whole, number))

    def start(self, user: str) -> int:
        number = next(self.numbers)
        self.chats[number] = Chat(number, user)
        return number

    def list(self, user: str) -> list[Conversation]:
        mine = [chat for chat in self.chats.values() if chat.user == user]
        return [
            Conversation(one.id, one.title, one.updated)
            for one in sorted(mine, key=lambda one: one.updated, reverse=True)
        ]

    def messages(self, user: str, conversation: int) -> Sequence[StoredTurn]:
        return list(self._own(user, conversation).turns)

    def version(self, user: str, conversation: int) -> int:
        return self._own(user, conversation).version

    def rename(self, user: str, conversation: int, title: str) -> None:
        self._own(user, conversation).title = title

    def delete(self, user: str, conversation: int) -> None:
        self._own(user, conversation)
        del self.chats[conversation]

    def flag(self, user: str, turn_id: int, comment: str) -> None:
        for chat in self.chats.values():
            for one in chat.turns:
                if one.id == turn_id and chat.user == user:
                    self.app.reviews.raise_ticket(turn_id, replace(one.turn, reasons=(f"the user says: {comment}",)), 2)
                    return
        raise ChatError("This answer is not yours.")

    def stop(self, user: str, conversation: int) -> None:
        self._own(user, conversation).stopped.set()

    def _own(self, user: str, conversation: int) -> Chat:
        chat = self.chats.get(conversation)
        if chat is None or chat.user != user:
            raise ChatError("There is no such conversation of yours.")
        return chat


class FakeReviews:
    def __init__(self, app: FakeApp) -> None:
        self.app, self.numbers = app, itertools.count(1)
        self.tickets: dict[int, Ticket] = {}
        self.made: list[Decision] = []

    def raise_ticket(self, turn_id: int, whole: Turn, priority: int) -> None:
        number, name = next(self.numbers), whole.reading.domain or ""
        self.tickets[number] = Ticket(
            number, turn_id, name, datetime.now(UTC), priority, whole.reasons, "open", whole.held, whole
        )

    def open(self, reader: User) -> list[Ticket]:
        waiting = [ticket for ticket in self.tickets.values() if ticket.state == "open"]
        return sorted(waiting, key=lambda ticket: (ticket.priority, not ticket.held, ticket.created))

    def closed(self, reader: User, limit: int = 50) -> list[Ticket]:
        return [ticket for ticket in self.tickets.values() if ticket.state != "open"][:limit]

    def decide(self, ticket_id: int, reviewer: User, action: str, text: str = "", note: str = "") -> Decision:
        ticket = self.tickets[ticket_id]
        if reviewer.role == "user":
            raise ReviewError("Only reviewers can decide.")
        if ticket.state != "open":
            raise ReviewError("Somebody else has decided this one already.")
        if action == "edit" and not text:
            raise ReviewError("An edit needs a text.")
        state: dict[str, State] = {"approve": "released", "edit": "edited", "reject": "rejected"}
        closed: dict[str, str] = {"approve": "approved", "edit": "edited", "reject": "rejected"}
        self.tickets[ticket_id] = replace(ticket, state=closed[action])
        self._apply(ticket, state[action], text)
        previous = self.made[0].digest if self.made else "0" * 64
        digest = hashlib.sha256(f"{previous}{action}{text}{note}".encode()).hexdigest()
        when = datetime.now(UTC)
        self.made.insert(
            0, Decision(len(self.made) + 1, ticket_id, reviewer.name, action, text, note, when, digest, previous)
        )
        return self.made[0]

    def _apply(self, ticket: Ticket, state: State, text: str) -> None:
        for chat in self.app.chats.chats.values():
            for place, one in enumerate(chat.turns):
                if one.id != ticket.turn_id:
                    continue
                whole = replace(one.turn, held=False)
                if state != "released":
                    said = text if state == "edited" else REJECTED
                    whole = replace(whole, answer=said, author="human", sentences=(said,), citations=())
                chat.turns[place] = replace(one, turn=whole, state=state)
                chat.version += 1

    def decisions(self, reader: User, limit: int = 50) -> list[Decision]:
        return self.made[:limit]


class FakePacks:
    def __init__(self) -> None:
        index = FakeIndex(FakeGeneration("gen-0001"))
        self.packs = {
            one.name: FakePack(one, index, FakeAdapter(one.name, "5f" * 32) if shipped else None, True, shipped, 168)
            for one, shipped in (
                (
                    domain(
                        "customer_service", "Customer service", "Orders, delivery, returns and refunds at Larkfield."
                    ),
                    True,
                ),
                (
                    domain("medical", "Health information", "Common conditions, medicines and when to see a doctor."),
                    True,
                ),
                (domain("travel", "Travel desk", "Our own travel policy."), False),
            )
        }
        self.refused = [Problem("/packs/broken", "/packs/broken/domain.yaml: title: Field required, found {}")]

    def live(self) -> list[FakePack]:
        return list(self.packs.values())

    def enabled(self) -> dict[str, FakePack]:
        return {name: pack for name, pack in self.packs.items() if pack.enabled}

    def problems(self) -> list[Problem]:
        return self.refused

    def add(self, path: Path, *, trust_code: bool = False) -> FakePack:
        if path.suffix != ".zip" and path.name != "garden":
            raise DomainError(f"{path}: no such folder; a domain pack is a folder with a domain.yaml")
        index = FakeIndex(FakeGeneration("gen-0001"))
        pack = FakePack(domain("garden", "Garden", "Plants and soil."), index, None, True, False, 12)
        self.packs["garden"] = pack
        return pack

    def reload(self, name: str) -> FakePack:
        return self.packs[name]

    def enable(self, name: str) -> None:
        self.packs[name] = replace(self.packs[name], enabled=True)

    def disable(self, name: str) -> None:
        self.packs[name] = replace(self.packs[name], enabled=False)

    def remove(self, name: str) -> None:
        del self.packs[name]


FACTS = Graph(
    [
        Related("warfarin", "must not be taken with", "aspirin", "drugs", "Drugs", "https://drugs.example/warfarin"),
        Related("aspirin", "is", "a painkiller", "pain", "Painkillers", "Own text"),
    ]
)


@dataclass(frozen=True)
class Shelf:
    domain: Domain
    index: FaissIndex
    graph: Graph = FACTS


class FakeShelves:
    """Real documents and a real index for each fake pack."""

    def __init__(self, packs: FakePacks, home: Path) -> None:
        self.shelves = [Shelf(pack.domain, self._open(home / pack.domain.name)) for pack in packs.live()]
        self.storage = Folder(home)

    @staticmethod
    def _open(home: Path) -> FaissIndex:
        folder = build(home / "indexes", CORPUS, BagOfWords())
        return FaissIndex(folder, BagOfWords(), Library(home / "documents.sqlite"))

    def live(self) -> list[Shelf]:
        return self.shelves


class FakeLife:
    """One domain with an adapter that speaks and a candidate."""

    def __init__(self) -> None:
        self.current, self.candidate = "a" * 64, "b" * 64
        self.examined: set[str] = {self.current}
        self.canary: Canary | None = None

    def cards(self) -> list[Card]:
        other: AdapterState = "candidate" if self.candidate == "b" * 64 else "retired"
        return [
            self._card(self.current, "current"),
            self._card(self.candidate, "canary" if self.canary and not self.canary.until else other),
        ]

    def _card(self, digest: str, state: AdapterState) -> Card:
        metrics = {"sentences_supported": 1.0, "total_ms_p50": 812.0} if digest in self.examined else {}
        traffic = Figures(digest, 20, 15, 12, 3, 2, 1, 1, 804.0) if self.canary else None
        held = Held("finance", digest, state, Path(digest), "2026-01-05", "ada")
        back = self.candidate if state == "current" and digest != "a" * 64 else None
        return Card(held, None, "", metrics, "", self.canary, traffic, back)

    def examine(self, name: str, digest: str) -> None:
        self.examined.add(digest)

    def stop(self, name: str, by: str) -> None:
        assert self.canary
        self.canary = replace(self.canary, until="2026-01-07")

    def promote(self, name: str, digest: str, by: str, *, share: float | None = None) -> None:
        if share is not None:
            self.canary = Canary(name, digest, self.current, share, "2026-01-06", by)
            return
        self.current, self.candidate = self.candidate, self.current

    def rollback(self, name: str, by: str) -> None:
        if self.current == "a" * 64:
            raise ShelfError("no adapter spoke for 'finance' before; nothing to go back to")
        self.current, self.candidate = self.candidate, self.current


class FakeApp:
    """What ``ui.web.build`` needs of an App."""

    def __init__(self) -> None:
        self.users = FakeUsers()
        self.tokens = FakeTokens(self.users)
        self.chats = FakeChats(self)
        self.reviews = FakeReviews(self)
        self.packs = FakePacks()
        self.settings = FakeSettings()
        self.home = Path(tempfile.mkdtemp(prefix="page-"))
        weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.knowledge = Knowledge(FakeShelves(self.packs, self.home))  # type: ignore[arg-type]  # it asks for live() and storage
        self.life = FakeLife()
        self.exams = SimpleNamespace(result=lambda _: None)
        self.parts = lambda: SimpleNamespace(
            embedder=BagOfWords(), reader=SimpleNamespace(mood=lambda _: ("neutral", 1.0))
        )
        for name, role in (("ana", "user"), ("ben", "user"), ("rea", "reviewer"), ("ada", "admin")):
            self.users.add(name, f"{name}-password", role)  # type: ignore[arg-type]
