"""Requests come, leave early and change adapters for a while; memory does not grow and the last answer is the first.

A minute here; ``--soak-minutes 30`` for the long one.
"""

from __future__ import annotations

import gc
import random
import threading
import time

import psutil
import pytest

from adapters.base import Base
from adapters.chat import Message, Sampling
from adapters.engine import EngineBusy, Limits, TorchEngine
from adapters.store import Adapter

GROWTH = 24 * 1024 * 1024  # bytes; allocators keep some
USERS = 6


def user(engine: TorchEngine, digests: list[str | None], seed: int, until: float, done: list[int]) -> None:
    chance = random.Random(seed)  # noqa: S311 - makes up requests, guards nothing
    while time.monotonic() < until:
        words = " ".join(chance.choices(["red", "fox", "fee", "12", "blue"], k=chance.randrange(1, 120)))
        messages = [Message("system", "Answer from the sources only, please, and quote them."), Message("user", words)]
        sampling = Sampling(chance.randrange(1, 60), chance.choice([0.0, 1.0]), seed)
        pieces = engine.stream(messages, adapter=chance.choice(digests), sampling=sampling)
        try:
            for number, _ in enumerate(pieces):
                if number > 3 and chance.random() < 0.1:
                    break
        except EngineBusy:
            time.sleep(0.01)
        pieces.close()  # type: ignore[attr-defined]
        done.append(seed)


def rush(engine: TorchEngine, digests: list[str | None], seconds: float) -> list[int]:
    done: list[int] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=user, args=(engine, digests, seed, until, done)) for seed in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def test_memory_does_not_grow_and_answers_stay(
    tiny: Base, tiny_adapters: list[Adapter], request: pytest.FixtureRequest
) -> None:
    minutes = float(request.config.getoption("--soak-minutes"))
    engine = TorchEngine(tiny, limits=Limits(slots=4, queue=1), resident=2, prefixes=1024 * 1024)
    for adapter in tiny_adapters:
        engine.register(adapter)
    digests = [None, *(adapter.digest for adapter in tiny_adapters)]

    def say() -> list[str]:
        ask = [Message("user", "one two three one two three")]
        return ["".join(engine.stream(ask, adapter=digest, sampling=Sampling(20))) for digest in digests]

    first = say()
    rush(engine, digests, max(5.0, minutes * 6))  # what is allocated once is allocated now
    gc.collect()
    before = psutil.Process().memory_info().rss
    done = rush(engine, digests, minutes * 60)
    gc.collect()
    assert len(done) > 20
    assert psutil.Process().memory_info().rss - before < GROWTH
    assert not engine.scheduler._alive and not engine.scheduler._waiting
    assert engine.scheduler.prefixes.bytes <= 1024 * 1024
    assert say() == first
