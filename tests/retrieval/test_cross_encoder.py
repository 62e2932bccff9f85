"""The cross-encoder: what is saved is what was trained, what was changed is refused, and training teaches."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retrieval.cross_encoder import CrossEncoder, differences, forward, save
from retrieval.cross_training import Case, Recipe, loss, train
from retrieval.embedder import RetrievalError, SentenceEmbedder

TEXTS = ("Loans: A book may be kept for 21 days.", "Fees: A late book costs 0.25 euros a day.", "Rooms: Book online.")
CASES = [
    Case("how long can i have it", TEXTS, (0,)),
    Case("what is the fine", TEXTS, (1,)),
    Case("where do i reserve a room", TEXTS, (2,)),
    Case("who founded the library", TEXTS),
]


def changed(embedder: SentenceEmbedder, rank: int) -> tuple[dict[str, Tensor], Any, nn.Linear]:
    """The differences of a model with one matrix and one bias moved, with the model and its top."""
    model = copy.deepcopy(embedder.transformer).eval()
    torch.manual_seed(0)
    top = nn.Linear(384, 1)
    with torch.no_grad():
        query = model.encoder.layer[2].attention.self.query
        query.weight += torch.randn(384, 4) @ torch.randn(4, 384) * 0.02
        query.bias += 0.1
    return differences(embedder.transformer.state_dict(), model.state_dict(), top, rank), model, top


@pytest.fixture(scope="module")
def saved(embedder: SentenceEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "cross_encoder.safetensors"
    save(changed(embedder, 4)[0], embedder, path, {"note": "a test"})
    return path


def test_what_is_saved_is_what_was_trained(embedder: SentenceEmbedder, saved: Path) -> None:
    _, model, top = changed(embedder, 4)
    with torch.no_grad():
        wanted = forward(model, top, embedder.tokenizer, ["how long may I keep it"] * 3, TEXTS).numpy()
    found = CrossEncoder(embedder, saved).score("how long may I keep it", TEXTS)
    np.testing.assert_allclose(found, wanted, atol=0.02)  # half precision on disk, and where the CPU has it, in bf16


def test_only_what_changed_is_kept(embedder: SentenceEmbedder) -> None:
    found = changed(embedder, 4)[0]
    name = "encoder.layer.2.attention.self.query"
    assert set(found) == {"score.weight", "score.bias", f"{name}.weight.left", f"{name}.weight.right", f"{name}.bias"}
    assert tuple(found[f"{name}.weight.left"].shape) == (384, 4)


def test_the_shared_model_stays_as_it_is(embedder: SentenceEmbedder, saved: Path) -> None:
    before = embedder.embed(["How long may I keep a book?"])
    CrossEncoder(embedder, saved)
    np.testing.assert_array_equal(embedder.embed(["How long may I keep a book?"]), before)


def test_nothing_to_read_gives_nothing(embedder: SentenceEmbedder, saved: Path) -> None:
    assert CrossEncoder(embedder, saved).score("how long", []).shape == (0,)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("weights", "0" * 64, "its card says 0000"), ("embedder", "f" * 64, "made for embedder ffff")],
)
def test_another_model_or_a_changed_file_is_refused(
    embedder: SentenceEmbedder, saved: Path, tmp_path: Path, key: str, value: str, reason: str
) -> None:
    path = tmp_path / saved.name
    path.write_bytes(saved.read_bytes())
    card = json.loads(saved.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {key: value}))
    with pytest.raises(RetrievalError, match=reason):
        CrossEncoder(embedder, path)


def test_a_missing_file_is_refused(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="no finished model"):
        CrossEncoder(embedder, tmp_path / "cross_encoder.safetensors")


def test_the_loss_is_that_of_a_choice_with_none_of_them_as_one_more() -> None:
    scores = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0])
    batch = [Case("a", ("x", "y", "z"), (0, 2)), Case("b", ("x", "y"))]
    first = np.log((np.e + np.e**2) / (np.e + 1 + np.e**2 + 1))
    assert float(loss(scores, batch)) == pytest.approx(-(first + np.log(1 / 3)) / 2, abs=1e-6)


def test_training_teaches_which_text_answers_and_when_none_does(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    recipe = Recipe(epochs=12, batch=4, learning_rate=3e-4, head_rate=1e-2, warmup=2, dropout=0.0)
    found = train(embedder, lambda _: CASES, recipe, lambda *step: told.append(step))
    save(found, embedder, tmp_path / "cross_encoder.safetensors", {})
    reading = CrossEncoder(embedder, tmp_path / "cross_encoder.safetensors")
    for case in CASES:
        scores = [*reading.score(case.question, case.texts), 0.0]
        assert int(np.argmax(scores)) == (case.right[0] if case.right else 3), case.question
    assert told[-1] == ("epoch 12", 12, 12)
