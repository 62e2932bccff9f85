"""Trained detectors of attacks, harmful requests and people in danger: linear heads on embedding, words and characters.

They stand beside the patterns of screens.yaml, which say what they saw; these say how sure they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as safetensors
from scipy.sparse import csr_array, hstack
from scipy.special import expit
from sklearn.feature_extraction.text import HashingVectorizer

from retrieval.embedder import Vectors

SHIPPED = Path(__file__).parent / "heads"
CARD, WEIGHTS = "detectors.json", "detectors.safetensors"
NAMES = ("injection", "harm", "crisis")
_WORD = r"(?u)\b\w+\b"
LONGEST = 4_000  # characters that are looked at in one piece
WORDS, CHARACTERS = 2**14, 2**15  # columns that words and characters are hashed into


class DetectorError(Exception):
    """Detectors that cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Signals:
    """How likely a text is each of ``NAMES``, [0, 1], and from where each is acted upon."""

    probabilities: dict[str, float]
    thresholds: dict[str, float]

    def seen(self, name: str) -> bool:
        """Whether a detector is sure enough to act."""
        return self.probabilities[name] >= self.thresholds[name]


@dataclass(frozen=True, slots=True)
class Heads:
    """All heads over one set of features."""

    weights: NDArray[np.float32]  # [heads, columns of ``features``]
    bias: NDArray[np.float32]  # [heads]
    thresholds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Detectors:
    """What ships: heads that share their features, which are most of the work."""

    full: Heads
    words: Heads  # for an embedder that the others were not trained on
    embedder: str  # fingerprint of the one they were
    digest: str  # SHA-256 of the weights' file

    def weigh(self, texts: Sequence[str], vectors: Vectors, embedder: str) -> Signals:
        """The strongest signals over several readings of one text.

        Args:
            texts: n readings.
            vectors: [n, d], their embeddings.
            embedder: fingerprint of what embedded them.
        """
        heads = self.full if embedder == self.embedder else self.words
        rows = features(texts, vectors if heads is self.full else None)
        odds = expit(rows @ heads.weights.T + heads.bias).max(axis=0)
        return Signals(dict(zip(NAMES, map(float, odds), strict=True)), heads.thresholds)


@cache
def shipped() -> Detectors:
    """The detectors that ship, read once."""
    return load(SHIPPED)


def load(folder: Path) -> Detectors:
    """Read detectors.

    Raises:
        DetectorError: a file is missing, or the two do not belong together.
    """
    try:
        raw = (folder / WEIGHTS).read_bytes()
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DetectorError(f"{folder}: the detectors cannot be read: {error}; install the product anew") from error
    digest = hashlib.sha256(raw).hexdigest()
    if card["weights"] != digest:
        raise DetectorError(f"{folder / WEIGHTS}: found sha256 {digest}, {CARD} says {card['weights']}; install anew")
    arrays = safetensors(raw)
    full, words = (
        Heads(
            arrays[f"{name}.weights"].astype(np.float32),
            arrays[f"{name}.bias"].astype(np.float32),
            {head: card["thresholds"][name][head] for head in NAMES},
        )
        for name in ("full", "words")
    )
    return Detectors(full, words, card["embedder"], digest)


def features(texts: Sequence[str], vectors: Vectors | None) -> csr_array:
    """Hashed words and word pairs, hashed characters, and the embedding if there is one; each part of unit length.

    [n, WORDS + CHARACTERS (+ d)]
    """
    cut = [text[:LONGEST] for text in texts]
    parts = [hasher.transform(cut) for hasher in _hashers()]
    return csr_array(hstack(parts if vectors is None else [*parts, csr_array(vectors)], format="csr"))


@cache
def _hashers() -> tuple[HashingVectorizer, HashingVectorizer]:
    return (
        HashingVectorizer(n_features=WORDS, ngram_range=(1, 2), token_pattern=_WORD, dtype=np.float32),
        HashingVectorizer(n_features=CHARACTERS, analyzer="char_wb", ngram_range=(2, 5), dtype=np.float32),
    )
