"""Tokens of the HTTP API: shown once, kept as digests, worthless once revoked."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from assistant.store import Store
from assistant.tokens import Tokens
from assistant.users import User, UserError, Users


@pytest.fixture
def tokens(store: Store) -> Tokens:
    Users(store).add("bot", "a-long-password", "user")
    return Tokens(store)


def test_a_token_is_its_users_until_it_is_revoked(tokens: Tokens) -> None:
    token = tokens.create("bot", "red team")
    assert tokens.check(token) == User("bot", "user")
    assert tokens.check(token + "x") is None and tokens.check("") is None
    (kept,) = tokens.list("bot")
    assert (kept.user, kept.purpose) == ("bot", "red team") and kept.used is not None
    tokens.revoke(kept.id)
    assert tokens.check(token) is None and tokens.list() == []


def test_only_a_digest_is_stored(tokens: Tokens, store: Store) -> None:
    token = tokens.create("bot", "red team")
    with store.begin() as session:
        rows = session.execute(text("select * from tokens")).all()
    assert token not in str(rows) and token.removeprefix("da_") not in str(rows)


def test_it_ends_with_its_user(tokens: Tokens, store: Store) -> None:
    token = tokens.create("bot", "red team")
    Users(store).remove("bot")
    assert tokens.check(token) is None and tokens.list() == []


def test_a_groups_documents_are_its_too(tokens: Tokens, store: Store) -> None:
    Users(store).set_groups("bot", ["board"])
    assert tokens.check(tokens.create("bot", "minutes")) == User("bot", "user", frozenset({"board"}))


@pytest.mark.parametrize(("user", "purpose"), [("nobody", "x"), ("bot", "  "), ("bot", "x" * 101)])
def test_what_cannot_be_is_refused(tokens: Tokens, user: str, purpose: str) -> None:
    with pytest.raises(UserError):
        tokens.create(user, purpose)


def test_nobody_revokes_anothers(tokens: Tokens, store: Store) -> None:
    Users(store).add("eve", "a-long-password", "admin")
    token = tokens.create("bot", "red team")
    with pytest.raises(UserError, match="no token 1"):
        tokens.revoke(1, "eve")
    assert tokens.check(token)
    tokens.revoke(1, "bot")
    assert tokens.check(token) is None


def test_a_number_that_is_none_is_refused(tokens: Tokens) -> None:
    with pytest.raises(UserError, match="no token 7"):
        tokens.revoke(7)
