"""Documents and indexes on a PostgreSQL server with pgvector, for many machines. Needs the extra ``postgres``."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from retrieval.embedder import Embedder, Maker, RetrievalError
from retrieval.generation import Progress
from retrieval.passage import Passage
from retrieval.postgres.documents import SCHEMA, PostgresDocuments
from retrieval.postgres.generations import GENERATIONS, build, embedders, retire
from retrieval.postgres.index import PostgresIndex

SCHEMES = ("postgresql://", "postgresql+psycopg://")


class Postgres:
    """Keeps every domain's documents and index generations in one database."""

    def __init__(self, url: str, home: Path) -> None:
        """Open the database; ``home`` keeps what is learned from an index.

        Raises:
            RetrievalError: it cannot be reached, has no pgvector, or the extra is not installed.
        """
        self._home = home
        self._documents: dict[str, PostgresDocuments] = {}
        try:
            self._engine = _engine(url)
            with self._engine.begin() as db:
                db.exec_driver_sql("SELECT pg_advisory_xact_lock(7262)")  # two servers may start at once
                db.exec_driver_sql(SCHEMA)
                db.exec_driver_sql(GENERATIONS)
        except (ArgumentError, ImportError, SQLAlchemyError) as error:
            raise RetrievalError(
                f"the knowledge database cannot be opened: {error}; it needs PostgreSQL with pgvector, a user who may "
                "create tables, and 'pip install domain-assistant[postgres]'"
            ) from error

    def documents(self, domain: str) -> PostgresDocuments:
        """The documents of a domain."""
        return self._documents.setdefault(domain, PostgresDocuments(self._engine, domain))

    def domains(self) -> list[str]:
        """The domains that have documents or receipts, by name."""
        tables = ("knowledge_documents", "knowledge_receipts", "knowledge_issued")
        query = " UNION ".join(f"SELECT domain FROM {table}" for table in tables) + " ORDER BY domain"
        with self._engine.connect() as db:
            return [str(name) for (name,) in db.exec_driver_sql(query)]

    def forget(self, domain: str) -> None:
        """Take from a domain's generations what was deleted; those that nobody reads go."""
        retire(self._engine, domain, None)

    def embedders(self, domain: str) -> list[Maker]:
        """The embedders that made a domain's generations, oldest first."""
        return embedders(self._engine, domain)

    def open(
        self, domain: str, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None = None
    ) -> PostgresIndex:
        """The index of ``corpus``, built if it is not there, with all documents taken up; older generations go."""
        made = build(self._engine, domain, corpus, embedder, progress)
        folder = self._home / "indexes" / domain / made.generation.name
        folder.mkdir(parents=True, exist_ok=True)
        index = PostgresIndex(self._engine, made, folder, embedder, self.documents(domain))
        index.sync(progress)
        retire(self._engine, domain, made)
        return index

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _engine(url: str) -> Engine:
    from pgvector.psycopg import register_vector  # of the extra

    engine = create_engine("postgresql+psycopg://" + url.partition("://")[2], pool_pre_ping=True, pool_size=8)
    with engine.begin() as db:
        db.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: register_vector(connection))
    weakref.finalize(engine, engine.pool.dispose)
    return engine
