"""Search measured on a folder in BEIR layout, by the same index that serves: words, meaning, and both."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.embedder import Embedder
from retrieval.fusion import best
from retrieval.generation import Progress, build
from retrieval.index import FaissIndex
from retrieval.passage import Document, Passage, passages

DEPTH = 300  # passages of a ranking; a document may have several, and recall@100 looks at a hundred documents
Qrels = Mapping[str, Mapping[str, int]]  # by query and document: how relevant, above 0


class DataError(Exception):
    """A file is not as the layout asks; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Beir:
    """What a folder holds."""

    corpus: tuple[Passage, ...]
    queries: Mapping[str, str]  # those that are judged
    qrels: Qrels


def load(folder: Path, split: str = "test", queries: Path | None = None, qrels: Path | None = None) -> Beir:
    """Read corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

    Raises:
        DataError: a file is missing or a line does not fit; names file, line and reason.
    """
    judged = _qrels(qrels or folder / "qrels" / f"{split}.tsv")
    asked = {key: text for key, _, text in _rows(queries or folder / "queries.jsonl")}
    if missing := judged.keys() - asked.keys():
        raise DataError(f"{queries or folder / 'queries.jsonl'}: judged queries are missing, {min(missing)!r} for one")
    corpus = [
        one
        for key, title, text in _rows(folder / "corpus.jsonl")
        for one in passages(Document(key, title, text, folder.name))
    ]
    if not corpus:
        raise DataError(f"{folder / 'corpus.jsonl'}: there is no text in it")
    return Beir(tuple(corpus), {key: asked[key] for key in judged}, judged)


def measure(
    data: Beir, embedder: Embedder, cache: Path, progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Metrics for ``lexical``, ``dense`` and ``hybrid``. The corpus is embedded once and kept under ``cache``."""
    index = FaissIndex(build(cache, data.corpus, embedder, progress, by_sentence=False), embedder)
    documents = index.documents()

    def by_words(text: str) -> list[int]:
        return index.lexical(text, DEPTH)

    def by_meaning(text: str) -> list[int]:
        return index.dense(embedder.embed([text])[0], DEPTH)

    def by_both(text: str) -> list[int]:
        return best(index.hybrid(text, embedder.embed([text])[0]), DEPTH)

    searches = {"lexical": by_words, "dense": by_meaning, "hybrid": by_both}
    return {name: _scores(data, search, documents) for name, search in searches.items()}


def report(
    folder: Path, split: str, data: Beir, metrics: dict[str, Any], seconds: float, embedder: str
) -> dict[str, Any]:
    """The result in the one format of all evaluations."""
    return {
        "task": "retrieval",
        "data": f"{folder}:{split}",
        "n": len(data.queries),
        "seconds": round(seconds, 2),
        "model": {"base": None, "adapter": None, "embedder": embedder, "head": None},
        "metrics": metrics,
    }


def _scores(data: Beir, search: Callable[[str], list[int]], documents: Mapping[int, str]) -> dict[str, float]:
    started = time.perf_counter()
    found = {key: search(text) for key, text in data.queries.items()}
    seconds = time.perf_counter() - started
    ranked = {key: list(dict.fromkeys(documents[row] for row in rows)) for key, rows in found.items()}
    means = {
        name: sum(metric(ranked[key], judged) for key, judged in data.qrels.items()) / len(data.qrels)
        for name, metric in _METRICS.items()
    }
    return {name: round(value, 4) for name, value in means.items()} | {
        "queries_per_second": round(len(found) / seconds, 1)
    }


def ndcg(ranked: Sequence[str], judged: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain, with linear gains as trec_eval has them."""
    gained = sum(judged.get(one, 0) / math.log2(place + 2) for place, one in enumerate(ranked[:k]))
    ideal = sorted(judged.values(), reverse=True)[:k]
    return gained / sum(gain / math.log2(place + 2) for place, gain in enumerate(ideal))


def recall(ranked: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Share of the relevant documents among the first ``k``."""
    return len(judged.keys() & set(ranked[:k])) / len(judged)


def mrr(ranked: Sequence[str], judged: Mapping[str, int], k: int = 10) -> float:
    """One over the place of the first relevant document."""
    return next((1 / (place + 1) for place, one in enumerate(ranked[:k]) if one in judged), 0.0)


_METRICS: dict[str, Callable[[Sequence[str], Mapping[str, int]], float]] = {
    "ndcg@10": ndcg,
    "recall@10": lambda ranked, judged: recall(ranked, judged, 10),
    "recall@100": lambda ranked, judged: recall(ranked, judged, 100),
    "mrr@10": mrr,
}


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of each line."""
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            key, text = row["_id"], row["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: expected an object with _id and text, found {line[:80]!r}"
            ) from error
        if not isinstance(key, str) or not isinstance(text, str) or key in seen:
            raise DataError(f"{path}, line {number}: _id and text are strings and an _id comes once, found {key!r}")
        seen.add(key)
        yield key, str(row.get("title") or ""), text


def _qrels(path: Path) -> Qrels:
    judged: dict[str, dict[str, int]] = {}
    rows = list(csv.reader(_lines(path), delimiter="\t"))
    if not rows or rows[0] != ["query-id", "corpus-id", "score"]:
        raise DataError(f"{path}, line 1: expected the header query-id, corpus-id, score with tabs between")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 3 or not row[2].lstrip("-").isdigit():
            raise DataError(f"{path}, line {number}: expected two ids and a whole number, found {row!r}")
        if int(row[2]) > 0:
            judged.setdefault(row[0], {})[row[1]] = int(row[2])
    if not judged:
        raise DataError(f"{path}: nothing is judged relevant")
    return judged


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
