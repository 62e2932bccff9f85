"""The database: made from nothing, in WAL, honest about time, and append-only where it must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from assistant.store import Base, ConversationRow, DecisionRow, Store, StoreError, TurnRow, UserRow, now


def decision(number: int) -> DecisionRow:
    return DecisionRow(
        ticket=number, reviewer="rea", action="approve", text="", note="", created=now(),
        digest=f"{number:064d}", previous=f"{number - 1:064d}",
    )  # fmt: skip


def test_an_empty_file_is_migrated_to_the_tables_of_the_code(store: Store) -> None:
    found = inspect(store.engine)
    assert set(found.get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    for name, table in Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}, name
        assert {index["column_names"][0] for index in found.get_indexes(name)} == {
            column.name for column in table.columns if column.index
        }, name


def test_only_its_owner_may_read_the_state(tmp_path: Path) -> None:
    opened = Store(f"sqlite:///{tmp_path / 'home' / 'state.db'}")
    with opened.begin() as session:
        session.add(UserRow(name="ana", password="-", role="user"))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "home").iterdir()} == {0}
    opened.close()


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'er' / 'state.db'}"
    first = Store(url)
    with first.begin() as session:
        session.add(UserRow(name="ana", password="x", role="user"))
    first.close()
    second = Store(url)
    with second.begin() as session:
        assert session.get_one(UserRow, "ana").role == "user"
    second.close()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("secure_delete", 1), ("synchronous", 1)]
)
def test_sqlite_is_opened_as_we_want_it(store: Store, pragma: str, value: object) -> None:
    with store.begin() as session:
        assert session.scalar(text(f"PRAGMA {pragma}")) == value


def test_a_block_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="half way"), store.begin() as session:
        session.add(UserRow(name="ana", password="x", role="user"))
        session.flush()
        raise RuntimeError("half way")
    with store.begin() as session:
        assert session.get(UserRow, "ana") is None


def test_times_come_back_in_utc(store: Store) -> None:
    with store.begin() as session:
        session.add(UserRow(name="now", password="x", role="user"))
        session.add(UserRow(name="utc", password="x", role="user", created=datetime(2026, 1, 5, 9, tzinfo=UTC)))
    with store.begin() as session:
        stored = {row.name: row.created for row in session.scalars(select(UserRow))}
    assert stored["utc"] == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert abs(stored["now"] - now()) < timedelta(minutes=1)


def test_decisions_can_be_added_and_neither_changed_nor_deleted(store: Store) -> None:
    with store.begin() as session:
        session.add(decision(1))
    for statement in (update(DecisionRow).values(text="forged"), delete(DecisionRow), text("DELETE FROM decisions")):
        with pytest.raises(IntegrityError, match="decisions are append-only"), store.begin() as session:
            session.execute(statement)
    with store.begin() as session:
        assert [row.text for row in session.scalars(select(DecisionRow))] == [""]


def test_a_decision_has_one_successor_at_most(store: Store) -> None:
    with store.begin() as session:
        session.add(decision(1))
    fork = decision(2)
    fork.previous = f"{0:064d}"
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed: decisions.previous"), store.begin() as session:
        session.add(fork)


def test_a_deleted_user_takes_conversations_and_turns_along(store: Store) -> None:
    with store.begin() as session:
        session.add(UserRow(name="ana", password="x", role="user"))
        session.flush()
        chat = ConversationRow(user="ana")
        session.add(chat)
        session.flush()
        session.add(TurnRow(conversation=chat.id, state="final", question="q"))
    with store.begin() as session:
        session.execute(delete(UserRow))
    with store.begin() as session:
        assert not session.scalars(select(ConversationRow)).all() and not session.scalars(select(TurnRow)).all()


def test_a_conversation_needs_a_user(store: Store) -> None:
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), store.begin() as session:
        session.add(ConversationRow(user="nobody"))


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError) as caught:
        Store(f"sqlite:///{tmp_path / 'state.db'}")
    assert str(caught.value).startswith(f"database 'sqlite:///{tmp_path / 'state.db'}' cannot be opened: ")


def test_the_password_of_a_database_is_not_said() -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql+psycopg://ana:hunter2@127.0.0.1:1/state?connect_timeout=2")
    assert "hunter2" not in str(caught.value) and "ana:***@" in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "oracle9://x/y"])
def test_a_url_that_is_none_is_refused_in_words(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(url)
