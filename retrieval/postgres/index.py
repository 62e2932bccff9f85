"""Search over one generation in PostgreSQL, ranked as ``retrieval.index`` ranks: by meaning, by sentence and by word.

The server does the work and holds all vectors; nothing is kept in memory, so every machine sees a change at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from retrieval.copies import distinct
from retrieval.embedder import Embedder, RetrievalError, Vectors
from retrieval.fusion import WIDE, best, fuse, hybrid
from retrieval.generation import Generation, Progress, embedded
from retrieval.index import CANDIDATES
from retrieval.library import FIELDS
from retrieval.memory import SENTENCES_RANKED
from retrieval.passage import Hit, Passage, sentences
from retrieval.postgres.documents import PostgresDocuments, vacuum
from retrieval.postgres.generations import Made, add, known, stems
from retrieval.tables import EVERYBODY, Scope, terms

K1, B = 1.2, 0.75  # of BM25, as SQLite has them
ALIVE = "(p.piece IS NULL OR EXISTS (SELECT 1 FROM knowledge_pieces k WHERE k.piece = p.piece))"
Values = dict[str, Any]


class PostgresIndex:
    """An opened generation, with the documents of ``library`` beside the pack's articles. Safe for many threads."""

    def __init__(
        self, engine: Engine, made: Made, folder: Path, embedder: Embedder, library: PostgresDocuments
    ) -> None:
        """Hold the generation, so that no other server drops it while this one reads."""
        self.folder, self.library = folder, library
        self._engine, self._made, self._embedder = engine, made, embedder
        key = made.key
        self._passages, self._sentences, self._words = f"passages_{key}", f"sentences_{key}", f"words_{key}"
        self._hold = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._hold.exec_driver_sql("SELECT pg_advisory_lock_shared(%s)", (made.lock,))
        weakref.finalize(self, self._hold.invalidate)  # closed, and not given back to the pool with its lock

    @property
    def generation(self) -> Generation:
        """What is indexed now."""
        query = (
            f"SELECT (SELECT count(*) FROM {self._passages}), (SELECT count(*) FROM {self._sentences}), "
            "(SELECT revision FROM knowledge_generations WHERE key = %(key)s)"
        )
        ((passages, count, revision),) = self._rows(query, {"key": self._made.key})
        return replace(self._made.generation, passages=passages, sentences=count, revision=revision)

    @property
    def sentences(self) -> Vectors:
        """Embeddings of all sentences, passage by passage: [m, d]."""
        rows = self._rows(f"SELECT vector FROM {self._sentences} ORDER BY row, place")
        width = self._made.generation.dimensions
        return np.array([row[0].to_numpy() for row in rows], np.float32).reshape(-1, width)

    def first_sentences(self) -> dict[str, int]:
        """The row in ``sentences`` at which each passage's own begin, by passage id."""
        rows = self._rows(
            f"SELECT p.id, count(s.place) FROM {self._passages} p LEFT JOIN {self._sentences} s USING (row) "
            "GROUP BY p.row, p.id ORDER BY p.row"
        )
        begins = np.cumsum([0, *(count for _, count in rows)])
        return {name: int(begin) for (name, _), begin in zip(rows, begins, strict=False)}

    def sync(self, progress: Progress | None = None) -> None:
        """Take up what the library added, changed and deleted; embeds only what is new.

        Raises:
            RetrievalError: the server or the embedder failed. What was indexed still is.
        """
        revision = self.library.revision
        done = self._rows("SELECT revision FROM knowledge_generations WHERE key = %(key)s", {"key": self._made.key})
        if done and done[0][0] == revision:
            return
        try:
            self._take_up(revision, progress)
        except (SQLAlchemyError, RuntimeError) as error:
            raise RetrievalError(f"the index {self._made.key} could not be brought up to date: {error}") from error

    def search(
        self,
        text: str,
        vector: Vectors,
        k: int = 5,
        tuned: Vectors | None = None,
        scope: Scope = EVERYBODY,
        also: Sequence[str] = (),
    ) -> list[Hit]:
        """The ``k`` best passages for a question, best first; arguments as in ``retrieval.index``."""
        picks = vector if tuned is None else tuned
        values: Values = {"groups": ["", *sorted(scope.groups)], "since": scope.since, "n": CANDIDATES}
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as db:
            db.exec_driver_sql("SET LOCAL hnsw.ef_search = 200")
            db.exec_driver_sql("SET LOCAL hnsw.iterative_scan = strict_order")  # else a filter leaves too few
            dense = self._dense(db, vector, values)
            bm25 = self._lexical(db, text, values)
            rankings = [list(dense), list(bm25)]
            many = self._many(db)
            if many:
                rankings = [best(self._hybrid(db, text, vector, values), CANDIDATES)]
            if tuned is not None:
                rankings.append(list(self._dense(db, tuned, values)))
            rankings.append(self._own(db, also, values))
            candidates = sorted({row for one in rankings for row in one})
            rankings.append(self._by_sentence(db, picks, values, candidates if many else None))
            fused = fuse(rankings)
            found = distinct(best(fused, len(fused)), k, lambda rows: self._alive(db, rows))
            cosine = self._cosine(db, list(found), vector)
            similar = self._similar(db, list(found), picks)
        hits = []
        for row in found:
            own = similar[row]
            span = sentences(found[row].text)[own.index(max(own))]
            hits.append(Hit(found[row], fused[row], cosine[row], bm25.get(row, 0.0), max(own), span, own))
        return hits

    def passages(self) -> list[Passage]:
        """Every passage, in order."""
        return [Passage(*row) for row in self._rows(f"SELECT {FIELDS} FROM {self._passages} ORDER BY row")]

    def named(self, ids: Collection[str]) -> dict[str, Passage]:
        """The passages with these ids as they are now: a pack's own, and the library's, which may be ahead of us."""
        query = f"SELECT {FIELDS} FROM {self._passages} WHERE piece IS NULL AND id = ANY(%(ids)s)"
        own = [Passage(*row) for row in self._rows(query, {"ids": list(ids)})]
        return {one.id: one for one in [*own, *self.library.named(ids)]}

    def pieces(self) -> set[int]:
        """The numbers that the library gave to the documents' passages."""
        return {int(row[0]) for row in self._rows(f"SELECT piece FROM {self._passages} WHERE piece IS NOT NULL")}

    def document_frequency(self, word: str) -> int:
        """In how many passages a word stands, after stemming."""
        parts = sorted(set(stems(word)))
        query = (
            f"SELECT count(*) FROM (SELECT row FROM {self._words} WHERE word = ANY(%(parts)s) GROUP BY row "
            "HAVING count(*) = %(count)s) AS found"
        )
        return int(self._rows(query, {"parts": parts, "count": len(parts)})[0][0])

    def faults(self) -> list[str]:
        """What is wrong with the index, and with its agreement with the library; nothing when all is well."""
        bare = self._rows(
            f"SELECT row FROM {self._passages} p WHERE NOT EXISTS (SELECT 1 FROM {self._words} w WHERE w.row = p.row) "
            "ORDER BY row"
        )
        there, here = self.library.numbers(), self.pieces()
        return [
            *(f"row {row} has a passage and no words" for (row,) in bare),
            *(f"passage {piece} was deleted and is still indexed" for piece in sorted(here - there)),
            *(f"passage {piece} is not indexed yet" for piece in sorted(there - here)),
        ]

    def close(self) -> None:
        """Let other servers drop the generation."""
        self._hold.invalidate()

    def _take_up(self, revision: int, progress: Progress | None) -> None:
        query = f"SELECT piece, document FROM {self._passages} WHERE piece IS NOT NULL"
        have = {int(piece): str(document) for piece, document in self._rows(query)}
        wanted = self.library.numbers()
        replaced = {entry.id for entry in self.library.entries()}
        gone = have.keys() - wanted
        self._remove([piece for piece in gone if have[piece] not in replaced])
        new = self.library.pieces(sorted(wanted - have.keys()))
        with self._engine.connect() as before:
            for block in embedded(new, self._embedder, known(before, [self._made.key]), progress):
                with self._engine.begin() as db:
                    add(db, self._made.key, block)
        self._remove([piece for piece in gone if have[piece] in replaced])  # once the new text is there
        if gone:
            vacuum(self._engine, self._passages, self._sentences, self._words)
        if self.pieces() == wanted:  # else the library changed meanwhile: the next call goes on
            with self._engine.begin() as db:
                query = "UPDATE knowledge_generations SET revision = %s WHERE key = %s"
                db.exec_driver_sql(query, (revision, self._made.key))

    def _remove(self, pieces: Sequence[int]) -> None:
        if pieces:
            with self._engine.begin() as db:
                db.exec_driver_sql(f"DELETE FROM {self._passages} WHERE piece = ANY(%s)", (list(pieces),))

    def _dense(self, db: Connection, vector: Vectors, values: Values) -> dict[int, float]:
        query = (
            f"SELECT row, -(vector <#> %(v)s) FROM {self._passages} WHERE access = ANY(%(groups)s) "
            "AND date >= %(since)s ORDER BY vector <#> %(v)s LIMIT %(n)s"
        )
        return _scores(db, query, {**values, "v": vector})

    def _many(self, db: Connection) -> bool:
        """Whether the sentences are too many to rank."""
        size = db.exec_driver_sql("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", (self._sentences,))
        return bool(size.scalar_one() > SENTENCES_RANKED)

    def _hybrid(self, db: Connection, text: str, vector: Vectors, values: Values) -> dict[int, float]:
        wide = {**values, "n": WIDE}

        def vectors(rows: Sequence[int]) -> dict[int, Vectors]:
            query = f"SELECT row, vector FROM {self._passages} WHERE row = ANY(%s)"
            return {int(row): own.to_numpy() for row, own in db.exec_driver_sql(query, (list(rows),))}

        near = self._dense(db, vector, wide)
        return hybrid(vector, self._lexical(db, text, wide), near, lambda moved: self._dense(db, moved, wide), vectors)

    def _by_sentence(self, db: Connection, vector: Vectors, values: Values, found: Sequence[int] | None) -> list[int]:
        """Passages by their closest sentence, best first: all of them, or those ``found`` where they are too many."""
        only = "" if found is None else "AND row = ANY(%(found)s)"
        query = (
            f"SELECT row, max(-(s.vector <#> %(v)s)) FROM {self._sentences} s JOIN {self._passages} p USING (row) "
            f"WHERE access = ANY(%(groups)s) AND date >= %(since)s {only} GROUP BY row ORDER BY 2 DESC, 1 LIMIT %(n)s"
        )
        return list(_scores(db, query, {**values, "v": vector, "found": list(found or ())}))

    def _lexical(self, db: Connection, text: str, values: Values) -> dict[int, float]:
        """BM25 of the passages that share words with the question, best first, by row."""
        query = f"""
            WITH size AS (SELECT count(*) AS n, avg(length) AS mean FROM {self._passages}),
            rare AS (SELECT word, greatest(ln((n - count(*) + 0.5) / (count(*) + 0.5)), 1e-6) AS idf
                FROM {self._words}, size WHERE word = ANY(%(words)s) GROUP BY word, n)
            SELECT row, sum(idf * weight * {K1 + 1} / (weight + {K1} * ({1 - B} + {B} * length / mean)))
            FROM {self._words} JOIN rare USING (word) JOIN {self._passages} p USING (row), size
            WHERE access = ANY(%(groups)s) AND date >= %(since)s
            GROUP BY row ORDER BY 2 DESC, 1 LIMIT %(n)s"""
        words = sorted({stem for word in terms(text) for stem in stems(word)})
        return _scores(db, query, {**values, "words": words})

    def _own(self, db: Connection, ids: Sequence[str], values: Values) -> list[int]:
        """The rows of a pack's own passages that may be seen, in the order of ``ids``."""
        query = (
            f"SELECT id, row FROM {self._passages} WHERE piece IS NULL AND id = ANY(%(ids)s) "
            "AND access = ANY(%(groups)s) AND date >= %(since)s"
        )
        rows = {str(name): int(row) for name, row in db.exec_driver_sql(query, {**values, "ids": list(ids)})}
        return [rows[name] for name in ids if name in rows]

    def _alive(self, db: Connection, rows: Sequence[int]) -> dict[int, Passage]:
        """The passages in these rows, without those that the library has deleted since the index followed it."""
        query = f"SELECT p.row, {FIELDS} FROM {self._passages} p WHERE p.row = ANY(%s) AND {ALIVE}"
        return {int(row): Passage(*rest) for row, *rest in db.exec_driver_sql(query, (list(rows),))}

    def _cosine(self, db: Connection, rows: Sequence[int], vector: Vectors) -> dict[int, float]:
        query = f"SELECT row, -(vector <#> %(v)s) FROM {self._passages} WHERE row = ANY(%(rows)s)"
        return _scores(db, query, {"v": vector, "rows": list(rows)})

    def _similar(self, db: Connection, rows: Sequence[int], vector: Vectors) -> dict[int, tuple[float, ...]]:
        """Similarity to each sentence of these passages, in order."""
        query = f"SELECT row, -(vector <#> %(v)s) FROM {self._sentences} WHERE row = ANY(%(rows)s) ORDER BY row, place"
        found: dict[int, tuple[float, ...]] = {}
        for row, score in db.exec_driver_sql(query, {"v": vector, "rows": list(rows)}):
            found[int(row)] = (*found.get(int(row), ()), round(float(score), 4))
        return found

    def _rows(self, query: str, values: Values | None = None) -> list[tuple[Any, ...]]:
        with self._engine.connect() as db:
            return [tuple(row) for row in db.exec_driver_sql(query, values or {})]


def _scores(db: Connection, query: str, values: Values) -> dict[int, float]:
    return {int(row): float(score) for row, score in db.exec_driver_sql(query, values)}
