"""Trained detectors of attacks, harmful requests and people in danger.

Linear heads on embedding, words and characters, and a guard: a copy of the encoder that was tuned to tell what only
sounds dangerous. Their log-odds are added. They stand beside the patterns of screens.yaml, which say what they saw;
these say how sure they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as safetensors
from scipy.sparse import csr_array, hstack
from scipy.special import expit
from sklearn.feature_extraction.text import HashingVectorizer

from retrieval.embedder import RetrievalError, SentenceEmbedder, Vectors

if TYPE_CHECKING:
    from retrieval.judge import Judge

SHIPPED = Path(__file__).parent / "heads"
CARD, WEIGHTS = "detectors.json", "detectors.safetensors"
GUARD = "guard.safetensors"
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
class Guard:
    """The tuned encoder, which answers for each of ``NAMES``, and the thresholds of both together."""

    judge: Judge
    thresholds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Detectors:
    """What ships: heads that share their features, which are most of the work, and the guard."""

    full: Heads
    words: Heads  # for an embedder that the others were not trained on
    embedder: str  # fingerprint of the one they were
    digest: str  # SHA-256 of the weights' file, with the guard's where there is one
    guard: Guard | None = None

    def weigh(self, texts: Sequence[str], vectors: Vectors, embedder: str) -> Signals:
        """The strongest signals over several readings of one text.

        Args:
            texts: n readings.
            vectors: [n, d], their embeddings.
            embedder: fingerprint of what embedded them.
        """
        heads, guard = (self.full, self.guard) if embedder == self.embedder else (self.words, None)
        rows = features(texts, vectors if heads is self.full else None)
        odds = np.asarray(rows @ heads.weights.T + heads.bias, dtype=np.float64)
        if guard:
            odds += guard.judge.log_odds([text[:LONGEST] for text in texts])
        likely = expit(odds).max(axis=0)
        thresholds = guard.thresholds if guard else heads.thresholds
        return Signals(dict(zip(NAMES, map(float, likely), strict=True)), thresholds)


@cache
def shipped(embedder: SentenceEmbedder | None = None) -> Detectors:
    """The detectors that ship, read once for an embedder; without one, without the guard."""
    return load(SHIPPED, embedder)


def load(folder: Path, embedder: SentenceEmbedder | None = None) -> Detectors:
    """Read detectors.

    Args:
        folder: holds the files.
        embedder: the shared encoder, of which the guard is a copy, if it was made for this one.

    Raises:
        DetectorError: a file is missing, or they do not belong together.
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
    guard = None
    if embedder and embedder.fingerprint == card["embedder"]:
        from retrieval.judge import Judge  # late: torch, which most commands do without

        try:
            guard = Guard(Judge(embedder, folder / GUARD), card["thresholds"]["guarded"])
        except RetrievalError as error:
            raise DetectorError(f"the guard cannot be read: {error}") from error
        if (found := guard.judge.digest) != card["guard"]:
            raise DetectorError(f"{folder / GUARD}: found sha256 {found}, {CARD} says {card['guard']}; install anew")
        digest = hashlib.sha256(f"{digest}{found}".encode()).hexdigest()
    return Detectors(full, words, card["embedder"], digest, guard)


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
