"""Turns texts into unit vectors, and says which model made them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]
STRIPPED = ".,;:!?\"'()"  # what is taken from the ends of a word
SETTINGS = (  # files beside the weights that change the vectors
    "modules.json",
    "config.json",
    "*/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)


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


class Maker(NamedTuple):
    """Which embedder made vectors."""

    fingerprint: str
    recipe: str = ""  # digest of its settings beside the weights; empty: it has none, or they were not noted

    def fits(self, other: Maker) -> bool:
        """Whether the vectors of ``other`` may stand beside these."""
        return self.fingerprint == other.fingerprint and (not self.recipe or self.recipe == other.recipe)

    def __str__(self) -> str:
        return self.fingerprint[:16] + (f" with settings {self.recipe[:8]}" if self.recipe else "")


def maker(embedder: Embedder) -> Maker:
    """What an index notes of the embedder that makes it."""
    return Maker(embedder.fingerprint, getattr(embedder, "recipe", ""))


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
        self.recipe = _recipe(Path(model))  # pooling, prompts, length; apart, as the shipped heads pin the fingerprint

    @property
    def transformer(self) -> Any:
        """The encoder itself, which fine-tuning copies from and never changes."""
        first: Any = self._model[0]
        return first.model if hasattr(first, "model") else first.auto_model

    @property
    def tokenizer(self) -> Any:
        """Cuts texts into the encoder's tokens."""
        return self._model.tokenizer

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed ``texts``: [n, d], rows of unit length."""
        with self._lock:  # torch gains nothing from two encodes at once on a CPU
            rows = self._model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.ascontiguousarray(rows, dtype=np.float32)

    def parts(self, text: str) -> list[tuple[str, Vectors]]:
        """Words in order with their parts of the sentence vector, [d] each; empty where it is no mean of tokens."""
        import torch  # late, as above

        if getattr(self._model[1], "pooling_mode", None) != "mean" or not self.tokenizer.is_fast:
            return []
        longest = self._model.max_seq_length
        tokens = self.tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        inputs = {name: value.to(self._model.device) for name, value in tokens.items()}
        with self._lock, torch.no_grad():
            hidden = self.transformer(**inputs).last_hidden_state[0].cpu().numpy()
        rows = np.asarray(hidden / np.linalg.norm(hidden.sum(0)), dtype=np.float32)
        return _by_word(text, [tokens.token_to_chars(number) for number in range(len(rows))], rows)


def _by_word(text: str, spans: Sequence[Any], rows: Vectors) -> list[tuple[str, Vectors]]:
    """Tokens joined to the words between spaces that they stand in; what marks beginning and end belongs to none."""
    found = []
    for word in re.finditer(r"\S+", text):
        inside = [
            row for span, row in zip(spans, rows, strict=True) if span and word.start() <= span.start < word.end()
        ]
        if inside:
            found.append((word[0].strip(STRIPPED), np.sum(inside, axis=0)))
    return found


def _fingerprint(model: str, loaded: SentenceTransformer) -> str:
    digest = hashlib.sha256()
    weights = sorted(Path(model).rglob("*.safetensors")) if Path(model).is_dir() else []
    for path in weights:
        digest.update(path.read_bytes())
    if not weights:
        digest.update(model.encode())
        digest.update(loaded.encode(["fingerprint"], show_progress_bar=False).round(4).tobytes())
    return digest.hexdigest()


def _recipe(folder: Path) -> str:
    """Digest of the files that say how vectors are made with the weights; empty where there are none."""
    digest = hashlib.sha256()
    found = sorted(path for pattern in SETTINGS for path in folder.glob(pattern)) if folder.is_dir() else []
    for path in found:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest() if found else ""
