"""How long it takes to understand a question on one core, beside two yardsticks, and how that grows with the packs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from assistant import reader
from assistant.head import Head
from assistant.reader import Reader
from domains.pack import Domain
from retrieval.embedder import SentenceEmbedder
from retrieval.yardstick import bert_sized, one_core

QUERY = "I ordered a garden chair two weeks ago and it has not arrived, can you tell me where it is?"  # 20 words
ROUNDS = 200
MANY = 100  # packs
INTENTS = 20  # of a pack among many


def latency(embedder: SentenceEmbedder, domains: Sequence[Domain], rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians in milliseconds for one question of twenty words.

    Args:
        embedder: the shared one.
        domains: the packs whose heads are fitted and asked.
        rounds: how often each is measured; they take turns, so that a busy moment hits all of them.
    """
    started = time.perf_counter()
    trained = reader.train(domains, embedder.embed)
    fitted = time.perf_counter() - started
    examples = [(example.text, domain.name) for domain in domains for example in domain.examples]
    words = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    words.fit([text for text, _ in examples], [name for _, name in examples])
    vector = embedder.embed([QUERY])[0]
    many, first = _many(len(vector)), domains[0].name
    tokens = len(embedder.tokenizer(QUERY)["input_ids"])
    measured = {
        "embedding_and_heads_ms_p50": lambda: _ask(trained, first, embedder.embed([QUERY])[0]),
        "heads_ms_p50": lambda: _ask(trained, first, vector),
        f"heads_{MANY}_packs_ms_p50": lambda: _ask(many, "pack0", vector),
        "bert_base_sized_ms_p50": bert_sized(tokens),
        "tfidf_logistic_ms_p50": lambda: words.predict_proba([QUERY]),
    }
    with one_core():
        times = _in_turn(list(measured.values()), rounds)
    metrics = {name: round(1000 * statistics.median(taken), 3) for name, taken in zip(measured, times, strict=True)}
    return {
        "task": "latency",
        "data": QUERY,
        "n": rounds,
        "seconds": round(time.perf_counter() - started, 2),
        "model": {"base": None, "adapter": None, "embedder": embedder.fingerprint, "head": None},
        "metrics": metrics | {"packs": len(domains), "fit_seconds": round(fitted, 2)},
    }


def _in_turn(steps: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, taken in zip(steps, times, strict=True):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
    return times


def _ask(trained: Reader, pack: str, vector: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    trained.domains(vector)
    trained.intent(pack, vector)
    trained.mood(vector)


def _many(width: int) -> Reader:
    """Heads of the size that many packs would have; what they say is chance, what they cost is not."""
    chance = np.random.default_rng(0)

    def head(labels: int, prefix: str = "label") -> Head:
        names = tuple(f"{prefix}{number}" for number in range(labels))
        return Head(names, chance.normal(size=(labels, width)), np.zeros(labels))

    return Reader(head(MANY + 2), {f"pack{number}": head(INTENTS) for number in range(MANY)}, head(3))
