"""Search over one generation: by meaning (FAISS), by sentence and by word, fused by rank.

The file is the truth; memory holds a copy of the vectors that follows it, whoever changes it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval import fusion
from retrieval.copies import distinct
from retrieval.embedder import Embedder, RetrievalError, Vectors, maker
from retrieval.fusion import WIDE, best, fuse
from retrieval.generation import TABLES, Generation, Progress, embedded, hold, read_manifest, retire
from retrieval.library import Library
from retrieval.memory import Memory, empty, grown
from retrieval.passage import Hit, Passage, sentences
from retrieval.tables import EVERYBODY, Scope, Tables, terms

CANDIDATES = 50  # taken from each ranking before they are fused


class FaissIndex:
    """An opened generation, with the documents of ``library`` beside the pack's articles. Safe for many threads."""

    def __init__(self, folder: Path, embedder: Embedder, library: Library | None = None) -> None:
        """Open ``folder``; ``sync`` then takes up what the library holds.

        Raises:
            RetrievalError: the folder is not whole, or another embedder made it.
        """
        self.folder = folder
        self._embedder, self.library = embedder, library
        self._manifest = _fitting(folder, embedder)
        self._lock = threading.RLock()
        try:
            weakref.finalize(self, os.close, hold(folder))
            self._tables = Tables(folder / TABLES)
            self._seen = self._tables.changes
            self._memory = grown(empty(self._manifest.dimensions), self._tables, self._manifest.dimensions)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise RetrievalError(f"{folder} cannot be opened ({error}); delete it and run 'assistant index'") from error

    @property
    def generation(self) -> Generation:
        """What is indexed now."""
        memory = self._following()
        revision = max(0, self._tables.revision)
        sentences = int(memory.first[-1])
        return replace(self._manifest, revision=revision, passages=len(memory.rows), sentences=sentences)

    @property
    def sentences(self) -> Vectors:
        """Embeddings of all sentences, passage by passage: [m, d]."""
        return self._following().sentences

    def first_sentences(self) -> dict[str, int]:
        """The row in ``sentences`` at which each passage's own begin, by passage id."""
        return {passage.id: int(row) for passage, row in zip(self.passages(), self._following().first, strict=False)}

    def sync(self, progress: Progress | None = None) -> None:
        """Take up what the library added, changed and deleted; embeds only what is new.

        Killed at any point, the next call goes on where this one was.

        Raises:
            RetrievalError: the disk is full, or the embedder failed. What was indexed still is.
        """
        if self.library is None or self.library.revision == self._tables.revision:
            return
        with self._lock:
            try:
                self._take_up(self.library, progress)
                retire(self.folder.parent, self.folder, self.library.numbers())
            except (OSError, sqlite3.Error, RuntimeError) as error:
                raise RetrievalError(f"{self.folder} could not be brought up to date: {error}") from error

    def search(
        self,
        text: str,
        vector: Vectors,
        k: int = 5,
        tuned: Vectors | None = None,
        scope: Scope = EVERYBODY,
        also: Sequence[str] = (),
    ) -> list[Hit]:
        """The ``k`` best passages for a question, best first; of near-copies in several documents, the newest or best.

        Args:
            text: the question, for the words.
            vector: the question's embedding, [d], unit length.
            k: how many.
            tuned: the embedding after ``retrieval.tuning``; it then ranks as well, and picks the sentences.
            scope: what the asker may see; without it, what everybody may.
            also: ids of a pack's own passages that something else ranks, best first; a ranking like the others.
        """
        memory = self._following()
        mask, picks = memory.allowed(scope), vector if tuned is None else tuned
        depth = CANDIDATES if memory.ranked else WIDE
        dense = memory.nearest(vector, depth, mask)
        bm25 = self._lexical(memory, text, None if mask is None else scope, depth)
        rankings: list[Sequence[int]] = [list(dense), list(bm25)]
        if not memory.ranked:
            rankings = [best(self._hybrid(memory, bm25, vector, dense, mask), CANDIDATES)]
        if tuned is not None:
            rankings.append(list(memory.nearest(tuned, CANDIDATES, mask)))
        rankings.append([row for row in self._tables.rows_of(also) if memory.visible(row, mask)])
        rankings.append(self._by_sentence(memory, picks, mask, sorted({row for one in rankings for row in one})))
        fused = fuse(rankings)
        found = distinct(best(fused, len(fused)), k, self._alive)
        cosine = dense | self._cosine([row for row in found if row not in dense], vector)
        similar = self._similar(memory, list(found), picks)
        hits = []
        for row in (row for row in found if row in cosine.keys() & similar.keys()):
            own = tuple(round(float(one), 4) for one in similar[row])
            span = sentences(found[row].text)[own.index(max(own))]
            hits.append(Hit(found[row], fused[row], cosine[row], bm25.get(row, 0.0), max(own), span, own))
        return hits

    def lexical(self, text: str, depth: int) -> list[int]:
        """The rows of the public passages that share words with a text, best first."""
        memory = self._following()
        return list(self._lexical(memory, text, EVERYBODY if memory.restricted else None, depth))

    def dense(self, vector: Vectors, depth: int) -> list[int]:
        """The rows of the public passages that are nearest to a vector, best first."""
        memory = self._following()
        return list(memory.nearest(vector, depth, memory.allowed(EVERYBODY)))

    def hybrid(self, text: str, vector: Vectors, scope: Scope = EVERYBODY) -> dict[int, float]:
        """Scores of passages by words and meaning together, by row, as ``retrieval.fusion`` explains."""
        memory = self._following()
        mask = memory.allowed(scope)
        words = self._lexical(memory, text, None if mask is None else scope, WIDE)
        return self._hybrid(memory, words, vector, memory.nearest(vector, WIDE, mask), mask)

    def documents(self) -> dict[int, str]:
        """The document of every row."""
        return {row: passage.document for row, (_, passage) in self._tables.passages().items()}

    def passages(self) -> list[Passage]:
        """Every passage, in order."""
        return [passage for _, passage in self._tables.passages().values()]

    def named(self, ids: Collection[str]) -> dict[str, Passage]:
        """The passages with these ids as they are now: a pack's own, and the library's, which may be ahead of us."""
        own = [passage for _, passage in self._tables.passages(self._tables.rows_of(list(ids))).values()]
        return {one.id: one for one in [*own, *(self.library.named(ids) if self.library else ())]}

    def pieces(self) -> set[int]:
        """The numbers that the library gave to the documents' passages."""
        return set(self._tables.pieces())

    def document_frequency(self, word: str) -> int:
        """In how many passages a word stands, after stemming."""
        return self._tables.document_frequency(word)

    def faults(self) -> list[str]:
        """What is wrong with the index, and with its agreement with the library; nothing when all is well."""
        faults = self._tables.faults()
        held, rows = set(map(int, self._following().rows)), set(map(int, self._tables.rows()))
        faults += [f"row {row} is in memory and not on disk, or the other way round" for row in sorted(held ^ rows)]
        there = self.library.numbers() if self.library else set()
        here = self.pieces()
        faults += [f"passage {piece} was deleted and is still indexed" for piece in sorted(here - there)]
        return faults + [f"passage {piece} is not indexed yet" for piece in sorted(there - here)]

    def close(self) -> None:
        """Let go of the files."""
        self._tables.close()

    def _take_up(self, library: Library, progress: Progress | None) -> None:
        tables, revision = self._tables, library.revision
        wanted, have = library.numbers(), tables.pieces()
        gone = {piece: have[piece] for piece in have.keys() - wanted}
        replaced = {entry.id for entry in library.entries()}
        tables.remove([row for row, document in gone.values() if document not in replaced])
        for block in embedded(library.pieces(sorted(wanted - have.keys())), self._embedder, tables.known, progress):
            tables.add(block)
        tables.remove([row for row, document in gone.values() if document in replaced])  # once the new text is there
        if tables.pieces().keys() == wanted:  # else the library changed meanwhile: the next call goes on
            tables.sweep(revision)

    def _following(self) -> Memory:
        """The memory, brought up to what is on disk."""
        changes = self._tables.changes
        if changes == self._seen:
            return self._memory
        with self._lock:
            self._memory = grown(self._memory, self._tables, self._manifest.dimensions)
            self._seen = changes
            return self._memory

    def _lexical(self, memory: Memory, text: str, scope: Scope | None, depth: int) -> dict[int, float]:
        """BM25 of the passages that share words with the question, best first, by row."""
        found = self._tables.lexical(terms(text), depth, scope)
        return {row: score for row, score in found.items() if memory.place(row) is not None}

    def _hybrid(
        self,
        memory: Memory,
        words: Mapping[int, float],
        vector: Vectors,
        near: Mapping[int, float],
        mask: NDArray[np.bool_] | None,
    ) -> dict[int, float]:
        return fusion.hybrid(vector, words, near, lambda moved: memory.nearest(moved, WIDE, mask), self._tables.vectors)

    def _by_sentence(
        self, memory: Memory, vector: Vectors, mask: NDArray[np.bool_] | None, found: Sequence[int]
    ) -> list[int]:
        """Passages by their closest sentence, best first: all of them, or those ``found`` where they are too many."""
        if memory.ranked:
            return memory.by_sentence(vector, CANDIDATES, mask)
        closest = {row: float(own.max()) for row, own in self._similar(memory, found, vector).items() if len(own)}
        return sorted(closest, key=lambda row: (-closest[row], row))[:CANDIDATES]

    def _similar(self, memory: Memory, rows: Sequence[int], vector: Vectors) -> dict[int, Vectors]:
        """Similarity to each sentence of these passages, in order."""
        if memory.ranked:
            return {row: memory.sentences_of(row) @ vector for row in rows}
        return {row: own @ vector for row, own in self._tables.sentences(rows, self._manifest.dimensions).items()}

    def _cosine(self, rows: Sequence[int], vector: Vectors) -> dict[int, float]:
        return {row: float(own @ vector) for row, own in self._tables.vectors(rows).items()}

    def _alive(self, rows: Sequence[int]) -> dict[int, Passage]:
        """The passages in these rows, without those that the library has deleted since the index followed it."""
        found = self._tables.passages(rows)
        pieces = [piece for piece, _ in found.values() if piece is not None]
        alive: set[int] = set()
        if pieces and self.library:
            alive = {piece for piece, _ in self.library.pieces(pieces)}
        return {row: passage for row, (piece, passage) in found.items() if piece is None or piece in alive}


def _fitting(folder: Path, embedder: Embedder) -> Generation:
    manifest = read_manifest(folder)
    if not manifest.maker.fits(maker(embedder)):
        raise RetrievalError(
            f"{folder} was built with embedder {manifest.maker}, and {maker(embedder)} is loaded; "
            "run 'assistant index rebuild' to build it again, or set ASSISTANT_EMBEDDER back"
        )
    return manifest
