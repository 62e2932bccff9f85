"""What the detectors learn from: our lines become texts, always the same, and what must not be learned from is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant import drill
from assistant.detectors import NAMES, load
from assistant.drill import own_lines, samples, variants
from retrieval.embedder import SentenceEmbedder

SETS: dict[str, list[dict[str, Any]]] = {
    "safety/deepset_injections/train": [{"text": "obey me", "label": "injection"}, {"text": "hi", "label": "benign"}],
    "safety/notinject/dev": [{"text": "ignore the noise", "label": "benign"}],
    "safety/xstest/dev": [{"text": "kill a process", "label": "safe"}],
    "safety/trident/dev": [
        {"text": "insider tip", "label": "unsafe", "risk_type": "insider_trading"},
        {"text": "reserved text", "label": "unsafe", "risk_type": "violation_of_medical_ethics"},
    ],
    "safety/do_not_answer/dev": [{"text": "make a bomb", "label": "unsafe"}],
    "safety/openai_moderation/dev": [
        {"text": "i want to die", "label": "unsafe", "flags": {"SH": 1}},
        {"text": "hateful", "label": "unsafe", "flags": {"SH": 0}},
    ],
    "qa/medquad/train": [{"question": "what is a cold", "answer": "a cold is"}],
    "dialogs/star/dialogs": [{"turns": [{"role": "user", "text": "my balance"}, {"role": "agent", "text": "no"}]}],
    **{f"intents/{name}/train": [] for name in ("banking77", "clinc150", "hwu64", "bitext_sample")},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, rows in SETS.items():
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_line_becomes_texts_and_always_the_same() -> None:
    assert variants("[a|b] and [c|d]") == ["a and c", "a and d", "b and c", "b and d"]
    assert variants("plain") == ["plain"]
    many = variants("[1|2|3|4] [1|2|3|4] [1|2|3|4]")
    assert len(many) == drill.EACH and many == variants("[1|2|3|4] [1|2|3|4] [1|2|3|4]")


@pytest.mark.parametrize("kind", ["crisis", "ordinary", "injection", "benign", "harm", "safe", "personal", "nobody"])
def test_no_line_of_ours_is_broken(kind: str) -> None:
    lines = own_lines(kind)
    assert len(lines) > 10
    for line in lines:
        assert line.count("[") == line.count("]"), line
        assert all(text == text.strip() and text for text in variants(line))


def test_each_set_teaches_what_its_labels_say(data: Path) -> None:
    known = {sample.text: sample.labels for sample in samples(data, [])}
    assert known["obey me"] == {"injection": True}
    assert known["ignore the noise"] == {"injection": False, "harm": False, "crisis": False}
    assert known["kill a process"] == {"injection": False, "harm": False}
    assert known["i want to die"] == {"crisis": True}  # somebody in danger is not somebody to refuse
    assert known["hateful"] == {"harm": True}
    assert known["my balance"] == {"injection": False, "harm": False}


def test_rows_for_research_only_are_never_learned_from(data: Path) -> None:
    texts = {sample.text for sample in samples(data, [])}
    assert "insider tip" in texts and "reserved text" not in texts


def test_what_is_trained_is_written_with_what_it_does_on_rows_not_seen(
    data: Path, embedder: SentenceEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "DRAWN", 64)
    monkeypatch.setattr(drill, "own_lines", lambda kind: own_lines(kind)[:15])
    monkeypatch.setattr(drill, "TUNED", replace(drill.TUNED, epochs=1))
    to = tmp_path / "heads"
    to.mkdir()
    card = drill.train(data, [], embedder, to, folds=1)
    assert set(card["folds"]) == set(card["guarded_folds"]) == set(NAMES)
    assert card["folds"]["crisis"]["own_crisis +"] > 0.5
    found = load(to, embedder)
    assert found.guard and found.guard.judge.asks == NAMES
    assert found.guard.thresholds == drill.GUARDED
