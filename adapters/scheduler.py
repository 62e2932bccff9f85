"""Decides what each step computes: who joins, who reads, who speaks, who leaves. One thread owns the decoder."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from adapters.cache import Prefixes
from adapters.decoder import Decoder, Piece, Weights
from adapters.lanes import Lanes
from adapters.request import EngineBusy, EngineError, Request

CHUNK = 128  # tokens of prompts that a step reads while others speak: they wait for about three steps of their own
WHOLE = 512  # … while nobody speaks
DRAFTED = 32  # tokens that a step computes for those who speak, drafts included
IDLE = 2.0  # seconds without work after which the thread ends; the next request starts one
LOADING = 0.02  # seconds between two looks whether an adapter has come
PREFIX_FROM = 16  # tokens that a shared beginning must have to be kept

Job = Generator[None, None, Any]  # work on the decoder between steps, a step of its own at each yield
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken on at once."""

    slots: int = 8  # requests that speak at once
    queue: int = 32  # requests that may wait for a slot; one more is refused
    patience: float = 60.0  # seconds a request waits before it is refused
    longest: float = 300.0  # seconds an answer may take


class Scheduler:
    """Joins and leaves happen between steps, so a request waits for a step and not for another request's end."""

    def __init__(
        self,
        decoder: Decoder,
        limits: Limits,
        prefixes: Prefixes,
        weights: Callable[[str], Weights | None],
    ) -> None:
        """``weights`` gives an adapter's weights, or None while it is being loaded; AdapterError if it cannot be."""
        self.decoder, self.limits, self.prefixes, self.lanes = decoder, limits, prefixes, Lanes(decoder)
        self._weights = weights
        self._changed = threading.Condition()
        self._alive: set[Request] = set()  # submitted and not ended; what the queue's bound counts
        self._waiting: deque[Request] = deque()
        self._jobs: deque[tuple[Job, Future[Any]]] = deque()
        self._running = False
        self._active: list[Request] = []  # from here on: the thread's own
        self._rows = set(range(limits.slots))
        self._loading = False  # somebody waits for an adapter
        self.steps = self.tokens = 0

    def submit(self, request: Request) -> None:
        """Put a request into the queue.

        Raises:
            EngineBusy: slots and queue are full.
        """
        with self._changed:
            waiting = len(self._alive) - self.limits.slots
            if waiting >= self.limits.queue:
                raise EngineBusy(
                    f"{max(0, waiting)} requests wait already, at most {self.limits.queue} may; try again shortly"
                )
            self._alive.add(request)
            self._waiting.append(request)
            self._wake()

    def end(self, request: Request) -> None:
        """Nobody listens any more: its place is free at once, its row after the step that is running."""
        with self._changed:
            request.closed = True
            self._alive.discard(request)
            self._changed.notify()

    def run(self, job: Job) -> Any:
        """Do a job on the decoder, in turn with the requests' steps, and return its result."""
        done: Future[Any] = Future()
        with self._changed:
            self._jobs.append((job, done))
            self._wake()
        return done.result()

    def speaks(self, adapter: str) -> bool:
        """Whether a request with an adapter speaks or waits."""
        with self._changed:
            return any(one.adapter == adapter for one in self._alive)

    def forget(self, adapter: str, others: Callable[[], Sequence[Weights]]) -> Job:
        """A job that forgets an adapter and what it computed; nothing where somebody speaks with it again.

        ``others``, asked when it is the job's turn, are the adapters that the lanes stay wide enough for.
        """
        yield  # until those who were closed have left their lanes
        if not any(one.adapter == adapter for one in self._active):
            self.lanes.forget(adapter, others())
            self.prefixes.forget(adapter)

    def _wake(self) -> None:
        if not self._running:
            self._running = True
            threading.Thread(target=self._loop, name="adapters-engine", daemon=True).start()
        self._changed.notify()

    def _loop(self) -> None:
        while self._has_work():
            try:
                self._reap()
                self._admit()
                self._advance_job()
                if self._active:
                    self._step()
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told, and the rest is served
                _log.exception("a step failed; the requests in it end with an error")
                for request in list(self._active):
                    self._leave(request, EngineError(f"a step failed: {type(error).__name__}: {error}"))

    def _has_work(self) -> bool:
        with self._changed:
            if not (self._active or self._jobs):
                if self._waiting and self._loading:
                    self._changed.wait_for(lambda: bool(self._jobs), LOADING)
                elif not self._waiting:
                    self._changed.wait_for(lambda: bool(self._jobs or self._waiting), IDLE)
            if self._active or self._jobs or self._waiting:
                return True
            self._running = False
            return False

    def _reap(self) -> None:
        now = time.monotonic()
        for request in list(self._active):
            if request.closed:
                self._leave(request)
            elif now - request.since > self.limits.longest:
                self._leave(
                    request, EngineError(f"the answer took longer than {self.limits.longest:g} s; ask for less")
                )
        with self._changed:
            late = [one for one in self._waiting if not one.closed and now - one.since > self.limits.patience]
            self._waiting = deque(one for one in self._waiting if not one.closed and one not in late)
        for request in late:
            request.out.put(EngineBusy(f"no slot came free in {self.limits.patience:g} s; try again shortly"))

    def _admit(self) -> None:
        with self._changed:
            waiting = list(self._waiting)
        self._loading = False
        for request in waiting:
            if not self._rows:
                return
            try:
                weights = self._weights(request.adapter) if request.adapter else {}
            except Exception as error:  # noqa: BLE001 - whatever keeps an adapter from loading ends this request only
                self._drop(request)
                request.out.put(error)
                continue
            if weights is None:  # it is being loaded, and those behind it go first
                self._loading = True
            else:
                self._drop(request)
                self._join(request, weights)

    def _drop(self, request: Request) -> None:
        with self._changed:
            self._waiting.remove(request)

    def _join(self, request: Request, weights: Weights) -> None:
        request.row, request.since = min(self._rows), time.monotonic()
        self._rows.remove(request.row)
        request.lane = self.lanes.take(request.adapter, weights) if request.adapter else None
        self._active.append(request)
        if request.shared >= PREFIX_FROM:
            kept = self.prefixes.get((request.adapter, tuple(request.prompt[: request.shared])))
            if kept is not None:
                self.decoder.cache.restore(request.row, kept)
                request.fed = request.shared

    def _leave(self, request: Request, error: Exception | None = None) -> None:
        self._active.remove(request)
        self._rows.add(request.row)
        if request.lane is not None:
            self.lanes.leave(request.lane)
        with self._changed:
            self._alive.discard(request)
        request.out.put(error)

    def _advance_job(self) -> None:
        if not self._jobs:
            return
        job, done = self._jobs[0]
        try:
            next(job)
            return
        except StopIteration as end:
            done.set_result(end.value)
        except Exception as error:  # noqa: BLE001 - whoever waits for the job gets it
            done.set_exception(error)
        self._jobs.popleft()

    def _step(self) -> None:
        fed = self._choose()
        pieces = [Piece(tokens, one.row, one.fed, one.lane, keep) for one, tokens, keep in fed]
        self.steps += 1
        for (request, tokens, keep), logits in zip(fed, self.decoder.step(pieces), strict=True):
            if not keep:
                request.fed += len(tokens)
            elif not self._hear(request, tokens, logits):
                continue
            self._keep_prefix(request)

    def _hear(self, request: Request, tokens: list[int], logits: Any) -> bool:
        before = len(request.history)
        try:
            more = request.hear(tokens, logits)
        except EngineError as error:
            self.decoder.cache.clear(request.row)
            self._leave(request, error)
            return False
        self.tokens += len(request.history) - before
        if not more:
            self._keep_prefix(request)
            self._leave(request)
        return more

    def _choose(self) -> list[tuple[Request, list[int], int]]:
        """Who feeds which tokens, and how many logits each needs."""
        speaking = [one for one in self._active if not one.reading]
        most = DRAFTED // len(speaking) - 1 if speaking else 0
        fed = []
        for request in speaking:
            tokens = request.proposal(most)
            fed.append((request, tokens, len(tokens)))
        budget = CHUNK if speaking else WHOLE
        for request in self._active:
            if request.reading and budget:
                tokens = request.prompt[request.fed : request.fed + budget]
                budget -= len(tokens)
                fed.append((request, tokens, int(len(tokens) == request.reading)))
        return fed

    def _keep_prefix(self, request: Request) -> None:
        """Once, when the shared beginning has just been read."""
        if PREFIX_FROM <= request.shared <= request.fed:
            key = (request.adapter, tuple(request.prompt[: request.shared]))
            request.shared = 0
            if not self.prefixes.has(key):
                self.prefixes.put(key, self.decoder.cache.save(request.row, len(key[1])))
