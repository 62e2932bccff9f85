"""One generation of an index on disk: vectors in FAISS, text and words in SQLite. Never a pickle.

A generation is built in a folder aside and renamed when whole; manifest.json is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.embedder import Embedder, RetrievalError, Vectors
from retrieval.passage import Hit, Passage, sentences

Progress = Callable[[int, int], None]  # passages embedded so far, passages in all

FORMAT = 1  # raise it when the layout or the embedded text changes
CANDIDATES = 50  # taken from each ranking before they are fused
RANK_CONSTANT = 5  # of reciprocal-rank fusion (Cormack et al., SIGIR 2009, use 60); 2 to 10 did best on the packs
BATCH = 64

_SCHEMA = """
CREATE TABLE passages(row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, document TEXT NOT NULL, title TEXT NOT NULL,
    section TEXT NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, date TEXT NOT NULL, licence TEXT NOT NULL,
    sha256 TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(title, section, text, tokenize = "porter unicode61 remove_diacritics 2");
"""
_COLUMNS = "id, document, title, section, text, source, date, licence, sha256"
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    (
        "a about am an and any are as at be been but by can could did do does for from get had has have he "
        "her his how i if in into is it its me my of on or our she should so than that the their them then "
        "there they this to was we were what when where which who why will with would you your"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Generation:
    """manifest.json of a generation."""

    format: int
    corpus: str  # SHA-256 over ids, texts and sources of all passages, in order
    embedder: str  # fingerprint
    passages: int
    sentences: int
    dimensions: int

    @property
    def name(self) -> str:
        """The folder's name: the same content gives the same name."""
        return hashlib.sha256(f"{self.format}{self.corpus}{self.embedder}".encode()).hexdigest()[:16]


def corpus_digest(corpus: Iterable[Passage]) -> str:
    """SHA-256 over ids, texts, and where the texts are from, in order."""
    total = hashlib.sha256()
    for p in corpus:
        total.update("\0".join([p.id, p.heading, p.sha256, p.source, p.date, p.licence, ""]).encode())
    return total.hexdigest()


def build(parent: Path, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None = None) -> Path:
    """Build the generation of ``corpus`` under ``parent`` unless it is there already; returns its folder.

    Raises:
        RetrievalError: nothing to index, an id twice, or the disk is full. Nothing half-written stays.
    """
    if not corpus:
        raise RetrievalError("there is no passage to index")
    wanted = Generation(FORMAT, corpus_digest(corpus), embedder.fingerprint, len(corpus), 0, 0).name
    if (parent / wanted / "manifest.json").exists():
        return parent / wanted
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=parent, ignore_cleanup_errors=True) as aside:
            _write(Path(aside), corpus, embedder, progress)
            return _publish(Path(aside), parent / wanted)
    except sqlite3.IntegrityError as error:
        raise RetrievalError(f"two passages share an id: {error}") from error
    except (OSError, sqlite3.OperationalError, RuntimeError) as error:  # FAISS reports a failed write as RuntimeError
        raise RetrievalError(f"the index could not be written to {parent}: {error}; nothing was changed") from error


def _sweep(parent: Path) -> None:
    """Remove what builds that were killed left behind more than a day ago."""
    for left in parent.glob(".building-*"):
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)


def _publish(aside: Path, final: Path) -> Path:
    if final.exists() and not (final / "manifest.json").exists():
        shutil.rmtree(final, ignore_errors=True)  # not whole, and it would stand in the way for good
    try:
        aside.rename(final)
    except OSError:
        if not (final / "manifest.json").exists():  # else another process was quicker, with the same content
            raise
    return final


def _write(folder: Path, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None) -> None:
    first, texts = _sentence_table(corpus)
    whole = _embed(
        embedder, [f"{p.heading}\n{p.text}" for p in corpus], lambda n: progress and progress(n, len(corpus))
    )
    parts = _embed(embedder, texts, None)
    index = faiss.IndexFlatIP(whole.shape[1])
    index.add(whole)
    faiss.write_index(index, str(folder / "vectors.faiss"))
    np.savez(folder / "sentences.npz", first=first, vectors=parts.astype(np.float16))
    _write_text(folder / "passages.sqlite", corpus)
    manifest = Generation(
        FORMAT, corpus_digest(corpus), embedder.fingerprint, len(corpus), len(texts), int(whole.shape[1])
    )
    with (folder / "manifest.json").open("w") as file:  # last: a folder without it is a build that did not finish
        json.dump(asdict(manifest), file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _sentence_table(corpus: Sequence[Passage]) -> tuple[NDArray[np.int32], list[str]]:
    """Where each passage's sentences start in the list of all ([n + 1], the last is their number), and that list."""
    first, texts = [0], []
    for passage in corpus:
        texts += [f"{passage.title}: {passage.text[start:end]}" for start, end in sentences(passage.text)]
        first.append(len(texts))
    return np.asarray(first, dtype=np.int32), texts


def _embed(embedder: Embedder, texts: Sequence[str], report: Callable[[int], object] | None) -> Vectors:
    blocks = []
    for start in range(0, len(texts), BATCH):
        blocks.append(embedder.embed(texts[start : start + BATCH]))
        if report:
            report(min(start + BATCH, len(texts)))
    return np.concatenate(blocks)


def _write_text(path: Path, corpus: Sequence[Passage]) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(_SCHEMA)
        for row, p in enumerate(corpus):
            values = (row, p.id, p.document, p.title, p.section, p.text, p.source, p.date, p.licence, p.sha256)
            db.execute(f"INSERT INTO passages(row, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values)
            db.execute(
                "INSERT INTO words(rowid, title, section, text) VALUES (?,?,?,?)", (row, p.title, p.section, p.text)
            )
    db.close()


class FaissIndex:
    """An opened generation. Read-only, and safe for many threads."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        """Open ``folder``.

        Raises:
            RetrievalError: the folder is not whole, or another embedder made it.
        """
        self.folder = folder
        self.generation = _open_manifest(folder, embedder)
        try:
            self._vectors = faiss.read_index(str(folder / "vectors.faiss"))
            with np.load(folder / "sentences.npz", allow_pickle=False) as arrays:
                self._first = arrays["first"]
                self._sentences = arrays["vectors"].astype(np.float32)
            self._db = sqlite3.connect(
                f"file:{folder / 'passages.sqlite'}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            self._db.execute("SELECT 1 FROM passages, words LIMIT 1").fetchone()  # SQLite reads no file before it must
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, BadZipFile, sqlite3.Error) as error:
            raise RetrievalError(f"{folder} cannot be opened ({error}); delete it and run 'assistant index'") from error

    @property
    def sentences(self) -> Vectors:
        """Embeddings of all sentences, passage by passage: [m, d]."""
        vectors: Vectors = self._sentences
        return vectors

    def first_sentences(self) -> dict[str, int]:
        """The row in ``sentences`` at which each passage's own begin, by passage id."""
        return {passage.id: int(row) for passage, row in zip(self.passages(), self._first, strict=False)}

    def search(self, text: str, vector: Vectors, k: int = 5, tuned: Vectors | None = None) -> list[Hit]:
        """The ``k`` best passages for a question, best first.

        Args:
            text: the question, for the words.
            vector: the question's embedding, [d], unit length.
            k: how many.
            tuned: the embedding after ``retrieval.tuning``; it then ranks as well, and picks the sentences.
        """
        by_meaning, cosine = self._dense(vector)
        by_sentence, similarity = self._by_sentence(vector if tuned is None else tuned)
        by_words, bm25 = self._lexical(text)
        rankings = [by_meaning, by_sentence, by_words]
        if tuned is not None:
            rankings.append(self._dense(tuned)[0])
        fused = _fuse(rankings)
        best = sorted(fused, key=lambda row: (-fused[row], row))[:k]
        found = self._passages(best)
        hits = []
        for row in best:
            near = cosine[row] if row in cosine else self._cosine(row, vector)
            own = self._closest(row, similarity)
            span = sentences(found[row].text)[own.index(max(own))]
            hits.append(Hit(found[row], fused[row], near, bm25.get(row, 0.0), max(own), span, own))
        return hits

    def passages(self) -> list[Passage]:
        """Every passage, in order."""
        return [Passage(*row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM passages ORDER BY row")]

    def document_frequency(self, word: str) -> int:
        """In how many passages a word stands, after stemming."""
        row = self._db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (f'"{word}"',)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()

    def _dense(self, vector: Vectors) -> tuple[list[int], dict[int, float]]:
        scores, rows = self._vectors.search(vector[None, :], min(CANDIDATES, self.generation.passages))
        ranked = [int(row) for row in rows[0]]
        return ranked, dict(zip(ranked, map(float, scores[0]), strict=True))

    def _cosine(self, row: int, vector: Vectors) -> float:
        return float(self._vectors.reconstruct(row) @ vector)

    def _by_sentence(self, vector: Vectors) -> tuple[list[int], Vectors]:
        similarity = self._sentences @ vector
        closest = np.maximum.reduceat(similarity, self._first[:-1])
        return [int(row) for row in np.argsort(-closest, kind="stable")[:CANDIDATES]], similarity

    def _closest(self, row: int, similarity: Vectors) -> tuple[float, ...]:
        return tuple(round(float(one), 4) for one in similarity[self._first[row] : self._first[row + 1]])

    def _lexical(self, text: str) -> tuple[list[int], dict[int, float]]:
        terms = sorted({word for word in _WORD.findall(text.lower()) if word not in _STOP})
        if not terms:
            return [], {}
        query = " OR ".join(f'"{term}"' for term in terms)
        rows = self._db.execute(
            "SELECT rowid, -bm25(words, 2.0, 2.0, 1.0) FROM words WHERE words MATCH ? ORDER BY 2 DESC, 1 LIMIT ?",
            (query, CANDIDATES),
        ).fetchall()
        return [int(row) for row, _ in rows], {int(row): float(score) for row, score in rows}

    def _passages(self, rows: Sequence[int]) -> dict[int, Passage]:
        marks = ",".join("?" * len(rows))
        found = self._db.execute(f"SELECT row, {_COLUMNS} FROM passages WHERE row IN ({marks})", list(rows))
        return {int(row): Passage(*rest) for row, *rest in found}


def _open_manifest(folder: Path, embedder: Embedder) -> Generation:
    try:
        manifest = Generation(**json.loads((folder / "manifest.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise RetrievalError(f"{folder} is not a whole index generation ({error}); run 'assistant index'") from error
    if manifest.embedder != embedder.fingerprint:
        raise RetrievalError(
            f"{folder} was built with embedder {manifest.embedder[:16]}, and {embedder.fingerprint[:16]} is loaded; "
            "run 'assistant index' to build it again, or set ASSISTANT_EMBEDDER back"
        )
    return manifest


def _fuse(rankings: Iterable[Sequence[int]]) -> dict[int, float]:
    fused: dict[int, float] = {}
    for ranking in rankings:
        for place, row in enumerate(ranking):
            fused[row] = fused.get(row, 0.0) + 1.0 / (RANK_CONSTANT + place + 1)
    return fused
