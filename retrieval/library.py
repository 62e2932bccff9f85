"""The documents that people added beside a pack's articles: the truth that every index is derived from.

One SQLite file a domain. A change is one transaction, so it happened or it did not, whenever the power goes.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from retrieval.embedder import RetrievalError
from retrieval.passage import Passage

Change = Literal["added", "updated", "unchanged"]
FIELDS = "id, document, title, section, text, source, date, licence, sha256, page, access"
MARKS = ",".join("?" * len(FIELDS.split(",")))
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS documents(id TEXT PRIMARY KEY, file TEXT NOT NULL, changed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pieces(piece INTEGER PRIMARY KEY AUTOINCREMENT, place INTEGER NOT NULL,
    id TEXT UNIQUE NOT NULL,
    document TEXT NOT NULL REFERENCES documents ON DELETE CASCADE, title TEXT NOT NULL, section TEXT NOT NULL,
    text TEXT NOT NULL, source TEXT NOT NULL, date TEXT NOT NULL, licence TEXT NOT NULL, sha256 TEXT NOT NULL,
    page INTEGER, access TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS pieces_document ON pieces(document);
CREATE TABLE IF NOT EXISTS receipts(number INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT NOT NULL,
    time TEXT NOT NULL, removed TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state(one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0);
CREATE TABLE IF NOT EXISTS said(document TEXT NOT NULL REFERENCES documents ON DELETE CASCADE, field TEXT NOT NULL,
    PRIMARY KEY (document, field));
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as it is listed."""

    id: str
    file: str  # the name it came under
    changed: str  # ISO 8601, UTC
    title: str
    source: str
    date: str
    licence: str
    access: str
    passages: int
    said: frozenset[str] = frozenset()  # which of title, source and licence a person set


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a document was deleted. Chained: each holds the digest of the one before."""

    number: int
    document: str
    time: str  # ISO 8601, UTC
    removed: tuple[tuple[int, str], ...]  # number and SHA-256 of each of its passages
    previous: str
    digest: str

    @property
    def whole(self) -> bool:
        """Whether nobody changed it."""
        return self.digest == digest_of(self.document, self.time, self.removed, self.previous)


class Library:
    """The documents of one domain. Safe for many threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, or make it.

        Raises:
            RetrievalError: it cannot be read or written.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = connect(path)
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'said'").fetchone():  # the newest
                self._db.executescript(_SCHEMA)
            self.flush()  # a process that was killed may have left deleted text in the log
        except (OSError, sqlite3.Error) as error:
            raise RetrievalError(f"the documents in {path} cannot be opened: {error}") from error

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return int(self._db.execute("SELECT revision FROM state").fetchone()[0])

    def put(self, file: str, corpus: Sequence[Passage], said: Collection[str] = ()) -> Change:
        """Add a document, or replace what has its id; passages that did not change keep their number.

        Args:
            file: the name it came under.
            corpus: its passages, in order; all of one document.
            said: which of title, source and licence a person set.

        Raises:
            RetrievalError: there is no passage, or they are of several documents.
        """
        if len({passage.document for passage in corpus}) != 1:
            raise RetrievalError(f"{file}: there is no text in it" if not corpus else f"{file}: more than one document")
        document = corpus[0].document
        with self._writing() as db:
            known = {passage: piece for piece, passage in self._pieces("WHERE document = ?", document)}
            if list(known) == list(corpus):
                return "unchanged"
            moment = datetime.now(UTC).isoformat(timespec="seconds")
            db.execute(
                "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT(id) DO UPDATE SET file = ?2, changed = ?3",
                (document, file, moment),
            )
            db.execute("DELETE FROM said WHERE document = ?", (document,))
            db.executemany("INSERT INTO said VALUES (?, ?)", [(document, field) for field in sorted(said)])
            wanted = set(corpus)
            gone = [(piece,) for passage, piece in known.items() if passage not in wanted]
            db.executemany("DELETE FROM pieces WHERE piece = ?", gone)
            for place, passage in enumerate(corpus):
                if passage in known:
                    db.execute("UPDATE pieces SET place = ? WHERE piece = ?", (place, known[passage]))
                else:
                    db.execute(f"INSERT INTO pieces(place, {FIELDS}) VALUES (?,{MARKS})", (place, *row_of(passage)))
        if known:
            self.flush()
        return "updated" if known else "added"

    def remove(self, document: str) -> Receipt:
        """Delete a document, and write down that it was.

        Raises:
            RetrievalError: there is none with this id.
        """
        with self._writing() as db:
            removed = tuple((piece, passage.sha256) for piece, passage in self._pieces("WHERE document = ?", document))
            if not removed:
                raise RetrievalError(f"there is no document {document!r}; 'assistant index list' shows what there is")
            db.execute("DELETE FROM documents WHERE id = ?", (document,))
            last = db.execute("SELECT digest FROM receipts ORDER BY number DESC LIMIT 1").fetchone()
            time, previous = datetime.now(UTC).isoformat(timespec="seconds"), last[0] if last else ""
            digest = digest_of(document, time, removed, previous)
            values = (document, time, json.dumps(removed), previous, digest)
            number = db.execute(
                "INSERT INTO receipts(document, time, removed, previous, digest) VALUES (?,?,?,?,?)", values
            ).lastrowid
        self.flush()
        return Receipt(number or 0, document, time, removed, previous, digest)

    def entries(self) -> list[Entry]:
        """Every document, by title."""
        return self._entries("")

    def entry(self, document: str) -> Entry | None:
        """The document with this id."""
        return next(iter(self._entries("WHERE d.id = ?", document)), None)

    def numbers(self) -> set[int]:
        """The numbers of all passages there are."""
        return {int(row[0]) for row in self._db.execute("SELECT piece FROM pieces")}

    def pieces(self, numbers: Sequence[int]) -> list[tuple[int, Passage]]:
        """Passages by number, in order."""
        return list(self._pieces("WHERE piece IN (SELECT value FROM json_each(?))", json.dumps(list(numbers))))

    def passages(self, document: str) -> list[Passage]:
        """The passages of a document, in order; none when there is no such document."""
        return [passage for _, passage in self._pieces("WHERE document = ?", document)]

    def named(self, ids: Collection[str]) -> list[Passage]:
        """The passages with these ids; what is not there is left out."""
        return [one for _, one in self._pieces("WHERE id IN (SELECT value FROM json_each(?))", json.dumps(list(ids)))]

    def receipts(self) -> list[Receipt]:
        """Every receipt, oldest first."""
        rows = self._db.execute(
            "SELECT number, document, time, removed, previous, digest FROM receipts ORDER BY number"
        )
        return [
            Receipt(number, document, time, tuple((int(a), str(b)) for a, b in json.loads(removed)), previous, digest)
            for number, document, time, removed, previous, digest in rows
        ]

    @property
    def issued(self) -> int:
        """Number of the newest receipt that was ever written, also if its row is gone; 0: none."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'receipts'").fetchone()
        return int(found[0]) if found else 0

    def flush(self) -> None:
        """Overwrite what deletions left in the write-ahead log; another process that reads just then defers it."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _pieces(self, where: str, value: object) -> Iterator[tuple[int, Passage]]:
        rows = self._db.execute(f"SELECT piece, {FIELDS} FROM pieces {where} ORDER BY document, place", (value,))
        return ((int(piece), Passage(*rest)) for piece, *rest in rows.fetchall())

    def _entries(self, where: str, *values: object) -> list[Entry]:
        rows = self._db.execute(
            "SELECT d.id, d.file, d.changed, p.title, p.source, p.date, p.licence, p.access, count(*), "
            "coalesce((SELECT group_concat(field) FROM said s WHERE s.document = d.id), '') FROM documents d "
            f"JOIN pieces p ON p.document = d.id {where} GROUP BY d.id ORDER BY lower(p.title), d.id",
            values,
        )
        return [Entry(*[*row, frozenset(filter(None, said.split(",")))]) for *row, said in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, that raises the revision if it changes anything; errors of the disk become ours."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                before = self._db.total_changes
                yield self._db
                if self._db.total_changes != before:
                    self._db.execute("UPDATE state SET revision = revision + 1")
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise RetrievalError(f"{self.path} could not be written ({error}); nothing was changed") from error
            except BaseException:
                self._undo()
                raise

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def connect(path: Path) -> sqlite3.Connection:
    """An SQLite connection as all of ours are: many threads, durable, and what is deleted is overwritten."""
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    return db


def row_of(passage: Passage) -> tuple[object, ...]:
    """A passage's values in the order of ``FIELDS``."""
    return tuple(getattr(passage, name) for name in FIELDS.split(", "))


def digest_of(document: str, time: str, removed: Sequence[tuple[int, str]], previous: str) -> str:
    """What chains a receipt to the one before."""
    return hashlib.sha256(json.dumps([document, time, removed, previous]).encode()).hexdigest()
