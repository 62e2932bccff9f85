"""What an index holds in memory: all vectors, who may see them, and, while there are few, all sentences.

Vectors are compared one by one, as half-precision numbers: a third of the time, the same ten found (NOTES.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.embedder import Vectors
from retrieval.tables import Kept, Rows, Scope, Tables, matrix

SENTENCES_RANKED = 50_000  # above it the sentences of found passages rank, not all; 1.5 KB of memory each
BLOCK = 10_000  # passages read at a time


@dataclass(frozen=True, slots=True)
class Memory:
    """The vectors of all passages; never changed, only replaced."""

    rows: Rows  # [n], ascending
    access: NDArray[np.str_]  # [n]
    dates: NDArray[np.str_]  # [n]
    restricted: bool  # some passage belongs to a group
    vectors: Any  # a FAISS index whose ids are rows
    first: NDArray[np.int64]  # [n + 1], where each passage's sentences begin
    sentences: Vectors  # [m, d]; [0, d] when there are too many to rank

    @property
    def ranked(self) -> bool:
        """Whether all sentences are here."""
        return 0 < len(self.sentences) == int(self.first[-1])

    def allowed(self, scope: Scope) -> NDArray[np.bool_] | None:
        """Which positions a scope may see, or None for all."""
        if not scope.since and not self.restricted:
            return None
        mask = np.isin(self.access, ["", *scope.groups]) & (self.dates >= scope.since)
        return None if mask.all() else mask

    def place(self, row: int) -> int | None:
        """Where a row stands; None when it is not in memory."""
        at = int(np.searchsorted(self.rows, row))
        return at if at < len(self.rows) and self.rows[at] == row else None

    def visible(self, row: int, mask: NDArray[np.bool_] | None) -> bool:
        """Whether a row is in memory and the mask lets it through."""
        at = self.place(row)
        return at is not None and (mask is None or bool(mask[at]))

    def nearest(self, vector: Vectors, depth: int, mask: NDArray[np.bool_] | None) -> dict[int, float]:
        """Cosine of the nearest passages, best first, by row."""
        count = len(self.rows) if mask is None else int(mask.sum())
        if not count:
            return {}
        faiss.omp_set_num_threads(1)  # more bring one question nothing, and wait for each other on a busy machine
        choice = None if mask is None else _only(self.rows[mask])
        scores, found = self.vectors.search(vector[None, :], min(depth, count), params=choice)
        return {int(row): float(score) for row, score in zip(found[0], scores[0], strict=True) if row >= 0}

    def by_sentence(self, vector: Vectors, depth: int, mask: NDArray[np.bool_] | None) -> list[int]:
        """The passages whose closest sentence is nearest, best first."""
        depth = min(depth, len(self.rows) if mask is None else int(mask.sum()))
        if not depth:
            return []
        closest = np.maximum.reduceat(self.sentences @ vector, self.first[:-1])
        if mask is not None:
            closest = np.where(mask, closest, -np.inf)
        near = np.flatnonzero(closest >= np.partition(closest, -depth)[-depth])
        return [int(self.rows[at]) for at in near[np.argsort(-closest[near], kind="stable")][:depth]]

    def sentences_of(self, row: int) -> Vectors:
        """The embeddings of a row's sentences: [n, d]."""
        at = int(np.searchsorted(self.rows, row))
        return self.sentences[self.first[at] : self.first[at + 1]]


def empty(width: int) -> Memory:
    """Nothing yet, of vectors of this width."""
    none, nobody = np.zeros((0, width), np.float32), np.array([], np.str_)
    halves = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return Memory(np.zeros(0, np.int64), nobody, nobody, False, faiss.IndexIDMap(halves), np.zeros(1, np.int64), none)


def grown(old: Memory, tables: Tables, width: int) -> Memory:
    """``old`` brought up to what is in ``tables``: without the rows that are gone, with those beyond its last."""
    rows = tables.rows()
    vectors = faiss.clone_index(old.vectors)
    stay = np.isin(old.rows, rows)
    if not stay.all():
        vectors.remove_ids(faiss.IDSelectorBatch(old.rows[~stay]))
    new = [_added(block, vectors, width) for block in _blocks(tables.kept(int(old.rows[-1]) if len(old.rows) else 0))]
    access = np.concatenate([old.access[stay], *(one.access for one in new)])
    first = np.cumsum(np.concatenate([[0], np.diff(old.first)[stay], *(one.counts for one in new)])).astype(np.int64)
    few = first[-1] <= SENTENCES_RANKED and len(old.sentences) == int(old.first[-1])
    return Memory(
        rows=np.concatenate([old.rows[stay], *(one.rows for one in new)]),
        access=access,
        dates=np.concatenate([old.dates[stay], *(one.dates for one in new)]),
        restricted=bool((access != "").any()),
        vectors=vectors,
        first=first,
        sentences=_joined(old, stay, new, width) if few else np.zeros((0, width), np.float32),
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """What is kept of the passages of a block beside their vectors."""

    rows: Rows
    access: NDArray[np.str_]
    dates: NDArray[np.str_]
    counts: NDArray[np.int64]  # of sentences
    sentences: bytes


def _joined(old: Memory, stay: NDArray[np.bool_], new: Sequence[_Block], width: int) -> Vectors:
    kept = old.sentences[np.repeat(stay, np.diff(old.first))]
    return np.concatenate([kept, *(matrix(one.sentences, width) for one in new)])


def _added(block: list[Kept], vectors: Any, width: int) -> _Block:
    rows = np.array([one.row for one in block], np.int64)
    vectors.add_with_ids(np.frombuffer(b"".join(one.vector for one in block), np.float32).reshape(-1, width), rows)
    return _Block(
        rows,
        np.array([one.access for one in block], np.str_),
        np.array([one.date for one in block], np.str_),
        np.array([len(one.sentences) // (2 * width) for one in block], np.int64),
        b"".join(one.sentences for one in block),
    )


def _blocks(kept: Iterator[Kept]) -> Iterator[list[Kept]]:
    while block := list(islice(kept, BLOCK)):
        yield block


def _only(rows: Rows) -> Any:
    """Parameters that leave every other row out."""
    mask = np.zeros(int(rows[-1]) + 1, np.bool_)
    mask[rows] = True
    bits = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg,arg-type]  # the stubs
    return faiss.SearchParameters(sel=bits)  # type: ignore[call-arg]  # show the C++ signatures
