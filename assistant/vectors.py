"""Keeps the embeddings of the packs' examples on disk, so that a restart does not compute them again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from retrieval.embedder import Embedder, Vectors, maker

BLOCK = 256  # texts between two words on the progress


KEY = 16  # bytes of a text's digest


class VectorCache:
    """Embeds lists of texts; each list is one file, named by its content and the embedder, beside its texts' digests.

    Of a list that is not there, only those texts are embedded that no other list has.
    """

    def __init__(
        self, embedder: Embedder, folder: Path, progress: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        """``progress`` is told how many texts of a list that was not there are embedded, and how many it has."""
        self._embedder, self._folder, self._progress = embedder, folder, progress

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Embeddings of ``texts``: [n, d]."""
        made_by = "".join(maker(self._embedder))
        keys = [hashlib.sha256(f"{made_by}\0{text}".encode()).digest()[:KEY] for text in texts]
        path = self._folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:32]}.npy"
        try:
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        except (OSError, EOFError, ValueError):  # absent or damaged: it is only a cache
            vectors = self._gather(texts, keys)
        self._save(path, lambda file: np.save(file, vectors))
        self._save(path.with_suffix(".keys"), lambda file: file.write(b"".join(keys)))
        return vectors

    def _gather(self, texts: Sequence[str], keys: Sequence[bytes]) -> Vectors:
        known = self._known(set(keys))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            known |= dict(zip(new, self._embed(list(new.values())), strict=True))
        return np.stack([known[key] for key in keys]) if keys else self._embedder.embed([])

    def _known(self, wanted: Collection[bytes]) -> dict[bytes, Vectors]:
        """Of each text that another list has, its row."""
        found: dict[bytes, Vectors] = {}
        for path in self._folder.glob("*.keys"):
            try:
                raw = path.read_bytes()
                rows = np.load(path.with_suffix(".npy"), allow_pickle=False, mmap_mode="r")
            except (OSError, EOFError, ValueError):  # being written, or damaged
                continue
            for place in range(min(len(raw) // KEY, len(rows))):
                key = raw[place * KEY : (place + 1) * KEY]
                if key in wanted and key not in found:
                    found[key] = np.array(rows[place], dtype=np.float32)
        return found

    def _embed(self, texts: Sequence[str]) -> Vectors:
        blocks = []
        for start in range(0, len(texts), BLOCK):
            blocks.append(self._embedder.embed(texts[start : start + BLOCK]))
            self._progress(min(start + BLOCK, len(texts)), len(texts))
        return np.concatenate(blocks) if blocks else self._embedder.embed([])

    def _save(self, path: Path, write: Callable[[IO[bytes]], object]) -> None:
        aside: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
            aside = Path(name)
            with os.fdopen(handle, "wb") as file:
                write(file)
            aside.replace(path)
        except OSError:  # a full disk costs time at the next start, nothing else
            if aside:
                aside.unlink(missing_ok=True)
