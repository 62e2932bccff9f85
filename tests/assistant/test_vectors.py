"""The cache of embeddings: exact, keyed by text and model, and never a reason to fail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assistant.vectors import KEY, VectorCache
from retrieval.embedder import Vectors


class Counting:
    """An Embedder that counts how often it is asked."""

    def __init__(self, fingerprint: str = "one") -> None:
        self.fingerprint = fingerprint
        self.recipe = ""
        self.calls = 0
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        self.texts += texts
        rows = [list(hashlib.sha256(f"{self.fingerprint}{text}".encode()).digest()[:4]) for text in texts]
        return np.asarray(rows, dtype=np.float32)


def test_a_list_is_embedded_once_across_restarts(tmp_path: Path) -> None:
    first, again = Counting(), Counting()
    vectors = VectorCache(first, tmp_path / "cache")(["a", "b"])
    assert np.array_equal(VectorCache(again, tmp_path / "cache")(["a", "b"]), vectors)
    assert vectors.dtype == np.float32
    assert (first.calls, again.calls) == (1, 0)


def test_of_a_changed_list_only_what_is_new_is_embedded(tmp_path: Path) -> None:
    VectorCache(Counting(), tmp_path)(["a", "b", "c"])
    again = Counting()
    assert np.array_equal(VectorCache(again, tmp_path)(["d", "c", "a", "d"]), Counting().embed(["d", "c", "a", "d"]))
    assert again.texts == ["d"]
    reordered = Counting()
    assert np.array_equal(VectorCache(reordered, tmp_path)(["d", "b"]), Counting().embed(["d", "b"]))
    assert reordered.calls == 0


@pytest.mark.parametrize(("texts", "fingerprint"), [(["ab"], "one"), (["a", "b"], "two")])
def test_other_texts_or_another_model_are_embedded_anew(tmp_path: Path, texts: list[str], fingerprint: str) -> None:
    VectorCache(Counting(), tmp_path)(["a", "b"])
    other = Counting(fingerprint)
    assert np.array_equal(VectorCache(other, tmp_path)(texts), Counting(fingerprint).embed(texts))
    assert other.calls == 1


def test_the_same_model_with_other_settings_embeds_anew(tmp_path: Path) -> None:
    VectorCache(Counting(), tmp_path)(["a"])
    other = Counting()
    other.recipe = "first token"
    VectorCache(other, tmp_path)(["a"])
    assert other.calls == 1


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04K\x01."], ids=["empty", "garbage", "pickle"])
def test_a_damaged_file_is_computed_again_and_repaired(tmp_path: Path, content: bytes) -> None:
    embedder = Counting()
    cache = VectorCache(embedder, tmp_path)
    expected = cache(["a"])
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(content)
    assert np.array_equal(cache(["a"]), expected)
    assert np.array_equal(cache(["a"]), expected)
    assert embedder.calls == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    embedder = Counting()
    cache = VectorCache(embedder, tmp_path / "file" / "cache")
    assert np.array_equal(cache(["a"]), cache(["a"]))
    assert embedder.calls == 2


def test_nothing_but_whole_files_lies_in_the_folder(tmp_path: Path) -> None:
    cache = VectorCache(Counting(), tmp_path)
    cache(["a"])
    cache(["b"])
    assert all(np.load(path, allow_pickle=False).shape == (1, 4) for path in tmp_path.glob("*.npy"))
    assert [len(path.read_bytes()) for path in tmp_path.glob("*.keys")] == [KEY, KEY]
    assert len(list(tmp_path.iterdir())) == 4
