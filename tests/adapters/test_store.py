from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.base import Base
from adapters.passport import read, write
from adapters.store import AdapterError, digest_of, find, verify

MakeAdapter = Callable[..., Path]


def _flip_a_byte(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _truncate(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    write(folder, replace(read(folder), weights=digest_of(folder)))


TAMPERING: list[tuple[str, Callable[[Path], object], str]] = [
    ("no passport", lambda f: (f / "passport.json").unlink(), "missing"),
    ("no weights", lambda f: (f / "adapter_model.safetensors").unlink(), "cannot be read"),
    ("pickle", lambda f: (f / "adapter_model.bin").write_bytes(b"x"), "can run code"),
    ("pickle in capitals", lambda f: (f / "x.PKL").write_bytes(b"x"), "can run code"),
    ("changed byte", _flip_a_byte, "a byte was changed"),
    ("changed config", lambda f: (f / "adapter_config.json").write_text("{}"), "a byte was changed"),
    ("other base", lambda f: write(f, replace(read(f), base="1" * 64)), "trained on base 1111"),
    ("other template", lambda f: write(f, replace(read(f), template="2" * 64)), "chat template 2222"),
    ("unreadable", _truncate, "not a readable safetensors"),
]


@pytest.mark.parametrize(("tamper", "said"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING])
def test_a_tampered_adapter_is_refused(
    base: Base, make_adapter: MakeAdapter, tmp_path: Path, tamper: Callable[[Path], object], said: str
) -> None:
    folder = make_adapter(tmp_path / "one")
    tamper(folder)
    with pytest.raises(AdapterError, match=said):
        verify(folder, base)


def test_the_refusal_names_both_digests(base: Base, make_adapter: MakeAdapter, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "one")
    write(folder, replace(read(folder), base="1" * 64))
    with pytest.raises(AdapterError, match=f"{'1' * 64}.*{base.digest}"):
        verify(folder, base)


def test_a_whole_adapter_passes_and_an_unsigned_one_does_not_where_signatures_are_asked_for(
    base: Base, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    folder = make_adapter(tmp_path / "one")
    assert verify(folder, base).digest == digest_of(folder)
    with pytest.raises(AdapterError, match="not signed"):
        verify(folder, base, Ed25519PrivateKey.generate().public_key())


@pytest.mark.parametrize("name", ["../one", "/etc", "", ".hidden", "none"])
def test_only_plain_names_that_exist_are_found(make_adapter: MakeAdapter, tmp_path: Path, name: str) -> None:
    make_adapter(tmp_path / "one")
    assert find([tmp_path / "absent", tmp_path], "one") == tmp_path / "one"
    with pytest.raises(AdapterError):
        find([tmp_path], name)


def test_an_unfinished_training_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with pytest.raises(AdapterError, match="did not finish"):
        find([tmp_path], "half")
