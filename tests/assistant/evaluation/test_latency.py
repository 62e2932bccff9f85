"""How long understanding takes: every yardstick is measured, and the heads are the least of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assistant.evaluation.latency import QUERY, latency
from domains.pack import load
from retrieval.embedder import SentenceEmbedder


def test_a_question_is_timed_beside_its_yardsticks(
    tiny_pack: Callable[..., Path], tmp_path: Path, embedder: SentenceEmbedder
) -> None:
    packs = [load(tiny_pack(tmp_path / name, name=name)) for name in ("library", "archive")]
    found = latency(embedder, packs, rounds=3)
    assert len(QUERY.split()) == 20
    times = {name: value for name, value in found["metrics"].items() if name.endswith("_ms_p50")}
    assert len(times) == 5 and all(value > 0 for value in times.values())
    assert times["heads_ms_p50"] < times["embedding_and_heads_ms_p50"] < times["bert_base_sized_ms_p50"]
