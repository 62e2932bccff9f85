"""The tables, and how they are opened: SQLAlchemy on SQLite (WAL) or PostgreSQL, migrated by Alembic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, DateTime, Engine, ForeignKey, String, Text, TypeDecorator, create_engine, event
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

MIGRATIONS = Path(__file__).parent / "migrations"


class StoreError(Exception):
    """The database cannot be used; the message says which and why."""


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Utc(TypeDecorator[datetime]):
    """SQLite forgets time zones; every time here is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Put the zone back."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Base(DeclarativeBase):
    """All tables."""


class UserRow(Base):
    """Somebody who may sign in."""

    __tablename__ = "users"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    password: Mapped[str] = mapped_column(String(200))  # argon2id
    role: Mapped[str] = mapped_column(String(16))
    groups: Mapped[list[str]] = mapped_column(JSON, default=list)  # whose documents they may read
    created: Mapped[datetime] = mapped_column(Utc, default=now)


class TokenRow(Base):
    """A secret with which a program asks on behalf of a user; only its digest is kept."""

    __tablename__ = "tokens"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256
    created: Mapped[datetime] = mapped_column(Utc, default=now)
    used: Mapped[datetime | None] = mapped_column(Utc)  # the last time, to the minute


class ConversationRow(Base):
    """A chat of one user."""

    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(200), default="")
    updated: Mapped[datetime] = mapped_column(Utc, default=now)
    version: Mapped[int] = mapped_column(default=0)  # counts what reviewers changed


class TurnRow(Base):
    """One question and what was answered; text is masked before it gets here."""

    __tablename__ = "turns"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    conversation: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime] = mapped_column(Utc, default=now)
    state: Mapped[str] = mapped_column(String(16))
    question: Mapped[str] = mapped_column(Text)
    record: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # assistant.record.Turn; null while it runs


class TicketRow(Base):
    """A turn that a person should look at."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    turn: Mapped[int] = mapped_column(ForeignKey("turns.id", ondelete="CASCADE"), index=True)
    domain: Mapped[str] = mapped_column(String(40))
    created: Mapped[datetime] = mapped_column(Utc, default=now)
    priority: Mapped[int]  # 0 is the most urgent
    reasons: Mapped[list[str]] = mapped_column(JSON)
    held: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16), default="open", index=True)


class DecisionRow(Base):
    """What a reviewer decided. Rows are only ever added (a trigger sees to it), each chained to the one before."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    ticket: Mapped[int]
    reviewer: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(Utc)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    previous: Mapped[str] = mapped_column(String(64), unique=True)  # two successors of one row cannot be


class PackRow(Base):
    """What the operator decided about a pack: where it is, whether it serves, which code is allowed."""

    __tablename__ = "packs"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    path: Mapped[str | None] = mapped_column(Text)  # null: found by itself (shipped, settings or entry point)
    trusted: Mapped[str | None] = mapped_column(String(64))  # digest of the pack whose code may run
    enabled: Mapped[bool] = mapped_column(default=True)


class Store:
    """An opened, migrated database."""

    def __init__(self, url: str) -> None:
        """Open ``url``, creating and migrating its tables.

        Raises:
            StoreError: it cannot be opened or migrated.
        """
        try:
            self.engine = _engine(url)
            _migrate(self.engine)
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise StoreError(f"database {_shown(url)} cannot be opened: {error}") from error
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session that commits when the block ends well and rolls back when it does not."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _shown(url: str) -> str:
    try:
        return repr(make_url(url).render_as_string())  # with *** for the password
    except ArgumentError:
        return "(not a SQLAlchemy URL)"


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        Path(parsed.database).touch(mode=0o600)  # for its owner only; SQLite's other files take after it
    engine = create_engine(url, connect_args={"timeout": 30})
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _: object) -> None:
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = NORMAL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
