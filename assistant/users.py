"""Who may sign in, and as what. Passwords are argon2id; there is no default password."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assistant.store import Store, TokenRow, UserRow

Role = Literal["user", "reviewer", "admin"]
ADMIN = "admin"
SHORTEST = 10  # characters of a password
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class UserError(Exception):
    """A name, role or password that cannot be taken."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signed in."""

    name: str
    role: Role
    groups: frozenset[str] = frozenset()  # whose documents they may read

    @property
    def reviews(self) -> bool:
        """Whether this person may decide tickets."""
        return self.role in ("reviewer", "admin")


class Users:
    """The accounts of one installation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def create_first(self) -> str | None:
        """Create the administrator when there is no account; returns the password, which is kept nowhere else."""
        if self.list():
            return None
        password = secrets.token_urlsafe(12)
        self.add(ADMIN, password, "admin")
        return password

    def check(self, name: str, password: str) -> User | None:
        """The user, when name and password fit; takes as long for a name that does not exist."""
        with self._store.begin() as session:
            row = session.get(UserRow, name)
        try:
            self._hasher.verify(row.password if row else self._nobody, password)
        except (VerifyMismatchError, InvalidHashError):
            return None
        return account(row) if row else None

    def get(self, name: str) -> User | None:
        """The user of that name."""
        with self._store.begin() as session:
            row = session.get(UserRow, name)
        return account(row) if row else None

    def stamp(self, name: str) -> str | None:
        """What a session is tied to: another one after each change of the password, and for a new account of that name.

        None where there is no such user.
        """
        with self._store.begin() as session:
            row = session.get(UserRow, name)
        return hashlib.sha256(row.password.encode()).hexdigest() if row else None

    def list(self) -> Sequence[User]:
        """All users by name."""
        with self._store.begin() as session:
            return [account(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]

    def add(self, name: str, password: str, role: Role) -> User:
        """Create an account.

        Raises:
            UserError: the name is taken or malformed, the role unknown, or the password too short.
        """
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no user name: use lower-case letters, digits and . _ @ -, at most 64")
        if role not in get_args(Role):
            raise UserError(f"role {role!r} is unknown; it is one of {', '.join(get_args(Role))}")
        with self._store.begin() as session:
            if session.get(UserRow, name):
                raise UserError(f"there is a user {name!r} already")
            session.add(UserRow(name=name, password=self._hash(password), role=role))
        return User(name, role)

    def set_password(self, name: str, password: str) -> None:
        """Change a password; sessions and tokens of that user end, as somebody else may hold them.

        Raises:
            UserError: no such user, or the password is too short.
        """
        with self._store.begin() as session:
            present(session, name).password = self._hash(password)
            session.execute(delete(TokenRow).where(TokenRow.user == name))

    def set_role(self, name: str, role: Role) -> None:
        """Give an account another role.

        Raises:
            UserError: no such user, an unknown role, or nobody would be left to administer.
        """
        if role not in get_args(Role):
            raise UserError(f"role {role!r} is unknown; it is one of {', '.join(get_args(Role))}")
        with self._store.begin() as session:
            row = present(session, name)
            if role != "admin":
                _keep_one_admin(session, row)
            row.role = role

    def set_groups(self, name: str, groups: Collection[str]) -> None:
        """Say whose documents somebody may read, beside those of everybody.

        Raises:
            UserError: no such user, or a group without a name.
        """
        if not all(group.strip() for group in groups):
            raise UserError("a group needs a name")
        with self._store.begin() as session:
            present(session, name).groups = sorted({group.strip() for group in groups})

    def remove(self, name: str) -> None:
        """Delete an account with its conversations and tokens.

        Raises:
            UserError: no such user, or nobody would be left to administer.
        """
        with self._store.begin() as session:
            row = present(session, name)
            _keep_one_admin(session, row)
            session.delete(row)

    def _hash(self, password: str) -> str:
        if len(password) < SHORTEST:
            raise UserError(f"a password has at least {SHORTEST} characters, this one has {len(password)}")
        return self._hasher.hash(password)


def present(session: Session, name: str) -> UserRow:
    """The row of a user.

    Raises:
        UserError: there is none.
    """
    row = session.get(UserRow, name)
    if row is None:
        raise UserError(f"there is no user {name!r}")
    return row


def _keep_one_admin(session: Session, row: UserRow) -> None:
    others = select(UserRow.name).where(UserRow.role == "admin", UserRow.name != row.name).limit(1)
    if row.role == "admin" and session.scalar(others) is None:
        raise UserError(f"{row.name!r} is the only administrator; make somebody else one first")


def account(row: UserRow) -> User:
    """Who a row stands for."""
    role: Role = "admin" if row.role == "admin" else "reviewer" if row.role == "reviewer" else "user"
    return User(row.name, role, frozenset(row.groups))
