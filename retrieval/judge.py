"""Answers one or more yes-or-no questions about a text, or about a pair of texts, by a copy of the shared encoder.

As for the cross-encoder, what ships are low-rank differences; the shared model itself is never changed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval.cross_encoder import changed_copy, half, outputs, read_card
from retrieval.embedder import SentenceEmbedder

BATCH = 32  # texts in one pass


class Judge:
    """A finished model; thread-safe."""

    def __init__(self, embedder: SentenceEmbedder, path: Path) -> None:
        """Read the differences at ``path`` (safetensors, its card beside it) and apply them to a copy of the model.

        Raises:
            RetrievalError: missing, changed, or made for another embedding model.
        """
        card = read_card(path, embedder.fingerprint)
        self.digest: str = card["weights"]
        self.asks: tuple[str, ...] = tuple(card["asks"])  # names of the outputs
        self.longest: int = card["longest"]  # tokens of a text, or of a pair together
        self._tokenizer: Any = embedder.tokenizer
        self.model, self.top = changed_copy(embedder, path, len(self.asks))
        self._half = half()
        self._lock = threading.Lock()  # torch gains nothing from two at once on a CPU

    @torch.no_grad()
    def log_odds(self, texts: Sequence[str], others: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Log-odds of yes for each text (with the text beside it in ``others``) and question: [n, asks]."""
        found = np.zeros((len(texts), len(self.asks)))
        lengths = [len(text) + len(others[place] if others else "") for place, text in enumerate(texts)]
        order = np.argsort(lengths, kind="stable")  # alike lengths together: less padding
        for first in range(0, len(order), BATCH):
            places = order[first : first + BATCH]
            second = None if others is None else [others[place] for place in places]
            with self._lock, torch.autocast("cpu", torch.bfloat16, enabled=self._half):
                some = outputs(
                    self.model, self.top, self._tokenizer, [texts[place] for place in places], second, self.longest
                )
            found[places] = some.double().numpy()
        return found
