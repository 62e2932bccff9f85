"""The judge of sentences and the evidence gate, alone and with a cross-encoder at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant import evidence, ranking
from assistant.packs import corpus
from assistant.ranking import READ, Candidate, mixed
from domains.pack import load
from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex
from retrieval.passage import Hit

QUESTION = "How long may I keep a film?"


class Insists:
    """A cross-encoder that finds an answer only in sentences with a word."""

    digest = "0" * 64

    def __init__(self, word: str) -> None:
        self.word, self.asked = word, list[str]()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        self.asked += texts
        return np.array([30.0 if self.word in text else -30.0 for text in texts])


@pytest.fixture(scope="module")
def index(
    embedder: SentenceEmbedder, tiny_pack: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> FaissIndex:
    home = tmp_path_factory.mktemp("ranking")
    domain = load(tiny_pack(home / "library"))
    return FaissIndex(build(home / "index", corpus(domain), embedder), embedder)


@pytest.fixture
def hits(index: FaissIndex, embedder: SentenceEmbedder) -> list[Hit]:
    return index.search(QUESTION, embedder.embed([QUESTION])[0], 6)


def test_alone_the_judge_reads_nothing_and_its_odds_are_odds(index: FaissIndex, hits: list[Hit]) -> None:
    ranked = ranking.shipped().rank(QUESTION, hits, index)
    assert ranked[0].text == "A borrowed film may be kept for 7 days."
    assert all(one.read is None for one in ranked)
    assert sum(one.probability for one in ranked) == pytest.approx(1.0)
    assert [one.probability for one in ranked] == sorted((one.probability for one in ranked), reverse=True)


def test_a_cross_encoder_that_is_sure_is_heard(index: FaissIndex, hits: list[Hit]) -> None:
    reading = Insists("euros a day")
    ranked = ranking.shipped().rank(QUESTION, hits, index, reading)
    assert reading.word in ranked[0].text and ranked[0].read == 30.0
    assert len(reading.asked) == min(READ, len(ranked))
    assert reading.asked[0].startswith("Loans") and ": A borrowed" in reading.asked[0]


def test_what_was_not_read_counts_as_the_worst_of_what_was() -> None:
    scores = mixed(np.array([3.0, 2.0, 1.0]), np.array([-1.0, 4.0]), (1.0, 0.5))
    np.testing.assert_allclose(scores, [2.5, 4.0, 0.5])


def test_no_sentences_rank_as_none(index: FaissIndex) -> None:
    assert ranking.shipped().rank(QUESTION, [], index, Insists("film")) == []


def read(ranked: Sequence[Candidate]) -> list[float]:
    return [one.read for one in ranked if one.read is not None]


def test_the_gate_believes_a_cross_encoder_that_finds_an_answer_more_than_one_that_finds_none(
    index: FaissIndex, hits: list[Hit]
) -> None:
    gate = evidence.load(kind="read")
    found = read(ranking.shipped().rank(QUESTION, hits, index, Insists("film")))
    none = read(ranking.shipped().rank(QUESTION, hits, index, Insists("nowhere")))
    sure = gate.probability(evidence.features(QUESTION, hits, index, 0.0, found))
    unsure = gate.probability(evidence.features(QUESTION, hits, index, 0.0, none))
    assert sure > 0.9 > 0.2 > unsure


def test_without_hits_there_is_no_evidence(index: FaissIndex) -> None:
    row = evidence.features(QUESTION, [], index)
    assert row.shape == (len(evidence.FEATURES),) and not row.any()


@pytest.mark.parametrize(
    ("question", "sentence", "lacks"),
    [
        ("How much does it cost?", "A film costs nothing that we know of.", True),
        ("How much does it cost?", "A film costs two euros.", False),
        ("what percentage do they take", "They take a fee.", True),
        ("by when must I bring it back", "It is brought back within 14 days.", False),
        ("How much is the first book?", "The first book is free.", False),
        ("Who may borrow?", "Everybody may borrow.", False),
    ],
)
def test_a_figure_that_is_asked_for_is_looked_for(
    index: FaissIndex, hits: list[Hit], question: str, sentence: str, lacks: bool
) -> None:
    row = evidence.features(question, hits, index, likeliest=sentence)
    assert bool(row[evidence.FEATURES.index("lacks_figure")]) is lacks
    assert not evidence.features(question, hits, index)[evidence.FEATURES.index("lacks_figure")]


def test_a_card_of_other_features_is_refused(tmp_path: Path) -> None:
    card = json.loads(evidence.SHIPPED.read_text())
    (tmp_path / "evidence.json").write_text(json.dumps(card | {"features": ["colour"]}))
    with pytest.raises(ValueError, match="was trained on features \\['colour'\\]"):
        evidence.load(tmp_path / "evidence.json")
