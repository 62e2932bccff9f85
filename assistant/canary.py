"""Plants personal data in a real chat, and looks for it in every file and table that the system wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from assistant.chats import Chats
from assistant.record import Done, Turn
from assistant.reviews import Reviews
from assistant.store import Store
from assistant.turn import Parts
from assistant.users import User, Users

CANARIES = {
    "name": "Theodora Quillfeather",
    "email": "t.quillfeather@canary.example",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "phone": "+44 20 7946 0958",
    "address": "17 Larkspur Street",
    "ssn": "536-90-4399",
    "birth_date": "4 May 1985",
    "national_id": "11010519491231002X",
    "phone_cn": "13812345678",
}
_TOLD = (
    "My name is {name}, mail {email}, born on {birth_date}. How long is the warranty?",
    "Card {card} was charged twice and IBAN {iban} too, call {phone}. When do I get my money back?",
    "I live at {address}, SSN {ssn}. I want to talk to a person.",
    "身份证号{national_id}，手机{phone_cn}。 Can you help?",
)
_SECRET = "canary-password"  # noqa: S105 - of an account that lives as long as the audit
_USER = "canary"


def sing(parts: Callable[[], Parts], folder: Path) -> tuple[Path, list[Turn]]:
    """Hold a chat full of personal data, flag and edit its answers, in a database of its own under ``folder``.

    Returns the folder, and the turns as the user saw them.
    """
    store = Store(f"sqlite:///{folder / 'state.db'}")
    users, reviews = Users(store), Reviews(store)
    users.add(_USER, _SECRET, "reviewer")
    chats = Chats(store, parts)
    try:
        turns = list(_chat(chats))
        reviewer = User(_USER, "reviewer")
        for ticket in reviews.open(reviewer):
            reviews.decide(ticket.id, reviewer, "edit", f"Dear {CANARIES['name']}, it is done.", CANARIES["email"])
        chats.rename(_USER, chats.list(_USER)[0].id, f"Refund to {CANARIES['iban']}")
    finally:
        chats.close()
        store.close()
    return folder, turns


def _chat(chats: Chats) -> Iterator[Turn]:
    conversation = chats.start(_USER)
    for text in _TOLD:
        for event in chats.ask(_USER, conversation, text.format(**CANARIES)):
            if isinstance(event, Done):
                yield event.turn
                if event.turn_id is not None:
                    chats.flag(_USER, event.turn_id, f"call me: {CANARIES['phone']}")


def found(folder: Path) -> list[str]:
    """Where canaries are in what was written under ``folder``: every byte of every file, every cell of every table."""
    places = found_in(folder.rglob("*"))
    for path in sorted(folder.rglob("*.db")):
        places += [f"{kind} in {path.name}, table {table}" for kind, table in _in_tables(path)]
    return places


def found_in(paths: Iterable[Path]) -> list[str]:
    """Which canaries are in which of some files."""
    return [
        f"{kind} in {path.name}"
        for path in sorted(paths)
        if path.is_file()
        for raw in [path.read_bytes()]
        for kind, value in CANARIES.items()
        if value.encode() in raw
    ]


def _in_tables(path: Path) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as base:
        tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            text = str(base.execute(f'SELECT * FROM "{table}"').fetchall())  # the names are the database's own
            yield from ((kind, table) for kind, value in CANARIES.items() if value in text)
