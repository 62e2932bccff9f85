"""The judge: training teaches it, unknown answers teach nothing, and what is saved is what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.cross_encoder import save
from retrieval.embedder import RetrievalError, SentenceEmbedder
from retrieval.judge import Judge
from retrieval.judge_training import Example, Recipe, loss, train

RECIPE = Recipe(epochs=14, batch=4, learning_rate=3e-4, top_rate=1e-2, longest=48)
ALONE = [
    Example("please dig a hole in the garden", None, (True, None)),
    Example("dig up the old flower bed now", None, (True, False)),
    Example("what is the capital of France", None, (False, True)),
    Example("which river is the longest", None, (False, True)),
]
SOURCE = "A book may be kept for 21 days."
BESIDE = [
    Example(SOURCE, "One can keep a book for 21 days.", (True,)),
    Example(SOURCE, "One can keep a book for 90 days.", (False,)),
    Example(SOURCE, "Films are lent, too.", (False,)),
    Example(SOURCE, "A book is lent for 21 days.", (True,)),
]


def trained(embedder: SentenceEmbedder, examples: list[Example], asks: list[str], folder: Path) -> Judge:
    told: list[tuple[str, int, int]] = []
    changed = train(embedder, lambda _: examples, RECIPE, lambda *step: told.append(step))
    assert told[-1] == ("epoch 14", 14, 14)
    save(changed, embedder, folder / "judge.safetensors", {"asks": asks, "longest": RECIPE.longest})
    return Judge(embedder, folder / "judge.safetensors")


def test_it_learns_several_questions_about_a_text_and_takes_any_number(
    embedder: SentenceEmbedder, tmp_path: Path
) -> None:
    judge = trained(embedder, ALONE, ["order", "question"], tmp_path)
    assert judge.asks == ("order", "question")
    said = judge.log_odds([one.text for one in ALONE])
    assert said.shape == (4, 2) and ((said[:, 0] > 0) == [True, True, False, False]).all()
    assert judge.log_odds([]).shape == (0, 2)
    many = judge.log_odds([*(["short"] * 40), ALONE[0].text, "much longer " * 20])
    np.testing.assert_allclose(many[40], said[0], atol=0.2)  # in another batch, in bf16


def test_it_learns_about_pairs(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    judge = trained(embedder, BESIDE, ["support"], tmp_path)
    said = judge.log_odds([one.text for one in BESIDE], [one.other or "" for one in BESIDE])[:, 0]
    assert ((said > 0) == [True, False, False, True]).all()


def test_an_unknown_answer_teaches_nothing() -> None:
    batch = [Example("a", None, (True, None)), Example("b", None, (None, False))]
    found = torch.tensor([[0.0, 9.0], [-9.0, 0.0]])
    assert float(loss(found, batch)) == pytest.approx(np.log(2), abs=1e-6)


def test_a_changed_file_is_refused(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    trained(embedder, BESIDE, ["support"], tmp_path)
    path = tmp_path / "judge.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(RetrievalError, match="its card says"):
        Judge(embedder, path)
