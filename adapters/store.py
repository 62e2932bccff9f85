"""Finds adapters on disk and lets none pass that is not what its passport says. Loads no weights into a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from safetensors import SafetensorError, safe_open

from adapters.base import Base
from adapters.passport import PASSPORT, Passport, PassportError, check_signature, read

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib")


class AdapterError(Exception):
    """An adapter that must not speak. The message names what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A verified adapter. Caches and logs use its digest, never its name."""

    name: str
    digest: str  # SHA-256 over weights and config
    folder: Path
    passport: Passport


def find(roots: Sequence[Path], name: str) -> Path:
    """The finished adapter folder called ``name`` in the first root that has one.

    Raises:
        AdapterError: no root has it, or the name is not a plain folder name.
    """
    if name != Path(name).name or name.startswith("."):
        raise AdapterError(f"{name!r} is no adapter name; expected a plain folder name, without path")
    for root in roots:
        if (root / name / PASSPORT).is_file():
            return root / name
    unfinished = next((root / name for root in roots if (root / name).is_dir()), None)
    if unfinished is not None:
        raise AdapterError(f"{unfinished} has no {PASSPORT}: its training did not finish; train {name!r} again")
    raise AdapterError(
        f"no adapter {name!r} in {', '.join(map(str, roots)) or 'any folder: none is configured'}; "
        "train it, or correct the adapter's name in the domain's manifest"
    )


def digest_of(folder: Path) -> str:
    """SHA-256 over the weights and the config that says how they are applied."""
    total = hashlib.sha256()
    for name in (WEIGHTS, CONFIG):
        try:
            total.update((folder / name).read_bytes())
        except OSError as error:
            raise AdapterError(f"{folder / name}: cannot be read ({error.strerror}); copy the adapter again") from error
    return total.hexdigest()


def verify(folder: Path, base: Base, key: Ed25519PublicKey | None = None) -> Adapter:
    """Check an adapter against its passport and against the base model it would change.

    Args:
        folder: PEFT layout with ``passport.json``.
        base: the base model of this server.
        key: if given, only passports signed with it are accepted.

    Raises:
        AdapterError: on any mismatch; nothing is loaded.
    """
    name = folder.name
    _refuse_pickles(folder)
    try:
        passport = read(folder)
        if key is not None:
            check_signature(passport, key)
    except PassportError as error:
        raise AdapterError(f"adapter {name!r}: {error}") from error
    found = digest_of(folder)
    if found != passport.weights:
        raise AdapterError(
            f"adapter {name!r}: its files have digest {found}, its passport says {passport.weights}; "
            "a byte was changed after training: copy it again from where it was trained"
        )
    if passport.base != base.digest:
        raise AdapterError(
            f"adapter {name!r} was trained on base {passport.base}, this server runs {base.digest}; "
            "train it again, or set the chat model to the one it was trained on"
        )
    if passport.template != base.template_digest:
        raise AdapterError(
            f"adapter {name!r} was trained with tokenizer and chat template {passport.template}, "
            f"this server has {base.template_digest}; train it again, or restore that tokenizer"
        )
    _check_readable(folder / WEIGHTS)
    return Adapter(name, found, folder, passport)


def _refuse_pickles(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterError(f"{folder}: no such folder; expected an adapter in PEFT layout")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES:
            raise AdapterError(f"{path}: can run code when it is opened; only {WEIGHTS} is accepted, delete this file")


def _check_readable(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path}: not a readable safetensors file: {error}; copy the adapter again") from error
    if not names:
        raise AdapterError(f"{path}: holds no tensors; train the adapter again")
