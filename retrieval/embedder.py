"""Turns texts into unit vectors, and says which model made them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]


class RetrievalError(Exception):
    """Search cannot work as asked; the message says what to do."""


@runtime_checkable  # pydantic asks, for the langchain retriever
class Embedder(Protocol):
    """What an index needs of an embedding model."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed ``texts``: [n, d], rows of unit length."""
        ...


class SentenceEmbedder:
    """A sentence-transformers model from a local folder or a Hugging Face id."""

    def __init__(self, model: str, *, device: str = "cpu") -> None:
        """Load ``model``.

        Raises:
            RetrievalError: nothing loadable is there.
        """
        from sentence_transformers import SentenceTransformer  # seconds to import, and most commands embed nothing

        try:
            self._model = SentenceTransformer(model, device=device)
        except (OSError, ValueError) as error:
            raise RetrievalError(
                f"embedding model {model!r} cannot be loaded ({error}); "
                "run 'assistant models pull', or set ASSISTANT_EMBEDDER to a sentence-transformers folder or id"
            ) from error
        self._lock = threading.Lock()
        self.fingerprint = _fingerprint(model, self._model)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed ``texts``: [n, d], rows of unit length."""
        with self._lock:  # torch gains nothing from two encodes at once on a CPU
            rows = self._model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.ascontiguousarray(rows, dtype=np.float32)


def _fingerprint(model: str, loaded: SentenceTransformer) -> str:
    digest = hashlib.sha256()
    weights = sorted(Path(model).rglob("*.safetensors")) if Path(model).is_dir() else []
    for path in weights:
        digest.update(path.read_bytes())
    if not weights:
        digest.update(model.encode())
        digest.update(loaded.encode(["fingerprint"], show_progress_bar=False).round(4).tobytes())
    return digest.hexdigest()
