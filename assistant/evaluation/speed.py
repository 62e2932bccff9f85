"""How fast the product is on this machine, and how much memory it takes. Absolute times hold for this machine only."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adapters.base import Base, load
from adapters.bench import Bench, measure
from adapters.chat import Message, Sampling
from adapters.engine import TorchEngine
from assistant import answer, models, prompt
from assistant.app import App
from assistant.packs import Pack

QUESTION = "How long is the standard warranty?"
TWENTY = "I ordered a garden chair two weeks ago and it has still not arrived, can you tell me where it is?"  # words
READINGS = 30
TOKENS = 48
ROUNDS = 3
USERS = (1, 4, 8)  # requests at once


def speed(app: App, progress: Callable[[int, int], None] = lambda *_: None) -> dict[str, Any]:
    """Cold start, time to first words, tokens a second for one and many users, and the peak of memory."""
    started = time.perf_counter()
    pack = next(iter(app.packs.enabled().values()))
    steps = len(USERS) + 2
    metrics: dict[str, float | None] = _reading(app, pack)
    for done, users in enumerate(USERS):
        metrics[f"tokens_per_second_{users}"] = _throughput(app, pack, users)
        progress(done + 1, steps)
    metrics |= _first_words(app, pack)
    if isinstance(app.engine, TorchEngine):  # what a server shares and drafts it keeps to itself
        metrics |= _drafts(app, app.engine, pack)
        metrics["adapter_memory_mb"] = round(max(app.engine.resident().values(), default=0) / 1e6, 2)
    progress(steps - 1, steps)
    metrics |= _cold_start()
    progress(steps, steps)
    metrics["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return {
        "task": "speed",
        "data": pack.domain.name,
        "n": ROUNDS,
        "seconds": round(time.perf_counter() - started, 2),
        "model": {
            "base": app.engine.base.digest,
            "adapter": pack.adapter.digest if pack.adapter else None,
            "embedder": app.parts().embedder.fingerprint,
            "head": pack.learned.gate.digest,
        },
        "metrics": metrics,
    }


def against_peft(app: App, progress: Callable[[str, int, int], None], bench: Bench) -> dict[str, float]:
    """The batch against peft and the bare base, in one run; see ``adapters.bench``."""
    settings = app.settings
    source = settings.chat_model or settings.models_dir / models.CHAT.name

    def other() -> Base:
        return load(source, dtype=settings.dtype, device=settings.device)

    return measure(other(), other, bench, progress)


def _reading(app: App, pack: Pack) -> dict[str, float | None]:
    """Milliseconds to understand a question of twenty words: its embedding, and then all heads."""
    parts = app.parts()
    embedding, heads = [], []
    for _ in range(READINGS):
        began = time.perf_counter()
        vector = parts.embedder.embed([TWENTY])[0]
        embedded = time.perf_counter()
        parts.reader.domains(vector)
        parts.reader.intent(pack.domain.name, vector)
        parts.reader.mood(vector)
        embedding.append(embedded - began)
        heads.append(time.perf_counter() - embedded)
    return {
        "embedding_ms_p50": round(1000 * statistics.median(embedding), 2),
        "heads_ms_p50": round(1000 * statistics.median(heads), 3),
    }


def _messages(app: App, pack: Pack) -> list[Message]:
    vector = app.parts().embedder.embed([QUESTION])[0]
    found = answer.search(pack, QUESTION, vector)
    return prompt.grounded(pack.domain.manifest.system_prompt, QUESTION, found.ranked[: prompt.SHOWN])


def _pieces(app: App, pack: Pack, seed: int) -> tuple[int, float]:
    """Pieces generated, and seconds until the first."""
    digest = pack.adapter.digest if pack.adapter else None
    started, first, count = time.perf_counter(), 0.0, 0
    sampling = Sampling(TOKENS, temperature=1.0, seed=seed)  # drawn, so that the answer does not end at once
    for _ in app.engine.stream(_messages(app, pack), adapter=digest, sampling=sampling):
        first = first or time.perf_counter() - started
        count += 1
    return count, first


def _throughput(app: App, pack: Pack, users: int) -> float:
    with ThreadPoolExecutor(users) as pool:
        started = time.perf_counter()
        counts = list(pool.map(lambda seed: _pieces(app, pack, seed)[0], range(users)))
        return round(sum(counts) / (time.perf_counter() - started), 2)


def _first_words(app: App, pack: Pack) -> dict[str, float | None]:
    """With the domain's shared beginning computed before, and without, where the engine is in this process."""
    engine, cold, warm = app.engine, [], []
    for seed in range(ROUNDS):
        if isinstance(engine, TorchEngine):
            engine.scheduler.prefixes.clear()
            cold.append(_pieces(app, pack, seed)[1])
        warm.append(_pieces(app, pack, seed)[1])
    metrics: dict[str, float | None] = {"first_token_ms_p50": round(1000 * statistics.median(warm), 1)}
    if isinstance(engine, TorchEngine):
        whole, shared = engine.lengths(_messages(app, pack))
        metrics["first_token_cold_ms_p50"] = round(1000 * statistics.median(cold), 1)
        metrics |= {"prompt_tokens": float(whole), "prompt_tokens_shared": float(shared)}
    return metrics


def _drafts(app: App, engine: TorchEngine, pack: Pack) -> dict[str, float | None]:
    """Tokens that a step brings where the likeliest token is taken, for one user: 1 without drafts."""
    digest = pack.adapter.digest if pack.adapter else None
    scheduler = engine.scheduler
    steps, tokens = scheduler.steps, scheduler.tokens
    for _ in engine.stream(_messages(app, pack), adapter=digest, sampling=Sampling(TOKENS)):
        pass
    return {"tokens_per_step_greedy": round((scheduler.tokens - tokens) / max(1, scheduler.steps - steps), 2)}


def _cold_start() -> dict[str, float | None]:
    """A fresh process: from its start until the first words of an answer."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "assistant", "ask", QUESTION, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    wall = time.perf_counter() - started
    try:
        timings = json.loads(ended.stdout)["timings"]
    except (ValueError, KeyError):
        return {"cold_start_s": None, "cold_start_to_first_words_s": None}
    ready = wall - timings["total"]
    return {
        "cold_start_s": round(ready, 2),
        "cold_start_to_first_words_s": round(ready + timings.get("first_words", timings["total"]), 2),
    }
