"""One generation of an index on disk: a folder with a manifest and one SQLite file. Never a pickle.

A generation is built in a folder aside and renamed when whole; manifest.json is written last.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from retrieval.embedder import Embedder, Maker, RetrievalError, maker
from retrieval.passage import MAX_WORDS, Passage, sentences
from retrieval.tables import Embedded, Tables

Progress = Callable[[int, int], None]  # passages embedded so far, passages in all
Known = Callable[[bytes], tuple[bytes, bytes] | None]  # what was embedded before, by the digest of its text

FORMAT = 2  # raise it when the layout or the embedded text changes
MANIFEST, TABLES = "manifest.json", "index.sqlite"
BATCH = 64


@dataclass(frozen=True, slots=True)
class Generation:
    """manifest.json of a generation; ``passages`` and ``sentences`` are counted as they are now."""

    format: int
    corpus: str  # SHA-256 over ids, texts and sources of the pack's passages, in order
    embedder: str  # fingerprint
    passages: int
    sentences: int
    dimensions: int
    max_words: int = MAX_WORDS  # of a passage
    by_sentence: bool = True  # whether sentences were embedded too, which takes most of the time
    revision: int = 0  # of the documents beside the pack's articles
    recipe: str = ""  # digest of the embedder's settings; empty: it has none, or an older version did not note them

    @property
    def maker(self) -> Maker:
        """What made its vectors."""
        return Maker(self.embedder, self.recipe)

    @property
    def name(self) -> str:
        """The folder's name: the same content gives the same name."""
        made = f"{self.format}{self.corpus}{self.embedder}{self.max_words}{self.by_sentence}{self.recipe}"
        return hashlib.sha256(made.encode()).hexdigest()[:16]


def corpus_digest(corpus: Iterable[Passage]) -> str:
    """SHA-256 over ids, texts, and where the texts are from, in order."""
    total = hashlib.sha256()
    for p in corpus:
        total.update("\0".join([p.id, p.heading, p.sha256, p.source, p.date, p.licence, p.access, ""]).encode())
    return total.hexdigest()


def build(
    parent: Path,
    corpus: Sequence[Passage],
    embedder: Embedder,
    progress: Progress | None = None,
    *,
    by_sentence: bool = True,
) -> Path:
    """Build the generation of ``corpus`` under ``parent`` unless it is there already; returns its folder.

    What the same embedder made of the same text in another generation is taken from there.

    Raises:
        RetrievalError: nothing to index, an id twice, or the disk is full. Nothing half-written stays.
    """
    if not corpus:
        raise RetrievalError("there is no passage to index")
    if twice := [name for name, times in Counter(passage.id for passage in corpus).items() if times > 1]:
        raise RetrievalError(f"two passages share an id: {twice[0]!r}")
    wanted = replace(planned(corpus, embedder), by_sentence=by_sentence)
    for same in (wanted, replace(wanted, recipe="")):
        if (parent / same.name / MANIFEST).exists():
            return parent / same.name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=parent, ignore_cleanup_errors=True) as aside:
            _write(Path(aside), wanted, corpus, embedder, progress)
            return _publish(Path(aside), parent / wanted.name)
    except (OSError, sqlite3.Error, RuntimeError) as error:
        raise RetrievalError(f"the index could not be written to {parent}: {error}; nothing was changed") from error


def planned(corpus: Sequence[Passage], embedder: Embedder) -> Generation:
    """The generation that ``embedder`` would make of ``corpus``; an older version's has its name without a recipe."""
    made_by = maker(embedder)
    return Generation(FORMAT, corpus_digest(corpus), made_by.fingerprint, len(corpus), 0, 0, recipe=made_by.recipe)


def generations(parent: Path) -> Iterator[tuple[Path, Generation]]:
    """The whole generations under ``parent``, oldest first."""
    found = [path for path in parent.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime):
        try:
            yield path.parent, read_manifest(path.parent)
        except RetrievalError:  # not whole, or of an older version: whoever opens it is told
            continue


def read_manifest(folder: Path) -> Generation:
    """The manifest of a generation.

    Raises:
        RetrievalError: there is none, or it is not of this version.
    """
    try:
        found = Generation(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise RetrievalError(f"{folder} is not a whole index generation ({error}); run 'assistant index'") from error
    if found.format != FORMAT:
        raise RetrievalError(f"{folder} has format {found.format}, and {FORMAT} is expected; run 'assistant index'")
    return found


def hold(folder: Path) -> int:
    """Keep a generation from being removed until the descriptor that this returns is closed."""
    descriptor = os.open(folder / MANIFEST, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def retire(parent: Path, current: Path, pieces: Collection[int]) -> None:
    """Remove every generation but ``current``; one that is still in use loses what is not in ``pieces``."""
    for folder in [path.parent for path in parent.glob(f"*/{MANIFEST}") if path.parent != current]:
        with suppress(OSError, sqlite3.Error):  # removed by another process, or damaged: nothing answers from it
            descriptor = os.open(folder / MANIFEST, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            except BlockingIOError:
                _forget(folder, pieces)
            finally:
                os.close(descriptor)


def _forget(folder: Path, pieces: Collection[int]) -> None:
    tables = Tables(folder / TABLES)
    gone = [row for piece, (row, _) in tables.pieces().items() if piece not in pieces]
    if gone:
        tables.remove(gone)
        tables.sweep(0)  # its revision is behind: it takes up the rest when it is next asked to
    tables.close()


def embedded(
    corpus: Sequence[tuple[int | None, Passage]],
    embedder: Embedder,
    known: Known,
    progress: Progress | None = None,
    *,
    by_sentence: bool = True,
) -> Iterator[list[Embedded]]:
    """Passages with their embeddings, in blocks; only texts that are not ``known`` are embedded."""
    for start in range(0, len(corpus), BATCH):
        block = corpus[start : start + BATCH]
        keys = [text_key(passage) for _, passage in block]
        have = {key: vectors for key in keys if (vectors := known(key))}
        new = {key: passage for key, (_, passage) in zip(keys, block, strict=True) if key not in have}
        have |= dict(zip(new, _embed(list(new.values()), embedder, by_sentence), strict=True))
        yield [Embedded(piece, passage, key, *have[key]) for key, (piece, passage) in zip(keys, block, strict=True)]
        if progress:
            progress(start + len(block), len(corpus))


def text_key(passage: Passage) -> bytes:
    """Digest of what is embedded of a passage."""
    return hashlib.sha256(f"{passage.title}\0{passage.heading}\0{passage.text}".encode()).digest()


def _embed(corpus: Sequence[Passage], embedder: Embedder, by_sentence: bool) -> Iterator[tuple[bytes, bytes]]:
    if not corpus:
        return
    whole = embedder.embed([f"{passage.heading}\n{passage.text}" for passage in corpus])
    spans = [sentences(passage.text) if by_sentence else [] for passage in corpus]
    texts = [f"{p.title}: {p.text[a:b]}" for p, own in zip(corpus, spans, strict=True) for a, b in own]
    parts = embedder.embed(texts).astype(np.float16) if texts else np.zeros((0, whole.shape[1]), np.float16)
    start = 0
    for vector, own in zip(whole, spans, strict=True):
        yield vector.astype(np.float32).tobytes(), parts[start : start + len(own)].tobytes()
        start += len(own)


def _write(
    folder: Path, wanted: Generation, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None
) -> None:
    tables = Tables(folder / TABLES, create=True)
    others = list(_siblings(folder.parent, wanted))
    counted, width = 0, 0

    def known(key: bytes) -> tuple[bytes, bytes] | None:
        return next((vectors for other in others if (vectors := other.known(key))), None)

    try:
        for block in embedded(
            [(None, passage) for passage in corpus], embedder, known, progress, by_sentence=wanted.by_sentence
        ):
            tables.add(block)
            width = len(block[0].vector) // 4
            counted += sum(len(row.sentences) // (2 * width) for row in block)
        tables.sweep(0)
    finally:
        for one in (tables, *others):
            one.close()
    manifest = replace(wanted, sentences=counted, dimensions=width)
    with (folder / MANIFEST).open("w") as file:  # last: a folder without it is a build that did not finish
        json.dump(asdict(manifest), file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _siblings(parent: Path, wanted: Generation) -> Iterator[Tables]:
    for path, found in generations(parent):
        if found.maker.fits(wanted.maker) and found.by_sentence == wanted.by_sentence:
            with suppress(OSError, sqlite3.Error):  # damaged: whoever opens it is told; here it only saves time
                yield Tables(path / TABLES)


def _sweep(parent: Path) -> None:
    """Remove what builds that were killed left behind more than a day ago."""
    for left in parent.glob(".building-*"):
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)


def _publish(aside: Path, final: Path) -> Path:
    if final.exists() and not (final / MANIFEST).exists():
        shutil.rmtree(final, ignore_errors=True)  # not whole, and it would stand in the way for good
    try:
        aside.rename(final)
    except OSError:
        if not (final / MANIFEST).exists():  # else another process was quicker, with the same content
            raise
    return final
