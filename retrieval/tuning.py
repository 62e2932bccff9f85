"""Learns from a pack's known questions how its users ask: a small map on question vectors, never on passages.

A low-rank residual, q + qAB, trained by contrast against every sentence of the index (InfoNCE, van den Oord et al.,
2018). Takes about a second for 500 questions, and leaves the index and the embedder as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, normalize

from retrieval.embedder import Vectors

RANK = 32
STEPS = 120
BATCH = 128
RATE = 2e-3
DECAY = 1.0  # of the weights, per AdamW
TEMPERATURE = 0.05
NOISE = 0.02  # added to each coordinate of a question, so that it learns directions and not points
FEWEST = 30  # questions; fewer teach nothing that holds


@dataclass(frozen=True, slots=True)
class QueryTuning:
    """What was learned: ``a`` [d, rank], ``b`` [rank, d]."""

    a: Vectors
    b: Vectors

    def __call__(self, vectors: Vectors) -> Vectors:
        """Tuned question vectors, of unit length: [..., d] to [..., d]."""
        moved = vectors + (vectors @ self.a) @ self.b
        return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True), dtype=np.float32)


def fit(questions: Vectors, targets: NDArray[np.int64], sentences: Vectors, seed: int = 0) -> QueryTuning | None:
    """Learn from questions whose answering sentence is known.

    Args:
        questions: [n, d], unit rows.
        targets: [n], the row of ``sentences`` that answers each.
        sentences: [m, d], every sentence of the index.
        seed: of the start values and batches.

    Returns:
        the map, or None when there are fewer than ``FEWEST`` questions.
    """
    if len(questions) < FEWEST:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the products are small: more threads only wait for each other
    try:
        return _descend(questions, targets, sentences, seed)
    finally:
        torch.set_num_threads(threads)


def _descend(questions: Vectors, targets: NDArray[np.int64], sentences: Vectors, seed: int) -> QueryTuning:
    chance = torch.Generator().manual_seed(seed)
    asked, right, known = torch.from_numpy(questions), torch.from_numpy(targets), torch.from_numpy(sentences)
    width = asked.shape[1]
    a = (torch.randn(width, RANK, generator=chance) * 0.02).requires_grad_()
    b = torch.zeros(RANK, width, requires_grad=True)
    optimizer = torch.optim.AdamW([a, b], lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        rows = torch.randint(len(asked), (BATCH,), generator=chance)
        noisy = asked[rows] + NOISE * torch.randn(BATCH, width, generator=chance)
        tuned = normalize(noisy + (noisy @ a) @ b, dim=1)
        loss = cross_entropy(tuned @ known.T / TEMPERATURE, right[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return QueryTuning(a.detach().numpy(), b.detach().numpy())
