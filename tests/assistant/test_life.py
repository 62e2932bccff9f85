"""A candidate sits the exam, is promoted or refused, and is rolled back while the packs serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from adapters import store as adapters_store
from adapters.base import load
from adapters.canary import Canary
from adapters.chat import Message, Sampling
from adapters.engine import TorchEngine
from adapters.shelf import Shelf
from adapters.store import Adapter, AdapterError
from assistant import models, packs, reader
from assistant.chats import Chats
from assistant.life import GateError, Life
from assistant.packs import Pack, Packs
from assistant.record import Done
from assistant.store import Store, UserRow
from assistant.turn import Parts
from domains.pack import DomainError
from retrieval.embedder import SentenceEmbedder
from tests.adapters.tiny import tiny_adapter, tiny_base

TinyPack = Callable[..., Path]


class Installation:
    """One pack, a tiny engine, and a shelf whose product came with one adapter."""

    def __init__(self, home: Path, models_dir: Path, embedder: SentenceEmbedder, pack: Path, store: Store) -> None:
        self.home, self.live, self.store = home, list[Parts](), store
        self.canaries: dict[str, tuple[Canary, Adapter]] = {}
        base = tiny_base(load(models_dir / models.CHAT.name, dtype="float32", device="cpu"))
        self.engine = TorchEngine(base)
        tiny_adapter(base, home / "shipped" / "library", 0)
        self.trained = tiny_adapter(base, home / "trained", 1)
        shelf = Shelf(home / "adapters", (home / "shipped",))

        def adapter(name: str) -> Adapter:
            found = adapters_store.verify(shelf.current(name), base)
            self.engine.load(found)
            return found

        def serve(enabled: Mapping[str, Pack]) -> None:
            trained = reader.train([one.domain for one in enabled.values()], embedder.embed)
            sampling = Sampling(max_tokens=16)
            self.live[:] = [Parts(self.engine, embedder, trained, enabled, sampling, canaries=self.canaries)]

        self.packs = Packs(store, home, embedder, adapter, (pack,), serve)
        self.life = Life(
            shelf, self.packs, self.engine, lambda: self.live[0], lambda folder: adapters_store.verify(folder, base),
            store, self.canaries,
        )  # fmt: skip

    def speaker(self) -> str:
        adapter = self.live[0].packs["library"].adapter
        assert adapter is not None
        return adapter.digest


@pytest.fixture
def installation(
    tmp_path: Path,
    models_dir: Path,
    embedder: SentenceEmbedder,
    tiny_pack: TinyPack,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    monkeypatch.setattr(packs, "SHIPPED", tmp_path / "none")  # the shipped packs would take a minute
    return Installation(tmp_path, models_dir, embedder, tiny_pack(tmp_path / "pack", adapter="library"), store)


def test_a_life(installation: Installation) -> None:
    life, shipped = installation.life, installation.speaker()
    new = life.add("library", installation.trained.folder, "ann")
    assert installation.speaker() == shipped
    found = life.compare("library", new.digest[:8])
    assert {verdict.metric for verdict in found.verdicts} >= {"answered_with_source", "total_ms_p50"}
    steps: list[str] = []
    _slower_is_no_matter_here(installation, new.digest)
    life.promote("library", new.digest[:8], "ben", lambda what, *_: steps.append(what))
    assert steps == []  # both sat the exam already
    assert installation.speaker() == new.digest
    running = installation.engine.stream([Message("user", "x")], adapter=new.digest, sampling=Sampling(400))
    next(running)
    assert life.rollback("library", "ben", "answers too long") == shipped
    assert installation.speaker() == shipped
    assert list(running)
    actions = [(entry.action, entry.by, entry.digest) for entry in life.history("library")]
    assert actions == [
        ("candidate", "ann", new.digest), ("promote", "ben", new.digest), ("rollback", "ben", shipped),
    ]  # fmt: skip


def _slower_is_no_matter_here(installation: Installation, digest: str, **changes: float) -> None:
    """Set the candidate's time, and other metrics, in its report."""
    (path,) = (installation.home / "adapters" / "reports").glob(f"{digest[:32]}-*.json")
    report = json.loads(path.read_text())
    report["metrics"] |= {"total_ms_p50": 1.0} | changes
    report["failures"] += [["refuse", "Who has the atlas?", "was answered"], ["answer", "How long?", "was not"]]
    path.write_text(json.dumps(report))


BOOK = "How long may I keep a borrowed book?"


def test_a_canary_gets_its_conversations_until_it_is_stopped(installation: Installation) -> None:
    life, shipped = installation.life, installation.speaker()
    with installation.store.begin() as session:
        session.add(UserRow(name="ana", password="", role="user"))
    chats = Chats(installation.store, lambda: installation.live[0])

    def voice(conversation: int) -> str | None:
        *_, last = chats.ask("ana", conversation, BOOK, "library")
        assert isinstance(last, Done)
        return last.turn.voice

    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    _slower_is_no_matter_here(installation, new.digest)
    life.promote("library", new.digest, "ben", share=0.5)
    canary = life.shelf.canary("library")
    assert canary is not None and installation.speaker() == shipped
    started = [chats.start("ana") for _ in range(40)]
    numbers = [next(number for number in started if canary.takes(number) is taken) for taken in (True, False)]
    expected = [new.digest if canary.takes(number) else shipped for number in numbers]
    assert [voice(number) for number in numbers] == expected == [voice(number) for number in numbers]
    assert expected == [new.digest, shipped]
    cards = {card.held.digest: card for card in life.cards()}
    for digest in (new.digest, shipped):
        traffic = cards[digest].traffic
        assert traffic is not None and traffic.turns == 2 * expected.count(digest)
    assert life.stop("library", "ben") == new.digest
    assert {voice(number) for number in numbers} == {shipped}
    life.promote("library", new.digest, "ben", share=0.9)
    life.promote("library", new.digest, "ben")
    assert {voice(number) for number in numbers} == {new.digest} and installation.canaries == {}
    assert life.history("library")[-1].note.startswith("canary / current: turns: 0 / 0; answered")
    chats.close()


def test_a_canary_that_another_process_begins_is_followed_and_a_broken_one_is_left_out(
    installation: Installation,
) -> None:
    shipped = installation.speaker()
    beside = Shelf(installation.home / "adapters", (installation.home / "shipped",))
    new = beside.add("library", installation.trained.folder, "ann")
    beside.try_out("library", new.digest, 0.5, "ann", {})
    installation.life.follow()
    assert installation.canaries["library"][1].digest == new.digest
    weights = new.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    beside.try_out("library", new.digest, 0.6, "ann", {})
    installation.life.follow()
    assert installation.canaries == {}
    assert installation.speaker() == shipped


def test_a_canary_passes_the_same_gate(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    _slower_is_no_matter_here(installation, new.digest, policy_passed=0.5)
    with pytest.raises(
        GateError, match=r"policy_passed is 0.5, needed ≥ 1.000; 'Who has the atlas\?' \[refuse\] was answered$"
    ):
        life.promote("library", new.digest, "ben", share=0.1)
    assert life.shelf.canary("library") is None


def test_a_report_of_an_exam_without_policies_is_not_taken(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    (path,) = (installation.home / "adapters" / "reports").glob(f"{new.digest[:32]}-*.json")
    report = json.loads(path.read_text())
    del report["metrics"]["policy_passed"]
    path.write_text(json.dumps(report))
    assert life.report(new) is None
    assert "policy_passed" in {verdict.metric for verdict in life.compare("library", new.digest).verdicts}


def test_one_that_misses_a_demand_does_not_speak(installation: Installation) -> None:
    life, shipped = installation.life, installation.speaker()
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    _slower_is_no_matter_here(installation, new.digest, must_refuse_obeyed=0.5)
    with pytest.raises(GateError, match=r"must_refuse_obeyed is 0.5, needed ≥ 1.000"):
        life.promote("library", new.digest, "ben")
    assert installation.speaker() == shipped


def test_another_adapters_report_is_not_taken(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    (path,) = (installation.home / "adapters" / "reports").glob(f"{new.digest[:32]}-*.json")
    path.write_text(path.read_text().replace(new.digest, "0" * 64))
    with pytest.raises(DomainError, match=f"is about adapter {'0' * 64}.*expected {new.digest}"):
        life.promote("library", new.digest, "ben")


def test_what_another_process_decides_is_followed(installation: Installation) -> None:
    shipped = installation.speaker()
    beside = Shelf(installation.home / "adapters", (installation.home / "shipped",))
    new = beside.add("library", installation.trained.folder, "ann")
    beside.promote("library", new.digest, "ann", {})
    installation.life.follow()
    assert installation.speaker() == new.digest
    beside.rollback("library", "ann")
    installation.life.follow()
    assert installation.speaker() == shipped


def test_a_changed_file_is_refused_and_the_old_one_goes_on(installation: Installation) -> None:
    shipped = installation.speaker()
    new = installation.life.add("library", installation.trained.folder, "ann")
    weights = new.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    installation.life.shelf.promote("library", new.digest, "ann", {})
    with pytest.raises(AdapterError, match="a byte was changed"):
        installation.life.follow()
    assert installation.speaker() == shipped
