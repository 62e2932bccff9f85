"""The SQLite file of an index generation: passages, their vectors, and their words for BM25. Every change is whole."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.embedder import Vectors
from retrieval.library import FIELDS, MARKS, connect, row_of
from retrieval.passage import Passage

Rows = NDArray[np.int64]
TITLE, SECTION, TEXT = 2.0, 2.0, 1.0  # what a word weighs in each
READ = 10_000  # places of words that a question reads: 6 ms; 5,000 found .001 less among 7,000 passages
MOST = 10_000  # values of one statement; SQLite takes 32,766

_SCHEMA = """
BEGIN;
CREATE TABLE passages(row INTEGER PRIMARY KEY AUTOINCREMENT, piece INTEGER UNIQUE, id TEXT NOT NULL,
    document TEXT NOT NULL, title TEXT NOT NULL, section TEXT NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL,
    date TEXT NOT NULL, licence TEXT NOT NULL, sha256 TEXT NOT NULL, page INTEGER, access TEXT NOT NULL,
    embedded BLOB NOT NULL, vector BLOB NOT NULL, sentences BLOB NOT NULL);
CREATE INDEX passages_embedded ON passages(embedded);
CREATE INDEX passages_id ON passages(id);
CREATE VIRTUAL TABLE words USING fts5(title, section, text, content = '',
    tokenize = "porter unicode61 remove_diacritics 2");
CREATE TABLE state(one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, swept INTEGER NOT NULL);
INSERT INTO state VALUES (1, 0, 1);
COMMIT;
"""
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_STOP = frozenset(
    (
        "a about am an and any are as at be been but by can could did do does for from get had has have he "
        "her his how i if in into is it its me my of on or our she should so than that the their them then "
        "there they this to was we were what when where which who why will with would you your"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may see. Nothing but public passages unless it is told otherwise."""

    groups: frozenset[str] = frozenset()  # whose passages the asker may read, beside those of everybody
    since: str = ""  # ISO 8601; passages with an older date are left out


EVERYBODY = Scope()


class Embedded(NamedTuple):
    """A passage with what the embedder made of it."""

    piece: int | None  # its number in the library; None for a pack's own article
    passage: Passage
    key: bytes  # digest of the text that was embedded
    vector: bytes  # float32 [d]
    sentences: bytes  # float16 [sentences, d]


class Kept(NamedTuple):
    """What memory holds of a passage."""

    row: int
    access: str
    date: str
    vector: bytes
    sentences: bytes


class Tables:
    """An opened file. Reads are safe for many threads; writers wait for each other, in other processes too."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open ``path``; raises sqlite3.Error when it is no such file."""
        if not create and not path.stat().st_size:
            raise sqlite3.DatabaseError("file is empty")
        self._reader, self._writer = connect(path), connect(path)
        self._lock = threading.Lock()
        self._frequent: tuple[int, dict[str, int]] = (0, {})  # how often words stand, as long as nobody writes
        if create:
            self._writer.executescript(_SCHEMA)
        self._reader.execute("SELECT 1 FROM passages, words, state LIMIT 1").fetchone()  # it reads no file before that

    @property
    def changes(self) -> int:
        """Differs after anybody wrote."""
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])

    @property
    def revision(self) -> int:
        """Up to which revision of the library this file is whole; -1 while deletions are still to be swept."""
        revision, swept = self._reader.execute("SELECT revision, swept FROM state").fetchone()
        return int(revision) if swept else -1

    def rows(self) -> Rows:
        """All rows, ascending."""
        return np.array([row for (row,) in self._reader.execute("SELECT row FROM passages ORDER BY row")], np.int64)

    def pieces(self) -> dict[int, tuple[int, str]]:
        """Row and document of every passage that came from the library, by its number there."""
        found = self._reader.execute("SELECT piece, row, document FROM passages WHERE piece IS NOT NULL")
        return {int(piece): (int(row), str(document)) for piece, row, document in found}

    def kept(self, after: int) -> Iterator[Kept]:
        """What memory holds of the passages in rows above ``after``, in order."""
        query = "SELECT row, access, date, vector, sentences FROM passages WHERE row > ? ORDER BY row"
        return (Kept(*values) for values in self._reader.execute(query, (after,)))

    def known(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Vector and sentences of a text that was embedded before."""
        found = self._reader.execute("SELECT vector, sentences FROM passages WHERE embedded = ? LIMIT 1", (key,))
        values: tuple[bytes, bytes] | None = found.fetchone()
        return values

    def passages(self, rows: Sequence[int] | None = None) -> dict[int, tuple[int | None, Passage]]:
        """Passages, by row, each with its number in the library; all of them without ``rows``."""
        query, values = f"SELECT row, piece, {FIELDS} FROM passages", []
        if rows is not None:
            query, values = f"{query} WHERE row IN ({','.join('?' * len(rows))})", list(rows)
        found = self._reader.execute(f"{query} ORDER BY row", values)
        return {int(row): (piece, Passage(*rest)) for row, piece, *rest in found}

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows of passages by id, in the order of ``ids``; what is not there is left out."""
        marks = ",".join("?" * len(ids))
        found = self._reader.execute(f"SELECT id, row FROM passages WHERE id IN ({marks}) AND piece IS NULL", list(ids))
        rows = {str(name): int(row) for name, row in found}
        return [rows[name] for name in ids if name in rows]

    def vectors(self, rows: Sequence[int]) -> dict[int, Vectors]:
        """Embeddings of passages by row, [d] each."""
        return {row: np.frombuffer(blob, np.float32) for row, blob in self._blobs("vector", rows)}

    def sentences(self, rows: Sequence[int], width: int) -> dict[int, Vectors]:
        """Embeddings of passages' sentences by row, [n, width] each."""
        return {row: matrix(blob, width) for row, blob in self._blobs("sentences", rows)}

    def _blobs(self, column: str, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for start in range(0, len(rows), MOST):
            block = rows[start : start + MOST]
            marks = ",".join("?" * len(block))
            yield from self._reader.execute(f"SELECT row, {column} FROM passages WHERE row IN ({marks})", block)

    def lexical(self, words: Sequence[str], limit: int, scope: Scope | None) -> dict[int, float]:
        """BM25 of the best passages that hold any of the words, best first, by row; no scope: of all passages."""
        if not words:
            return {}
        condition, values = _condition(scope) if scope else ("", [])
        query = " OR ".join(f'"{word}"' for word in self._telling(words))
        ranked = self._reader.execute(
            f"SELECT rowid, -bm25(words, {TITLE}, {SECTION}, {TEXT}) FROM words WHERE words MATCH ? {condition} "
            "ORDER BY 2 DESC, 1 LIMIT ?",
            (query, *values, limit),
        )
        return {int(row): float(score) for row, score in ranked}

    def _telling(self, words: Sequence[str]) -> list[str]:
        """The rarest words, as many as READ allows: frequent ones say little and take nearly all the time."""
        (last,) = self._reader.execute("SELECT coalesce(max(row), 0) FROM passages").fetchone()
        if len(words) * last <= READ:
            return list(words)
        changes = self.changes
        if self._frequent[0] != changes:
            self._frequent = changes, {}
        known = self._frequent[1]
        for word in words:
            if word not in known:
                known[word] = self._places(word)
        rarest = sorted(words, key=lambda word: (known[word], word))
        read = np.cumsum([known[word] for word in rarest])
        return rarest[: max(2, int(np.searchsorted(read, READ, side="right")))]

    def _places(self, word: str) -> int:
        """In how many passages a word stands, counted no further than tells the rare from the frequent."""
        query = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
        return int(self._reader.execute(query, (f'"{word}"', 10 * READ)).fetchone()[0])

    def document_frequency(self, word: str) -> int:
        """In how many passages a word stands, after stemming."""
        found = self._reader.execute("SELECT count(*) FROM words WHERE words MATCH ?", (f'"{spaced(word)}"',))
        return int(found.fetchone()[0])

    def add(self, rows: Sequence[Embedded]) -> None:
        """Add passages in one transaction; what another process added meanwhile stays as it is."""
        with self._writing() as db:
            for piece, passage, key, vector, sentences in rows:
                done = db.execute(
                    f"INSERT OR IGNORE INTO passages(piece, {FIELDS}, embedded, vector, sentences) "
                    f"VALUES (?,{MARKS},?,?,?)",
                    (piece, *row_of(passage), key, vector, sentences),
                )
                if done.rowcount:
                    db.execute(
                        "INSERT INTO words(rowid, title, section, text) VALUES (?,?,?,?)",
                        (done.lastrowid, *_words(passage)),
                    )

    def remove(self, rows: Sequence[int]) -> None:
        """Remove passages with their vectors and words in one transaction; ``sweep`` has to follow."""
        gone = self.passages(rows)
        with self._writing() as db:
            for row, (_, passage) in gone.items():
                if db.execute("DELETE FROM passages WHERE row = ?", (row,)).rowcount:
                    db.execute(
                        "INSERT INTO words(words, rowid, title, section, text) VALUES ('delete',?,?,?,?)",
                        (row, *_words(passage)),
                    )
            db.execute("UPDATE state SET swept = 0")

    def sweep(self, revision: int) -> None:
        """Overwrite what removed passages left in the word lists and in the log, and note the library's revision."""
        with self._writing() as db:
            if not db.execute("SELECT swept FROM state").fetchone()[0]:
                db.execute("INSERT INTO words(words) VALUES ('optimize')")  # merges the lists, without what was deleted
        self._flush()
        with self._writing() as db:  # last: killed before it, the next sweep begins again
            db.execute("UPDATE state SET revision = ?, swept = 1", (revision,))
        self._flush()

    def _flush(self) -> None:
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def faults(self) -> list[str]:
        """What is wrong inside the file; nothing when all is well."""
        faults = [str(row[0]) for row in self._reader.execute("PRAGMA integrity_check") if row[0] != "ok"]
        listed = {int(row[0]) for row in self._reader.execute("SELECT id FROM words_docsize")}
        rows = set(map(int, self.rows()))
        faults += [f"row {row} has words and no passage" for row in sorted(listed - rows)]
        return faults + [f"row {row} has a passage and no words" for row in sorted(rows - listed)]

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise


def words_in(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)


def terms(text: str) -> list[str]:
    """The words of a question that are searched for."""
    return sorted({word for word in words_in(spaced(text).lower()) if word not in _STOP})


def spaced(text: str) -> str:
    """Chinese and Japanese, which no space parts, as overlapping pairs of characters."""
    return _UNSPACED.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", text)


def matrix(blob: bytes, width: int) -> Vectors:
    """Sentence embeddings as they are stored, as numbers: [n, width]."""
    return np.frombuffer(blob, np.float16).reshape(-1, width).astype(np.float32)


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(max(1, len(run) - 1))]


def _words(passage: Passage) -> tuple[str, str, str]:
    return spaced(passage.title), spaced(passage.section), spaced(passage.text)


def _condition(scope: Scope) -> tuple[str, list[str]]:
    """SQL that leaves out of the words what the scope may not see."""
    groups = ["", *sorted(scope.groups)]
    marks = ",".join("?" * len(groups))
    return f"AND rowid IN (SELECT row FROM passages WHERE access IN ({marks}) AND date >= ?)", [*groups, scope.since]
