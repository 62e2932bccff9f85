"""What an adapter is, whom it fits and how it was made: ``passport.json``. Judges nothing; the store does."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

PASSPORT = "passport.json"
_DIGESTS = ("weights", "base", "template", "data")
_TYPES: dict[str, tuple[type, ...]] = {
    "weights": (str,),
    "base": (str,),
    "template": (str,),
    "data": (str,),
    "counts": (dict,),
    "recipe": (dict,),
    "seed": (int,),
    "rank": (int,),
    "targets": (list, tuple),
    "before": (dict,),
    "after": (dict,),
    "created": (str,),
    "approved_by": (str, type(None)),
    "approved_at": (str, type(None)),
    "signature": (str, type(None)),
}


class PassportError(Exception):
    """A passport that is missing, malformed or wrongly signed."""


@dataclass(frozen=True, slots=True)
class Passport:
    """One adapter's papers. Digests are SHA-256 in hex, times ISO 8601 in UTC."""

    weights: str  # adapter_model.safetensors and adapter_config.json, together
    base: str  # the base model's weights
    template: str  # tokenizer and chat template
    data: str  # the training examples
    counts: dict[str, int]  # examples by use: train, validation, dropped
    recipe: dict[str, Any]
    seed: int
    rank: int
    targets: tuple[str, ...]  # names of the layers that carry LoRA weights
    before: dict[str, float]  # measured without the adapter
    after: dict[str, float]  # and with it
    created: str
    approved_by: str | None = None
    approved_at: str | None = None
    signature: str | None = None  # ed25519 over the canonical JSON without this field, base64

    def canonical(self) -> bytes:
        """What is signed: sorted keys, no spaces, without the signature."""
        content = {key: value for key, value in asdict(self).items() if key != "signature"}
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read(folder: Path) -> Passport:
    """Read ``folder/passport.json``.

    Raises:
        PassportError: missing, not JSON, or a field is missing, unknown or of the wrong type.
    """
    path = folder / PASSPORT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PassportError(f"{path}: missing; the training did not finish, or was not ours") from error
    except (OSError, ValueError) as error:
        raise PassportError(f"{path}: not valid JSON: {error}") from error
    _check(path, content)
    return Passport(**{**content, "targets": tuple(content["targets"])})


def write(folder: Path, passport: Passport) -> None:
    """Write ``folder/passport.json`` in one step. Call it last: a folder without one is unfinished."""
    content = asdict(passport)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    aside = folder / f".{PASSPORT}.{os.getpid()}"
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(folder / PASSPORT)


def sign(passport: Passport, key: Ed25519PrivateKey) -> Passport:
    """The passport with its signature; any later change of a field voids it."""
    return replace(passport, signature=base64.b64encode(key.sign(passport.canonical())).decode())


def public_key(path: Path) -> Ed25519PublicKey:
    """The key that signatures are checked with, from a PEM file.

    Raises:
        PassportError: no such file, or no ed25519 public key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PassportError(
            f"{path}: not a public key in PEM: {error}; 'assistant adapters keygen' makes one"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise PassportError(f"{path}: is a {type(key).__name__}, expected an ed25519 public key")
    return key


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key to sign with, from a PEM file without a password.

    Raises:
        PassportError: no such file, or no ed25519 private key.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise PassportError(f"{path}: not a private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PassportError(f"{path}: is a {type(key).__name__}, expected an ed25519 private key")
    return key


def new_keys(private: Path, public: Path) -> None:
    """Write a fresh pair; the private file is for its owner only, and neither may exist."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    known = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for path, content, mode in ((private, secret, 0o600), (public, known, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
        except FileExistsError as error:
            raise PassportError(f"{path}: exists already; choose another name") from error


def check_signature(passport: Passport, key: Ed25519PublicKey) -> None:
    """Raises PassportError unless ``key`` signed exactly this passport."""
    if passport.signature is None:
        raise PassportError(
            f"passport of {passport.weights[:16]} is not signed, and signatures are asked for; "
            "run 'assistant adapters sign --folder FOLDER --key KEY' where the private key is, and add it then"
        )
    try:
        key.verify(base64.b64decode(passport.signature, validate=True), passport.canonical())
    except (InvalidSignature, binascii.Error) as error:
        raise PassportError(
            f"passport of {passport.weights[:16]}: the signature does not fit its content and the key given; "
            "it was changed after signing, or signed with another key"
        ) from error


def _check(path: Path, content: object) -> None:
    if not isinstance(content, dict):
        raise PassportError(f"{path}: expected a JSON object, found {type(content).__name__}")
    required = {field.name for field in fields(Passport)} - {"approved_by", "approved_at", "signature"}
    if missing := sorted(required - content.keys()):
        raise PassportError(f"{path}: {', '.join(missing)} missing; train the adapter again")
    if unknown := sorted(content.keys() - _TYPES.keys()):
        raise PassportError(f"{path}: unknown field {unknown[0]!r}; a newer version wrote it, or it was edited by hand")
    for key, value in content.items():
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            expected = " or ".join(kind.__name__ for kind in _TYPES[key])
            raise PassportError(f"{path}: {key} must be {expected}, found {value!r:.80}")
    for key in _DIGESTS:
        if len(content[key]) != 64 or set(content[key]) - set("0123456789abcdef"):
            raise PassportError(f"{path}: {key} must be a sha256 in hex, found {content[key]!r:.80}")
