"""Many requests in one batch: each answers as it would alone, whoever joins, leaves or is loaded meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import Base
from adapters.chat import Message, Sampling
from adapters.engine import EngineBusy, EngineError, Limits, TorchEngine
from adapters.store import Adapter
from tests.adapters.waiting import slow_down, until

SYSTEM = Message(
    "system", "Answer only from the sources that stand in the message, in one sentence, and name them all."
)
QUESTIONS = [
    "Sources: the red fox eats the blue fish, the red fox eats the blue fish. Question: what eats the red fox?",
    "How long?",
    "one two three four one two three four one two three",
    "A much longer question " + "about this and that and those things " * 20,
]
LONG = Sampling(max_tokens=300)


@dataclass(frozen=True)
class Ask:
    """A request of a random batch."""

    speaker: int | None
    question: int
    tokens: int
    temperature: float
    wait: float  # seconds before it joins
    leaves_after: int | None  # pieces


ASKS = st.builds(
    Ask,
    st.none() | st.integers(0, 4),
    st.integers(0, len(QUESTIONS) - 1),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.0, 1.2]),
    st.sampled_from([0.0, 0.003, 0.01]),
    st.none() | st.integers(1, 5),
)


@pytest.fixture(scope="module")
def crowd(tiny: Base, tiny_adapters: list[Adapter]) -> TorchEngine:
    """Fewer slots than requests, fewer adapters in memory than speak."""
    engine = TorchEngine(tiny, limits=Limits(slots=4, queue=64), resident=2)
    for adapter in tiny_adapters:
        engine.register(adapter)
    return engine


@pytest.fixture(scope="module")
def plain(tiny: Base, tiny_adapters: list[Adapter]) -> TorchEngine:
    """One request at a time, without drafts and shared beginnings."""
    engine = TorchEngine(tiny, limits=Limits(slots=1), prefixes=0, drafts=False)
    for adapter in tiny_adapters:
        engine.register(adapter)
    return engine


@pytest.fixture
def single(tiny: Base) -> TorchEngine:
    return TorchEngine(tiny, limits=Limits(slots=1, queue=1, patience=0.3))


def stream(engine: TorchEngine, ask: Ask, adapters: list[Adapter]) -> Iterator[str]:
    digest = None if ask.speaker is None else adapters[ask.speaker].digest
    messages = [SYSTEM, Message("user", QUESTIONS[ask.question])]
    return engine.stream(messages, adapter=digest, sampling=Sampling(ask.tokens, ask.temperature, seed=ask.tokens))


def hear(engine: TorchEngine, ask: Ask, adapters: list[Adapter]) -> str:
    time.sleep(ask.wait)
    pieces = stream(engine, ask, adapters)
    if ask.leaves_after is None:
        return "".join(pieces)
    heard = "".join(piece for piece, _ in zip(pieces, range(ask.leaves_after), strict=False))
    pieces.close()  # type: ignore[attr-defined]
    return heard


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(ASKS, min_size=2, max_size=10))
def test_each_request_of_any_batch_says_what_it_says_alone(
    crowd: TorchEngine, plain: TorchEngine, tiny_adapters: list[Adapter], asks: list[Ask]
) -> None:
    with ThreadPoolExecutor(len(asks)) as pool:
        together = list(pool.map(lambda ask: hear(crowd, ask, tiny_adapters), asks))
    for ask, heard in zip(asks, together, strict=True):
        alone = "".join(stream(plain, ask, tiny_adapters))
        assert heard == alone if ask.leaves_after is None else alone.startswith(heard)


def test_adapters_differ_so_that_a_mix_up_would_be_seen(plain: TorchEngine, tiny_adapters: list[Adapter]) -> None:
    said = {hear(plain, Ask(n, 1, 10, 0.0, 0.0, None), tiny_adapters) for n in (None, 0, 1, 2, 3, 4)}
    assert len(said) == 6


def test_no_more_adapters_stay_in_memory_than_allowed(crowd: TorchEngine, tiny_adapters: list[Adapter]) -> None:
    for number in range(5):
        assert hear(crowd, Ask(number, 1, 3, 0.0, 0.0, None), tiny_adapters)
    assert set(crowd.resident()) == {tiny_adapters[3].digest, tiny_adapters[4].digest}
    assert all(size > 0 for size in crowd.resident().values())
    assert len(crowd.adapters()) == 5


def test_a_shared_beginning_is_computed_once_for_each_adapter(tiny: Base, tiny_adapters: list[Adapter]) -> None:
    engine = TorchEngine(tiny)
    engine.register(tiny_adapters[0])
    for question in (0, 1, 2):
        hear(engine, Ask(0, question, 3, 0.0, 0.0, None), tiny_adapters)
    hear(engine, Ask(None, 0, 3, 0.0, 0.0, None), tiny_adapters)
    prefixes = engine.scheduler.prefixes
    assert (prefixes.hits, prefixes.misses) == (2, 2)
    before = prefixes.bytes
    engine.unload(tiny_adapters[0].digest)
    until(lambda: prefixes.bytes < before)
    assert 0 < prefixes.bytes < before


def test_what_is_shared_holds_no_word_of_the_user(tiny: Base) -> None:
    engine = TorchEngine(tiny)
    prompt = tiny.prompt([SYSTEM, Message("user", "My name is Ann.")])
    shared = engine._shared([SYSTEM, Message("user", "My name is Ann.")], prompt)
    assert str(tiny.tokenizer.decode(prompt[:shared])).endswith("user\n")
    assert engine._shared([Message("user", "My name is Ann.")], prompt) == 0


def test_drafts_save_steps_where_the_answer_repeats(tiny: Base, tiny_adapters: list[Adapter]) -> None:
    steps = []
    for drafts in (True, False):
        engine = TorchEngine(tiny, drafts=drafts)
        hear(engine, Ask(None, 0, 120, 0.0, 0.0, None), tiny_adapters)  # a random model falls into a loop
        steps.append(engine.scheduler.steps)
    assert steps[0] < 0.7 * steps[1]


def test_a_full_queue_says_busy_and_a_closed_stream_frees_its_place_at_once(single: TorchEngine) -> None:
    ask = [Message("user", "x")]
    held = single.stream(ask, adapter=None, sampling=LONG)
    next(held)
    waiting = threading.Thread(target=lambda: list(single.stream(ask, adapter=None, sampling=Sampling(2))))
    single.scheduler.limits = Limits(slots=1, queue=1, patience=30)
    waiting.start()
    while len(single.scheduler._alive) < 2:
        time.sleep(0.001)
    with pytest.raises(EngineBusy, match="1 requests wait already, at most 1 may"):
        list(single.stream(ask, adapter=None, sampling=LONG))
    held.close()  # type: ignore[attr-defined]
    assert list(single.stream(ask, adapter=None, sampling=Sampling(2)))
    waiting.join(30)
    assert not waiting.is_alive()


def test_waiting_and_speaking_end_in_time(tiny: Base) -> None:
    engine = TorchEngine(tiny, limits=Limits(slots=1, queue=1, patience=0.02, longest=0.2))
    ask = [Message("user", "x")]
    held = engine.stream(ask, adapter=None, sampling=Sampling(400, temperature=9.0, seed=1))
    next(held)
    slow_down(engine)
    with pytest.raises(EngineBusy, match="no slot came free in 0.02 s"):
        list(engine.stream(ask, adapter=None, sampling=LONG))
    with pytest.raises(EngineError, match="longer than 0.2 s"):
        list(held)


def test_a_step_that_fails_ends_its_requests_and_the_next_is_served(single: TorchEngine) -> None:
    ask = [Message("user", "x")]
    held = single.stream(ask, adapter=None, sampling=LONG)
    next(held)
    head, single.decoder.head = single.decoder.head, single.decoder.head[:, :1]
    with pytest.raises(EngineError, match="a step failed: RuntimeError"):
        list(held)
    single.decoder.head = head
    assert list(single.stream(ask, adapter=None, sampling=Sampling(2)))


def test_an_answer_that_is_not_finite_ends_alone_and_leaves_nothing_behind(
    tiny: Base, tiny_adapters: list[Adapter]
) -> None:
    engine = TorchEngine(tiny, limits=Limits(slots=2))
    engine.load(tiny_adapters[0])
    honest = "".join(stream(engine, Ask(None, 2, 30, 0.0, 0.0, None), tiny_adapters))
    for pair in (engine._residents.get(tiny_adapters[0].digest) or {}).values():
        pair.down.fill_(torch.nan)
    engine.scheduler.run(engine.scheduler.forget(tiny_adapters[0].digest, list))
    with ThreadPoolExecutor(2) as pool:
        well = pool.submit(lambda: "".join(stream(engine, Ask(None, 2, 30, 0.0, 0.0, None), tiny_adapters)))
        with pytest.raises(EngineError, match="not finite"):
            list(stream(engine, Ask(0, 2, 30, 0.0, 0.0, None), tiny_adapters))
        assert well.result(30) == honest
    assert "".join(stream(engine, Ask(None, 2, 30, 0.0, 0.0, None), tiny_adapters)) == honest
