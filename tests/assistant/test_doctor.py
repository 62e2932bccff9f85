"""The examination of a machine: what is wrong is named, with what to do, and nothing is changed."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.base import load
from adapters.engine import TorchEngine
from assistant import doctor, models, packs
from assistant.doctor import Symptom
from assistant.packs import Packs
from assistant.settings import Settings
from assistant.store import Store
from assistant.users import Users
from assistant.wheels import ModelsError
from retrieval.embedder import SentenceEmbedder
from tests.adapters.tiny import tiny_adapter, tiny_base

Usage = namedtuple("Usage", "total used free")


def by_name(settings: Settings) -> dict[str, Symptom]:
    return {one.name: one for one in doctor.examine(settings, None)}


def test_a_machine_with_the_models_and_no_state_is_fit(tmp_path: Path, models_dir: Path) -> None:
    settings = Settings(home=tmp_path / "new", models=models_dir)
    found = by_name(settings)
    assert found["models"].state == "ok" and "smollm2" in found["models"].found
    assert found["state"].state == "note" and "assistant serve" in found["state"].advice
    assert doctor.report(list(found.values()), 1.0)["fit"] is True
    assert not settings.home.exists()


def test_missing_models_fail_with_what_to_do(tmp_path: Path) -> None:
    found = by_name(Settings(home=tmp_path))
    assert found["models"].state == "fails" and "assistant models pull" in found["models"].advice
    assert doctor.report(list(found.values()), 1.0)["fit"] is False


def test_models_of_ones_own_are_not_looked_for(tmp_path: Path) -> None:
    found = by_name(Settings(home=tmp_path, chat_model="some/model", embedder="/opt/embedder"))
    assert found["models"].state == "ok" and "some/model" in found["models"].found


def test_a_changed_byte_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: object) -> list[models.Installed]:
        raise ModelsError("model.safetensors: found sha256 1, expected 2")

    monkeypatch.setattr(models, "verify", changed)
    assert "expected 2" in by_name(Settings(home=tmp_path))["models"].found


@pytest.mark.parametrize(("free", "state"), [(0.2, "fails"), (3.0, "note"), (40.0, "ok")])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, free * 1e9))
    assert by_name(Settings(home=tmp_path))["disk"].state == state


def test_accounts_are_counted_and_a_broken_database_fails(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    state = Store(settings.database_url)
    Users(state).create_first()
    state.close()
    assert "1 accounts, 1 of them" in by_name(settings)["state"].found
    (tmp_path / "state.db").write_bytes(b"no database at all, and long enough to be read as one" * 20)
    assert by_name(settings)["state"].state == "fails"


def test_each_adapter_is_named_with_the_memory_that_it_takes(
    tmp_path: Path, models_dir: Path, embedder: SentenceEmbedder, tiny_pack: Callable[..., Path], store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(packs, "SHIPPED", tmp_path / "none")  # the shipped packs would take a minute
    base = tiny_base(load(models_dir / models.CHAT.name, dtype="float32", device="cpu"))
    engine, adapter = TorchEngine(base), tiny_adapter(base, tmp_path / "library", 0)
    engine.load(adapter)
    pack = tiny_pack(tmp_path / "pack", adapter="library")
    live = Packs(store, tmp_path, embedder, lambda _: adapter, (pack,))
    found = doctor._adapters(live, engine)
    values = 2 * 2 * (64 + 128) + 2 * 2 * (96 + 64)  # rank 2 in two layers at qkv and down
    assert found.state == "ok"
    assert found.found.startswith(f"library {adapter.digest[:12]} ({4 * values / 1e6:.2f} MB in memory): passports fit")
    engine.unload(adapter.digest)
    assert doctor._adapters(live, engine).found.startswith(f"library {adapter.digest[:12]}: passports fit")


def test_what_stops_the_product_from_opening_is_said(tmp_path: Path) -> None:
    def broken() -> object:
        raise RuntimeError("the chat model cannot be read")

    *_, last = doctor.examine(Settings(home=tmp_path), broken)  # type: ignore[arg-type]
    assert (last.name, last.state) == ("opening", "fails") and "cannot be read" in last.found
