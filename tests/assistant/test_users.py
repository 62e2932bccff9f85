"""Accounts: no default password, argon2id, and refusals in words."""

from __future__ import annotations

from typing import get_args

import pytest

from assistant.store import Store, UserRow
from assistant.tokens import Tokens
from assistant.users import ADMIN, Role, User, UserError, Users

PASSWORD = "correct horse"


@pytest.fixture
def users(store: Store) -> Users:
    return Users(store)


def test_the_first_administrator_gets_a_random_password_once(users: Users) -> None:
    password = users.create_first()
    assert password is not None and len(password) >= 16
    assert users.check(ADMIN, password) == User(ADMIN, "admin")
    assert users.create_first() is None
    assert [user.name for user in users.list()] == [ADMIN]


def test_no_administrator_is_made_where_somebody_is(users: Users) -> None:
    users.add("ana", PASSWORD, "user")
    assert users.create_first() is None
    assert users.get(ADMIN) is None


def test_a_password_opens_only_its_own_account(users: Users) -> None:
    users.add("ana", PASSWORD, "user")
    users.add("rea", "another secret", "reviewer")
    assert users.check("ana", PASSWORD) == User("ana", "user")
    for name, password in (("ana", "another secret"), ("ana", ""), ("nobody", PASSWORD), ("", ""), ("ANA", PASSWORD)):
        assert users.check(name, password) is None


def test_passwords_are_stored_as_salted_argon2id(users: Users, store: Store) -> None:
    users.add("ana", PASSWORD, "user")
    users.add("ben", PASSWORD, "user")
    with store.begin() as session:
        hashes = [session.get_one(UserRow, name).password for name in ("ana", "ben")]
    assert all(one.startswith("$argon2id$") and PASSWORD not in one for one in hashes)
    assert hashes[0] != hashes[1]


def test_a_damaged_hash_opens_nothing(users: Users, store: Store) -> None:
    users.add("ana", PASSWORD, "user")
    with store.begin() as session:
        session.get_one(UserRow, "ana").password = "plain"
    assert users.check("ana", "plain") is None


def test_a_changed_password_replaces_the_old_one(users: Users) -> None:
    users.add("ana", PASSWORD, "user")
    users.set_password("ana", "a new secret")
    assert users.check("ana", PASSWORD) is None
    assert users.check("ana", "a new secret") == User("ana", "user")


@pytest.mark.parametrize(("role", "reviews"), [("user", False), ("reviewer", True), ("admin", True)])
def test_reviewers_and_admins_review(users: Users, role: Role, reviews: bool) -> None:
    assert users.add("ana", PASSWORD, role).reviews is reviews
    assert users.get("ana") == User("ana", role)


def test_all_roles_are_covered_above() -> None:
    assert get_args(Role) == ("user", "reviewer", "admin")


@pytest.mark.parametrize("name", ["", "Ana", "a b", "-ana", ".ana", "ana!", "ana\n", "a" * 65, "ána", "../etc"])
def test_a_malformed_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UserError) as caught:
        users.add(name, PASSWORD, "user")
    assert str(caught.value) == f"{name!r} is no user name: use lower-case letters, digits and . _ @ -, at most 64"


def test_a_taken_name_an_unknown_role_and_a_short_password_are_refused(users: Users) -> None:
    users.add("ana", PASSWORD, "user")
    with pytest.raises(UserError, match="^there is a user 'ana' already$"):
        users.add("ana", PASSWORD, "admin")
    with pytest.raises(UserError, match="^role 'root' is unknown; it is one of user, reviewer, admin$"):
        users.add("ben", PASSWORD, "root")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="^a password has at least 10 characters, this one has 9$"):
        users.add("ben", "x" * 9, "user")
    with pytest.raises(UserError, match="^there is no user 'ben'$"):
        users.set_password("ben", PASSWORD)
    with pytest.raises(UserError, match="^a password has at least 10 characters, this one has 0$"):
        users.set_password("ana", "")
    assert [user.name for user in users.list()] == ["ana"]
    assert users.check("ana", PASSWORD)


def test_a_stamp_is_of_one_password_of_one_account(users: Users) -> None:
    users.add("rea", PASSWORD, "admin")
    users.add("ana", PASSWORD, "user")
    stamps = [users.stamp("ana"), users.stamp("ana")]
    users.set_role("ana", "reviewer")
    stamps.append(users.stamp("ana"))
    users.set_password("ana", PASSWORD)
    stamps.append(users.stamp("ana"))
    users.remove("ana")
    assert users.stamp("ana") is None
    users.add("ana", PASSWORD, "user")
    assert stamps[0] == stamps[1] == stamps[2]
    assert len({*stamps, users.stamp("ana"), users.stamp("rea")}) == 4


def test_a_changed_password_ends_the_tokens_of_that_user_alone(users: Users, store: Store) -> None:
    tokens = Tokens(store)
    for name in ("ana", "ben"):
        users.add(name, PASSWORD, "user")
        tokens.create(name, "a shop")
    with pytest.raises(UserError):
        users.set_password("ana", "short")
    assert [one.user for one in tokens.list()] == ["ana", "ben"]
    users.set_password("ana", "a new secret")
    assert [one.user for one in tokens.list()] == ["ben"]
