"""Tokens of the HTTP API: each belongs to a user, may do what they may, and is shown once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from assistant.store import Store, TokenRow, UserRow, now
from assistant.users import User, UserError, account, present

PREFIX = "da_"  # so that scanners of secrets can tell them
LONGEST = 100  # characters of a purpose
FRESH = timedelta(minutes=1)  # how exactly the last use is kept


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: int
    user: str
    purpose: str
    created: datetime
    used: datetime | None


class Tokens:
    """All tokens of one installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, user: str, purpose: str) -> str:
        """A new token, which is kept nowhere.

        Raises:
            UserError: no such user, or a purpose that is empty or too long.
        """
        purpose = purpose.strip()
        if not 0 < len(purpose) <= LONGEST:
            raise UserError(f"say in 1 to {LONGEST} characters what the token is for, found {len(purpose)}")
        token = PREFIX + secrets.token_urlsafe(32)
        with self._store.begin() as session:
            present(session, user)
            session.add(TokenRow(user=user, purpose=purpose, digest=_digest(token), created=now()))
        return token

    def check(self, token: str) -> User | None:
        """Whose token it is; None where it was never given out, or was revoked."""
        with self._store.begin() as session:
            row = session.scalar(select(TokenRow).where(TokenRow.digest == _digest(token)))
            owner = session.get(UserRow, row.user) if row else None
            if row is None or owner is None:
                return None
            if row.used is None or now() - row.used > FRESH:
                row.used = now()
            return account(owner)

    def list(self, user: str | None = None) -> Sequence[Token]:
        """A user's tokens, or everybody's, oldest first."""
        wanted = select(TokenRow).order_by(TokenRow.id)
        with self._store.begin() as session:
            rows = session.scalars(wanted.where(TokenRow.user == user) if user else wanted)
            return [Token(row.id, row.user, row.purpose, row.created, row.used) for row in rows]

    def revoke(self, number: int, user: str | None = None) -> None:
        """Make a token worthless at once; with ``user``, only one of theirs.

        Raises:
            UserError: there is none of that number.
        """
        with self._store.begin() as session:
            row = session.get(TokenRow, number)
            if row is None or user not in (None, row.user):
                raise UserError(f"there is no token {number}; 'assistant users tokens' lists them")
            session.delete(row)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
