"""The embedder's contract: unit rows, stable fingerprints, and a clear word when a model is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from assistant import models
from retrieval.embedder import RetrievalError, SentenceEmbedder, maker


def test_rows_are_float32_and_of_unit_length(embedder: SentenceEmbedder) -> None:
    rows = embedder.embed(["A short text.", "Another, somewhat longer text about a parcel.", ""])
    assert rows.dtype == np.float32 and rows.shape == (3, 384) and rows.flags.c_contiguous
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_text_embeds_the_same_alone_and_in_a_batch(embedder: SentenceEmbedder) -> None:
    texts = ["Where is my parcel?", "x " * 200, "How much is the late fee?"]
    together = embedder.embed(texts)
    alone = np.vstack([embedder.embed([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


def test_a_paraphrase_is_closer_than_another_subject(embedder: SentenceEmbedder) -> None:
    question, paraphrase, other = embedder.embed(
        ["How long may I keep a borrowed book?", "What is the loan period of a book?", "My head hurts since Monday."]
    )
    assert question @ paraphrase > question @ other + 0.3


def test_the_fingerprint_follows_the_weights_and_not_the_folder(
    embedder: SentenceEmbedder, models_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(models_dir / models.EMBEDDER.name, copy)
    assert SentenceEmbedder(str(copy)).fingerprint == embedder.fingerprint
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert SentenceEmbedder(str(copy)).fingerprint != embedder.fingerprint


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("1_Pooling/config.json", '"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'),
        ("sentence_bert_config.json", "256", "16"),
        ("modules.json", "2_Normalize", "./2_Normalize"),
        ("config_sentence_transformers.json", "{", '{"prompts": {"query": "search: "},'),
    ],
)
def test_the_recipe_follows_the_settings_that_the_fingerprint_does_not_see(
    embedder: SentenceEmbedder, models_dir: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(models_dir / models.EMBEDDER.name, copy)
    assert maker(SentenceEmbedder(str(copy))) == maker(embedder)
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1))
    changed = SentenceEmbedder(str(copy))
    assert changed.fingerprint == embedder.fingerprint and changed.recipe != embedder.recipe != ""
    assert not maker(embedder).fits(maker(changed))


def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError) as caught:
        SentenceEmbedder(str(tmp_path / "absent"))
    assert f"embedding model {str(tmp_path / 'absent')!r} cannot be loaded" in str(caught.value)
    assert "run 'assistant models pull', or set ASSISTANT_EMBEDDER" in str(caught.value)
