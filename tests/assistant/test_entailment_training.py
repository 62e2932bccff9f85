"""What the judge of support learns from, and that it is measured on sources it did not see."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assistant import entailment_training as training
from assistant.entailment import FEATURES, JUDGED, SHIPPED, SUPPORT
from assistant.evaluation.rows import DataError
from assistant.packs import SHIPPED as PACKS
from domains.pack import load
from retrieval.embedder import SentenceEmbedder
from retrieval.judge import Judge

MEDQUAD = {
    "answer": "Asthma is a long-term disease of the lungs. It makes the airways swell and narrow. "
    "An inhaler opens the airways within a few minutes. Asthma cannot be cured, and it can be controlled."
}
PUBMED = {
    "context": "Forty patients were treated for 12 weeks. Pain fell by half in the treated group.",
    "answer": "The treatment reduced the pain of the patients within 12 weeks.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, row in (("medquad", MEDQUAD), ("pubmedqa", PUBMED)):
        path = tmp_path / f"data/qa/{name}/train.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for _ in range(4)))
    return tmp_path / "data"


def rows(path: Path, count: int) -> Path:
    path.write_text(
        "".join(
            json.dumps({
                "question": None,
                "context": f"Room {number} holds {number + 3} people. It is on floor {number % 7}.",
                "answer": f"Room {number} holds {number + (3 if number % 2 else 9)} people.",
                "label": "supported" if number % 2 else "unsupported",
                "spans": None,
            })
            + "\n"
            for number in range(count)
        )
    )  # fmt: skip
    return path


def test_judge_and_heads_are_written_together(data: Path, embedder: SentenceEmbedder, tmp_path: Path) -> None:
    pack = load(PACKS / "customer_service", trust_code=True)
    few = replace(pack, articles=pack.articles[:6])
    recipe = replace(training.RECIPE, epochs=1)
    pairs = rows(tmp_path / "rooms.jsonl", 190)
    card = training.train([few], data, [pairs], embedder, tmp_path, recipe)
    assert card["features"] == list(FEATURES + JUDGED) and set(card["heads"]) == {"words", "judged"}
    assert "rooms" in card["heads"]["judged"]["right_by_kind"]
    judge = Judge(embedder, tmp_path / SUPPORT.name)
    assert card["support"] == judge.digest and judge.asks == ("support",)
    about = json.loads((tmp_path / SUPPORT.with_suffix(".json").name).read_text())
    assert about["pairs"][0]["file"] == "rooms.jsonl" and about["examples"] > 40
    assert json.loads((tmp_path / SHIPPED.name).read_text()) == card


def test_claims_about_one_source_stay_together(tmp_path: Path) -> None:
    path = rows(tmp_path / "rooms.jsonl", 6)
    path.write_text(path.read_text() * 2)
    found = training._outside(path, 0)
    assert [one.group for one in found] == sorted(one.group for one in found)
    assert len({one.group for one in found}) == 6 and len(found) == 12


def test_a_broken_line_is_refused(data: Path, embedder: SentenceEmbedder, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"context": "x"}\n')
    with pytest.raises(DataError, match="broken.jsonl"):
        training.train([], data, [path], embedder, tmp_path)
