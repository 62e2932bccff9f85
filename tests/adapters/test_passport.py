from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.passport import (
    Passport,
    PassportError,
    check_signature,
    new_keys,
    private_key,
    public_key,
    read,
    sign,
    write,
)

PAPERS = Passport(
    "a" * 64,
    "b" * 64,
    "c" * 64,
    "d" * 64,
    {"train": 3},
    {"rank": 8},
    7,
    8,
    ("q_proj",),
    {"loss": 2.0},
    {"loss": 1.0},
    "2026-01-01",
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, PAPERS)
    assert read(tmp_path) == PAPERS
    assert [path.name for path in tmp_path.iterdir()] == ["passport.json"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("weights", None, "weights missing"),
        ("weights", "short", "must be a sha256"),
        ("seed", "7", "seed must be int"),
        ("seed", True, "seed must be int"),
        ("owner", "me", "unknown field 'owner'"),
        ("targets", "q_proj", "targets must be list"),
    ],
)
def test_a_malformed_passport_is_refused_by_field(tmp_path: Path, key: str, value: Any, said: str) -> None:
    write(tmp_path, PAPERS)
    content = json.loads((tmp_path / "passport.json").read_text())
    if value is None:
        del content[key]
    else:
        content[key] = value
    (tmp_path / "passport.json").write_text(json.dumps(content))
    with pytest.raises(PassportError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "passport.json").write_text(text)
    with pytest.raises(PassportError, match=r"passport\.json"):
        read(tmp_path)


def test_a_missing_passport_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassportError, match="missing"):
        read(tmp_path)


CHANGES: dict[str, Any] = {
    "weights": "e" * 64,
    "base": "e" * 64,
    "template": "e" * 64,
    "data": "e" * 64,
    "counts": {"train": 4},
    "recipe": {"rank": 9},
    "seed": 8,
    "rank": 9,
    "targets": ("k_proj",),
    "before": {"loss": 3.0},
    "after": {"loss": 0.5},
    "created": "2026-01-02",
    "approved_by": "mallory",
    "approved_at": "2026-01-02",
}


def test_every_field_but_the_signature_is_in_the_table() -> None:
    assert set(CHANGES) == {field.name for field in fields(Passport)} - {"signature"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changed_after_signing_is_refused(tmp_path: Path, field: str) -> None:
    new_keys(tmp_path / "private.pem", tmp_path / "public.pem")
    write(tmp_path, sign(PAPERS, private_key(tmp_path / "private.pem")))
    check_signature(read(tmp_path), public_key(tmp_path / "public.pem"))
    write(tmp_path, replace(read(tmp_path), **{field: CHANGES[field]}))
    with pytest.raises(PassportError, match="signature does not fit its content and the key given"):
        check_signature(read(tmp_path), public_key(tmp_path / "public.pem"))


def test_keys_are_neither_overwritten_nor_taken_for_one_another(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    new_keys(private, public)
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(PassportError, match="exists already"):
        new_keys(private, tmp_path / "other.pem")
    with pytest.raises(PassportError, match="not a public key"):
        public_key(private)
    with pytest.raises(PassportError, match="not a private key"):
        private_key(public)


def test_a_signature_holds_until_a_field_changes_or_the_key_does(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    signed = sign(PAPERS, key)
    write(tmp_path, signed)
    check_signature(read(tmp_path), key.public_key())
    for wrong in (replace(signed, approved_by="mallory"), replace(signed, signature="not base64!")):
        with pytest.raises(PassportError, match="does not fit"):
            check_signature(wrong, key.public_key())
    with pytest.raises(PassportError, match="does not fit"):
        check_signature(signed, Ed25519PrivateKey.generate().public_key())
    with pytest.raises(PassportError, match="not signed"):
        check_signature(PAPERS, key.public_key())
