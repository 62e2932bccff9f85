"""Few answers label many texts, with the real embedding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant import cli, labelling
from retrieval.embedder import SentenceEmbedder, Vectors
from tests.assistant.test_classifier import KINDS, ROWS

TEXTS = [row.text for row in ROWS]
TRUTH = [row.label for row in ROWS]
ONE_EACH = {TRUTH.index(label): label for label in KINDS}


@pytest.fixture(scope="module")
def vectors(embedder: SentenceEmbedder) -> Vectors:
    return embedder.embed(TEXTS)


def test_clusters_hold_every_text_once_and_mostly_of_one_kind(vectors: Vectors) -> None:
    found = labelling.clusters(TEXTS, vectors, 3)
    assert sorted(place for cluster in found for place in cluster.members) == list(range(len(TEXTS)))
    kinds = [[TRUTH[place] for place in cluster.members] for cluster in found]
    assert sum(max(map(kind.count, kind)) for kind in kinds) / len(TEXTS) > 0.8
    assert any("card" in cluster.name for cluster in found) and any("pin" in cluster.name for cluster in found)


def test_one_known_text_of_each_kind_labels_the_rest(vectors: Vectors) -> None:
    labels, odds = labelling.spread(vectors, ONE_EACH)
    found = labelling.proposals(labels, odds)
    assert np.mean([label == truth for (label, _), truth in zip(found, TRUTH, strict=True)]) > 0.8
    assert odds.sum(axis=1) == pytest.approx(1.0)
    assert all(found[place] == (label, 1.0) for place, label in ONE_EACH.items())


def test_the_next_question_is_an_unsure_text_and_none_when_all_are_known(vectors: Vectors) -> None:
    _, odds = labelling.spread(vectors, ONE_EACH)
    place = labelling.next_question(vectors, odds, ONE_EACH)
    assert place is not None and place not in ONE_EACH
    assert odds[place].max() < np.median(odds.max(axis=1))
    assert labelling.next_question(vectors, odds, dict(enumerate(TRUTH))) is None


def test_a_wrong_label_is_found_and_a_clean_set_is_left_alone(vectors: Vectors) -> None:
    wrong = [*TRUTH]
    wrong[2] = "pin"
    found = labelling.doubts(vectors, wrong)
    assert (found[0].place, found[0].given, found[0].likelier) == (2, "pin", "card")
    assert len(labelling.doubts(vectors, TRUTH)) <= 2


def test_a_label_with_a_single_text_is_beyond_doubt(vectors: Vectors) -> None:
    assert labelling.doubts(vectors[:9], TRUTH[:9]) == []


def test_the_command_names_groups_asks_and_writes_what_is_sure(tmp_path: Path, models_dir: Path) -> None:
    source, to = tmp_path / "raw.csv", tmp_path / "labelled.jsonl"
    source.write_text("body\n" + "".join(f'"{text}"\n' for text in TEXTS))
    arguments = ["label", str(source), "--to", str(to), "--text", "body", "--clusters", "3", "--questions", "2"]
    result = CliRunner().invoke(
        cli.app, [*arguments, "--sure", "0.5"], input="\n" * 40,
        env={"ASSISTANT_MODELS": str(models_dir), "ASSISTANT_HOME": str(tmp_path)},
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    assert len(rows) > 18 and {row["by"] for row in rows} == {"person", "spread"}
    again = CliRunner().invoke(cli.app, arguments)
    assert again.exit_code != 0 and "is there already" in str(again.exception)
