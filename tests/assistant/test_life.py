"""A candidate sits the exam, is promoted or refused, and is rolled back while the packs serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from tests.adapters.waiting import until

TinyPack = Callable[..., Path]
UNEXAMINED = {"least": {"must_answer_answered": 0}}  # the small exam has no such question


class Installation:
    """One pack or more, a tiny engine, and a shelf whose product came with an adapter for each."""

    def __init__(self, home: Path, models_dir: Path, embedder: SentenceEmbedder, store: Store, *packs: Path) -> None:
        self.home, self.live, self.store = home, list[Parts](), store
        self.canaries: dict[str, tuple[Canary, Adapter]] = {}
        self.base = tiny_base(load(models_dir / models.CHAT.name, dtype="float32", device="cpu"))
        self.engine = TorchEngine(self.base)
        for folder in packs:
            tiny_adapter(self.base, home / "shipped" / folder.name, 0)
        self.trained = tiny_adapter(self.base, home / "trained", 1)
        self._embedder, self._folders = embedder, packs
        self.start()

    def start(self) -> None:
        """Open everything, also once more: a server that is started again."""
        base, home, embedder = self.base, self.home, self._embedder
        shelf = self.beside()

        def adapter(name: str) -> Adapter:
            found = adapters_store.verify(shelf.current(name), base)
            self.engine.load(found)
            return found

        def serve(enabled: Mapping[str, Pack]) -> None:
            trained = reader.train([one.domain for one in enabled.values()], embedder.embed)
            sampling = Sampling(max_tokens=16)
            self.live[:] = [Parts(self.engine, embedder, trained, enabled, sampling, canaries=self.canaries)]

        self.packs = Packs(self.store, home, embedder, adapter, self._folders, serve)
        self.life = Life(
            shelf, self.packs, self.engine, lambda: self.live[0], lambda folder: adapters_store.verify(folder, base),
            self.store, self.canaries,
        )  # fmt: skip

    def beside(self) -> Shelf:
        """The shelf as another process sees it."""
        return Shelf(self.home / "adapters", (self.home / "shipped",))

    def speaker(self, pack: str = "library") -> str:
        adapter = self.live[0].packs[pack].adapter
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
    pack = tiny_pack(tmp_path / "library", adapter="library", gate=UNEXAMINED)
    return Installation(tmp_path, models_dir, embedder, store, pack)


@pytest.fixture
def two(
    tmp_path: Path,
    models_dir: Path,
    embedder: SentenceEmbedder,
    tiny_pack: TinyPack,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    """An archive beside the library."""
    monkeypatch.setattr(packs, "SHIPPED", tmp_path / "none")
    folders = [tiny_pack(tmp_path / name, name=name, adapter=name) for name in ("archive", "library")]
    return Installation(tmp_path, models_dir, embedder, store, *folders)


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


def test_who_no_longer_speaks_leaves_the_engine(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.life.GRACE", 0.0)
    life, shipped, engine = installation.life, installation.speaker(), installation.engine
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    assert set(engine.resident()) == {shipped}
    _slower_is_no_matter_here(installation, new.digest)
    life.promote("library", new.digest, "ben")
    until(lambda: set(engine.resident()) == {new.digest})
    life.rollback("library", "ben")
    until(lambda: set(engine.resident()) == {shipped})


def _slower_is_no_matter_here(installation: Installation, digest: str, **changes: float) -> None:
    """Set the candidate's time beside the current one's, and metrics in its report."""
    reports = installation.home / "adapters" / "reports"
    (path,) = (reports / "pace").glob(f"{digest[:32]}-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ms": [1.0, 1.0]}))
    (path,) = reports.glob(f"{digest[:32]}-*.json")
    report = json.loads(path.read_text())
    report["metrics"] |= changes
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
    beside = installation.beside()
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


def test_a_report_holds_for_what_the_exam_was_sat_with_and_nothing_else(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    life.compare("library", new.digest)
    found = life.report(new)
    assert found is not None
    parts = installation.live[0]
    pack = parts.packs["library"]
    others: list[Parts] = [
        replace(parts, sampling=Sampling(max_tokens=17)),
        replace(parts, detectors=replace(parts.detectors, digest="0" * 64)),
        replace(parts, packs={**parts.packs, "other": replace(pack, domain=replace(pack.domain, digest="0" * 64))}),
    ]
    for other in others:
        installation.live[0] = other
        assert life.report(new) is None
    installation.live[0] = parts
    assert life.report(new) == found


def test_an_engine_that_fails_gets_no_report(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    installation.live[0] = replace(installation.live[0], sampling=Sampling(max_tokens=1_000_000))
    with pytest.raises(AdapterError, match=r"could not be examined: asked 'For how .*the model failed: EngineError;"):
        life.compare("library", new.digest)
    assert not list((installation.home / "adapters").glob("reports/**/*.json"))


def test_times_are_taken_by_turns_and_once(installation: Installation) -> None:
    life = installation.life
    new = life.add("library", installation.trained.folder, "ann")
    steps: list[str] = []
    found = life.compare("library", new.digest, lambda what, *_: steps.append(what))
    assert steps.count("Pace of both") == 1  # the only question that has an answer
    (verdict,) = (one for one in found.verdicts if one.metric == "total_ms_p50")
    assert [verdict.candidate, verdict.current] == found.pace[0]["ms"]
    assert life.compare("library", new.digest).pace == found.pace


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
    beside = installation.beside()
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


def _damage(folder: Path) -> bytes:
    """Change a byte of an adapter; what was there before."""
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def test_a_damaged_adapter_keeps_no_other_from_speaking_and_is_tried_again(two: Installation) -> None:
    beside, shipped = two.beside(), two.speaker("archive")
    broken = beside.add("archive", two.trained.folder, "ann")
    whole = beside.add("library", tiny_adapter(two.base, two.home / "other", 2).folder, "ann")
    saved = _damage(broken.folder)
    for held in (broken, whole):
        beside.promote(held.name, held.digest, "ann", {})
    with pytest.raises(AdapterError, match="a byte was changed"):
        two.life.follow()
    assert (two.speaker("archive"), two.speaker("library")) == (shipped, whole.digest)
    two.life.rollback("library", "ben")  # of which the archive's is no business
    assert two.speaker("library") == shipped
    with pytest.raises(AdapterError, match="a byte was changed"):
        two.life.follow()
    (broken.folder / "adapter_model.safetensors").write_bytes(saved)
    two.life.follow()
    assert two.speaker("archive") == broken.digest


def test_a_pack_that_was_refused_for_its_adapter_is_taken_up_after_a_rollback(two: Installation) -> None:
    beside, shipped = two.beside(), two.speaker("archive")
    new = beside.add("archive", two.trained.folder, "ann")
    beside.promote("archive", new.digest, "ann", {})
    _damage(new.folder)
    two.start()
    assert list(two.live[0].packs) == ["library"]
    (card,) = (one for one in two.life.cards() if (one.held.name, one.held.state) == ("archive", "current"))
    assert "a byte was changed" in card.problem and card.back == shipped
    beside.rollback("archive", "ben")
    two.life.follow()
    assert two.speaker("archive") == shipped and two.packs.problems() == []
