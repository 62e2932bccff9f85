"""Keeps the embeddings of the packs' examples on disk, so that a restart does not compute them again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from retrieval.embedder import Embedder, Vectors

BLOCK = 256  # texts between two words on the progress


class VectorCache:
    """Embeds lists of texts; each list is one file, named by its content and the embedder."""

    def __init__(
        self, embedder: Embedder, folder: Path, progress: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        """``progress`` is told how many texts of a list that was not there are embedded, and how many it has."""
        self._embedder, self._folder, self._progress = embedder, folder, progress

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Embeddings of ``texts``: [n, d]."""
        digest = hashlib.sha256("\0".join([self._embedder.fingerprint, *texts]).encode()).hexdigest()
        path = self._folder / f"{digest[:32]}.npy"
        try:
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        except (OSError, EOFError, ValueError):  # absent or damaged: it is only a cache
            vectors = self._embed(texts)
        self._save(path, vectors)
        return vectors

    def _embed(self, texts: Sequence[str]) -> Vectors:
        blocks = []
        for start in range(0, len(texts), BLOCK):
            blocks.append(self._embedder.embed(texts[start : start + BLOCK]))
            self._progress(min(start + BLOCK, len(texts)), len(texts))
        return np.concatenate(blocks) if blocks else self._embedder.embed([])

    def _save(self, path: Path, vectors: Vectors) -> None:
        aside: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".npy")
            aside = Path(name)
            with os.fdopen(handle, "wb") as file:
                np.save(file, vectors)
            aside.replace(path)
        except OSError:  # a full disk costs time at the next start, nothing else
            if aside:
                aside.unlink(missing_ok=True)
