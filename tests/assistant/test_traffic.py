"""A canary's turns beside the current adapter's: counted from what is stored, and spoken by real adapters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.base import load as load_base
from adapters.canary import Canary
from adapters.chat import Sampling
from adapters.engine import TorchEngine
from adapters.store import verify
from assistant import models, reader
from assistant.app import SHIPPED_ADAPTERS
from assistant.chats import Chats
from assistant.evaluation.golden import ask
from assistant.packs import Pack, corpus
from assistant.record import Citation, Done, Reading, Turn
from assistant.reviews import open_ticket
from assistant.store import ConversationRow, Store, TurnRow, UserRow
from assistant.study import learn
from assistant.traffic import counted, figures
from assistant.transcript import pack_turn
from assistant.turn import Parts, Question
from domains.pack import load
from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex

NEW, OLD = "a" * 64, "b" * 64
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
CANARY = Canary("library", NEW, OLD, 0.1, START.isoformat(), "ann", (START + timedelta(hours=1)).isoformat())
BLANK = Turn("q", "a", "unknown", "policy", Reading("library", 1, True, (), "", 0, "neutral", 0), timings={"total": 1})
CITED = Citation(0, 1, "loans#1", "Loans", "house", 0, 3, "The", "0" * 64, "The")
SAID = replace(BLANK, outcome="answered", author="model", citations=(CITED,))
# minutes after the start, the turn, whether its user flagged it
TURNS: list[tuple[int, Turn, bool]] = [
    (1, replace(SAID, voice=NEW, timings={"total": 0.4}), False),
    (2, replace(SAID, voice=NEW, author="quote", held=True, timings={"total": 0.6}), True),
    (3, replace(BLANK, voice=NEW, outcome="answered", author="tool", tool="fees", timings={}), False),
    (4, replace(BLANK, voice=NEW, outcome="answered", timings={"total": 9.0}), False),  # small talk
    (5, replace(BLANK, voice=NEW, outcome="escalated"), False),
    (6, replace(SAID, voice=OLD), False),
    (7, replace(BLANK, voice=OLD), False),
    (8, replace(BLANK, voice=OLD, outcome="refused"), True),
    (9, replace(SAID, voice="c" * 64), False),  # of another adapter
    (10, replace(SAID, voice=None), False),  # of no pack
    (-1, replace(SAID, voice=NEW), False),  # before
    (61, replace(SAID, voice=NEW), True),  # after
]


def test_both_sides_are_counted_over_the_canarys_time(store: Store) -> None:
    with store.begin() as session:
        session.add(UserRow(name="ana", password="", role="user"))
        session.flush()
        session.add(ConversationRow(id=1, user="ana"))
        session.flush()
        for minutes, turn, flagged in TURNS:
            row = TurnRow(conversation=1, created=START + timedelta(minutes=minutes), state="final", question="q")
            row.record = pack_turn(turn)
            session.add(row)
            session.flush()
            if flagged:
                open_ticket(session, row.id, turn, ["flagged by the user: wrong"])
            open_ticket(session, row.id, turn, ["the user seems unhappy"])
        session.add(TurnRow(conversation=1, created=START, state="running", question="q", record=None))
    new, old = figures(store, CANARY)
    assert (new.digest, new.turns, new.answered, new.spoke, new.unknown) == (NEW, 5, 3, 1, 0)
    assert (new.refused, new.held, new.flagged, new.total_ms_p50) == (1, 1, 1, 800.0)
    assert (old.digest, old.turns, old.answered, old.spoke, old.unknown) == (OLD, 3, 1, 1, 1)
    assert (old.refused, old.held, old.flagged, old.total_ms_p50) == (1, 0, 1, 1000.0)
    assert [counted(new, key) for key in ("turns", "answered", "total_ms_p50")] == ["5", "3 (60%)", "800"]
    running, _ = figures(store, replace(CANARY, until=None))
    assert running.turns == 6


def test_nothing_was_asked_yet(store: Store) -> None:
    new, old = figures(store, replace(CANARY, current=None))
    assert (new.turns, old.turns, counted(new, "answered"), counted(new, "total_ms_p50")) == (0, 0, "0", "-")


def test_real_adapters_speak_each_in_its_conversations(
    store: Store, embedder: SentenceEmbedder, models_dir: Path, tiny_pack: Callable[..., Path], tmp_path: Path
) -> None:
    base = load_base(models_dir / models.CHAT.name, dtype="float32", device="cpu")
    engine = TorchEngine(base)
    current, candidate = (
        verify(Path(shutil.copytree(SHIPPED_ADAPTERS / name, tmp_path / name)), base) for name in ("finance", "medical")
    )
    engine.load(current)
    engine.load(candidate)
    domain = load(tiny_pack(tmp_path / "library", adapter="library"))
    index = FaissIndex(build(tmp_path / "index", corpus(domain), embedder), embedder)
    pack = Pack(domain, index, current, True, False, tmp_path, learn(domain, index, embedder.embed))
    canary = replace(CANARY, digest=candidate.digest, current=current.digest, share=0.5)
    trained = reader.train([domain], embedder.embed)
    parts = Parts(engine, embedder, trained, {"library": pack}, Sampling(24), canaries={"library": (canary, candidate)})
    with store.begin() as session:
        session.add(UserRow(name="ana", password="", role="user"))
    text, heard = "How long may I keep a borrowed book?", {}
    chats = Chats(store, lambda: parts)
    for adapter in (candidate, current):
        taken = next(n for n in iter(lambda: chats.start("ana"), None) if canary.takes(n) == (adapter is candidate))
        *_, last = chats.ask("ana", taken, text, "library")
        assert isinstance(last, Done) and last.turn.voice == adapter.digest
        alone = replace(parts, packs={"library": replace(pack, adapter=adapter)}, canaries={})
        expected = ask(alone, Question(text, "library"))
        assert (last.turn.answer, last.turn.dropped, last.turn.adapter) == (
            expected.answer, expected.dropped, expected.adapter,
        )  # fmt: skip
        heard[adapter.name] = last.turn
    chats.close()
    assert "21 days" in heard["medical"].answer and "21 days" in heard["finance"].answer
    assert ask(parts, Question(text, "library")).voice == current.digest  # an exam or a command has no conversation
