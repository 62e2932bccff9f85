"""The documents beside the packs' articles, in PostgreSQL: the same promises as ``retrieval.library``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from retrieval.embedder import RetrievalError
from retrieval.library import FIELDS, Change, Entry, Receipt, digest_of, row_of
from retrieval.passage import Passage

SCHEMA = """
CREATE TABLE IF NOT EXISTS knowledge_documents(domain text, id text, file text NOT NULL, changed text NOT NULL,
    PRIMARY KEY (domain, id));
CREATE TABLE IF NOT EXISTS knowledge_pieces(piece bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, domain text NOT NULL,
    place int NOT NULL, id text NOT NULL, document text NOT NULL, title text NOT NULL, section text NOT NULL,
    text text NOT NULL, source text NOT NULL, date text NOT NULL, licence text NOT NULL, sha256 text NOT NULL, page int,
    access text NOT NULL, UNIQUE (domain, id),
    FOREIGN KEY (domain, document) REFERENCES knowledge_documents ON DELETE CASCADE);
CREATE INDEX IF NOT EXISTS knowledge_pieces_document ON knowledge_pieces(domain, document);
CREATE TABLE IF NOT EXISTS knowledge_receipts(number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain text NOT NULL, document text NOT NULL, time text NOT NULL, removed text NOT NULL, previous text NOT NULL,
    digest text NOT NULL);
CREATE TABLE IF NOT EXISTS knowledge_state(domain text PRIMARY KEY, revision bigint NOT NULL);
CREATE TABLE IF NOT EXISTS knowledge_said(domain text, document text, field text, PRIMARY KEY (domain, document, field),
    FOREIGN KEY (domain, document) REFERENCES knowledge_documents ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS knowledge_issued(domain text PRIMARY KEY, number bigint NOT NULL);
"""
MARKS = ",".join(["%s"] * len(FIELDS.split(",")))


class PostgresDocuments:
    """The documents of one domain. Safe for many threads, processes and machines."""

    def __init__(self, engine: Engine, domain: str) -> None:
        self._engine, self._domain = engine, domain

    @property
    def revision(self) -> int:
        """Grows with every change."""
        found = self._rows("SELECT revision FROM knowledge_state WHERE domain = %s", self._domain)
        return int(found[0][0]) if found else 0

    def put(self, file: str, corpus: Sequence[Passage], said: Collection[str] = ()) -> Change:
        """Add a document, or replace what has its id; passages that did not change keep their number."""
        if len({passage.document for passage in corpus}) != 1:
            raise RetrievalError(f"{file}: there is no text in it" if not corpus else f"{file}: more than one document")
        document = corpus[0].document
        with self._writing() as db:
            known = {passage: piece for piece, passage in _pieces(db, self._domain, "AND document = %s", document)}
            if list(known) == list(corpus):
                return "unchanged"
            db.exec_driver_sql(
                "INSERT INTO knowledge_documents VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (domain, id) DO UPDATE SET file = excluded.file, changed = excluded.changed",
                (self._domain, document, file, _moment()),
            )
            key = (self._domain, document)
            db.exec_driver_sql("DELETE FROM knowledge_said WHERE domain = %s AND document = %s", key)
            for field in said:
                db.exec_driver_sql("INSERT INTO knowledge_said VALUES (%s, %s, %s)", (*key, field))
            wanted = set(corpus)
            gone = [piece for passage, piece in known.items() if passage not in wanted]
            db.exec_driver_sql("DELETE FROM knowledge_pieces WHERE piece = ANY(%s)", (gone,))
            for place, passage in enumerate(corpus):
                if passage in known:
                    db.exec_driver_sql(
                        "UPDATE knowledge_pieces SET place = %s WHERE piece = %s", (place, known[passage])
                    )
                else:
                    db.exec_driver_sql(
                        f"INSERT INTO knowledge_pieces(domain, place, {FIELDS}) VALUES (%s,%s,{MARKS})",
                        (self._domain, place, *row_of(passage)),
                    )
            self._raise(db)
        return "updated" if known else "added"

    def remove(self, document: str) -> Receipt:
        """Delete a document, and write down that it was."""
        with self._writing() as db:
            found = _pieces(db, self._domain, "AND document = %s", document)
            removed = tuple((piece, passage.sha256) for piece, passage in found)
            if not removed:
                raise RetrievalError(f"there is no document {document!r}; 'assistant index list' shows what there is")
            db.exec_driver_sql(
                "DELETE FROM knowledge_documents WHERE domain = %s AND id = %s", (self._domain, document)
            )
            last = db.exec_driver_sql(
                "SELECT digest FROM knowledge_receipts WHERE domain = %s ORDER BY number DESC LIMIT 1", (self._domain,)
            ).scalar()
            time, previous = _moment(), str(last or "")
            digest = digest_of(document, time, removed, previous)
            number = db.exec_driver_sql(
                "INSERT INTO knowledge_receipts(domain, document, time, removed, previous, digest) "
                "VALUES (%s,%s,%s,%s,%s,%s) RETURNING number",
                (self._domain, document, time, json.dumps(removed), previous, digest),
            ).scalar_one()
            db.exec_driver_sql(
                "INSERT INTO knowledge_issued VALUES (%s, %s) "
                "ON CONFLICT (domain) DO UPDATE SET number = excluded.number",
                (self._domain, number),
            )
            self._raise(db)
        vacuum(self._engine, "knowledge_pieces", "knowledge_documents")
        return Receipt(int(number), document, time, removed, previous, digest)

    def entries(self) -> list[Entry]:
        """Every document, by title."""
        return self._entries("")

    def entry(self, document: str) -> Entry | None:
        """The document with this id."""
        return next(iter(self._entries("AND d.id = %s", document)), None)

    def numbers(self) -> set[int]:
        """The numbers of all passages there are."""
        return {int(row[0]) for row in self._rows("SELECT piece FROM knowledge_pieces WHERE domain = %s", self._domain)}

    def pieces(self, numbers: Sequence[int]) -> list[tuple[int, Passage]]:
        """Passages by number, in order."""
        return self._read("AND piece = ANY(%s)", list(numbers))

    def passages(self, document: str) -> list[Passage]:
        """The passages of a document, in order; none when there is no such document."""
        return [passage for _, passage in self._read("AND document = %s", document)]

    def named(self, ids: Collection[str]) -> list[Passage]:
        """The passages with these ids; what is not there is left out."""
        return [passage for _, passage in self._read("AND id = ANY(%s)", list(ids))]

    def receipts(self) -> list[Receipt]:
        """Every receipt, oldest first."""
        rows = self._rows(
            "SELECT number, document, time, removed, previous, digest FROM knowledge_receipts WHERE domain = %s "
            "ORDER BY number",
            self._domain,
        )
        return [
            Receipt(number, document, time, tuple((int(a), str(b)) for a, b in json.loads(removed)), previous, digest)
            for number, document, time, removed, previous, digest in rows
        ]

    @property
    def issued(self) -> int:
        """Number of the newest receipt that was ever written, also if its row is gone; 0: none."""
        found = self._rows("SELECT number FROM knowledge_issued WHERE domain = %s", self._domain)
        return int(found[0][0]) if found else 0

    def close(self) -> None:
        """Nothing to let go of: the connections belong to the storage."""

    def _read(self, condition: str, value: object) -> list[tuple[int, Passage]]:
        with self._engine.connect() as db:
            return _pieces(db, self._domain, condition, value)

    def _entries(self, condition: str, *values: object) -> list[Entry]:
        rows = self._rows(
            "SELECT d.id, d.file, d.changed, min(p.title), min(p.source), min(p.date), min(p.licence), min(p.access), "
            "count(*), ARRAY(SELECT field FROM knowledge_said s WHERE s.domain = d.domain AND s.document = d.id) "
            "FROM knowledge_documents d JOIN knowledge_pieces p ON p.domain = d.domain AND p.document = d.id "
            f"WHERE d.domain = %s {condition} "
            "GROUP BY d.domain, d.id, d.file, d.changed ORDER BY lower(min(p.title)), d.id",
            self._domain,
            *values,
        )
        return [Entry(*[*row, frozenset(said)]) for *row, said in rows]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._engine.connect() as db:
            return [tuple(row) for row in db.exec_driver_sql(query, values)]

    def _raise(self, db: Connection) -> None:
        db.exec_driver_sql(
            "INSERT INTO knowledge_state VALUES (%s, 1) "
            "ON CONFLICT (domain) DO UPDATE SET revision = knowledge_state.revision + 1",
            (self._domain,),
        )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction at a time in a domain; errors of the server become ours."""
        try:
            with self._engine.begin() as db:
                db.exec_driver_sql("SELECT pg_advisory_xact_lock(7263, hashtext(%s))", (self._domain,))
                yield db
        except SQLAlchemyError as error:
            raise RetrievalError(
                f"the documents of {self._domain} could not be written ({error}); nothing was changed"
            ) from error


def vacuum(engine: Engine, *tables: str) -> None:
    """Let the server reuse the room of deleted rows now; its log and its backups keep them until they are recycled."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.exec_driver_sql(f"VACUUM {', '.join(tables)}")


def _pieces(db: Connection, domain: str, condition: str, value: object) -> list[tuple[int, Passage]]:
    rows = db.exec_driver_sql(
        f"SELECT piece, {FIELDS} FROM knowledge_pieces WHERE domain = %s {condition} ORDER BY document, place",
        (domain, value),
    )
    return [(int(piece), Passage(*rest)) for piece, *rest in rows]


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
