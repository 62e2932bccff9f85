"""Fine-tuning on a few texts: it learns, leaves the shared encoder as it is, and what is saved is what is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import encoder
from retrieval.embedder import RetrievalError, SentenceEmbedder
from retrieval.encoder import Branch, Shape, Trunk
from retrieval.finetune import Recipe, finetune

GOOD = ("I love it", "great value", "works well", "very happy", "superb", "thank you, perfect")
BAD = ("I hate it", "poor value", "broke at once", "very angry", "awful", "never again")
ROWS = [(text, "good") for text in GOOD] + [(text, "bad") for text in BAD]
DEV = [("I am delighted", "good"), ("what a disappointment", "bad")]
QUICK = Recipe(Shape(layers=1), epochs=3, batch=4)
LONG = replace(QUICK, epochs=10, learning_rate=1e-3)


def test_before_training_a_branch_embeds_as_the_shared_model_does(embedder: SentenceEmbedder) -> None:
    trunk = Trunk(embedder, 2)
    texts = ["short", "a text that is quite a bit longer than the other one"]
    vectors = Branch(trunk, ["a", "b"], Shape(layers=2)).eval().embed(trunk(texts))
    assert vectors.detach().numpy() == pytest.approx(embedder.embed(texts), abs=1e-5)


@pytest.mark.parametrize(
    "recipe",
    [LONG, replace(LONG, shape=Shape(1, rank=8)), replace(LONG, adversarial=0.1), replace(LONG, batch=2, accumulate=2)],
)
def test_it_learns_and_the_shared_model_stays_as_it_was(embedder: SentenceEmbedder, recipe: Recipe) -> None:
    before = embedder.embed(["a text"])
    odd = [(text, "odd" if place % 2 else "even") for place, (text, _) in enumerate(ROWS)]  # no meaning tells these
    _, history = finetune(embedder, odd, odd, recipe)
    assert history[-1].loss < 0.7 * history[0].loss
    assert history[0].validation_loss is not None and 0 <= (history[0].validation_accuracy or 0.0) <= 1
    assert np.array_equal(before, embedder.embed(["a text"]))


def test_the_same_seed_gives_the_same_logits(embedder: SentenceEmbedder) -> None:
    one, two = (finetune(embedder, ROWS, [], QUICK)[0].logits(["fine"]) for _ in range(2))
    assert np.array_equal(one, two)


def test_it_stops_when_nothing_improves(embedder: SentenceEmbedder) -> None:
    wrong = [(text, "bad") for text in GOOD] + [(text, "good") for text in BAD]
    _, history = finetune(embedder, ROWS, wrong, replace(QUICK, epochs=20, patience=2))
    assert len(history) < 20


def test_one_label_cannot_be_learned(embedder: SentenceEmbedder) -> None:
    with pytest.raises(RetrievalError, match="at least two labels"):
        finetune(embedder, ROWS[:6], [], QUICK)


def test_what_is_saved_is_loaded_and_whatever_changed_is_refused(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    tuned, _ = finetune(embedder, ROWS, [], replace(QUICK, shape=Shape(1, rank=4)), log=tmp_path / "curves")
    digest = tuned.save(tmp_path, {"task": "sentiment"})
    loaded = encoder.load(tmp_path, embedder)
    assert loaded.labels == tuned.labels
    assert loaded.logits(["fine"]) == pytest.approx(tuned.logits(["fine"]), abs=0.05)  # halves on disk
    assert list((tmp_path / "curves").glob("events.*"))
    card = json.loads((tmp_path / encoder.CARD).read_text())
    assert card["weights"] == digest and card["embedder"] == embedder.fingerprint
    (tmp_path / encoder.CARD).write_text(json.dumps(card | {"embedder": "0" * 64}))
    with pytest.raises(RetrievalError, match="trained on embedder 0000"):
        encoder.load(tmp_path, embedder)
    (tmp_path / encoder.CARD).write_text(json.dumps(card))
    with (tmp_path / encoder.WEIGHTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(RetrievalError, match="the card says"):
        encoder.load(tmp_path, embedder)


def test_a_folder_without_a_card_is_no_finished_classifier(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="no finished classifier"):
        encoder.load(tmp_path, embedder)
