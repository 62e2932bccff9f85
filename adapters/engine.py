"""Serves many requests on one base model in one batch, each with its own adapter, in this process. Never trains."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tokenizers.decoders import DecodeStream

from adapters import proof
from adapters.base import Base
from adapters.cache import Prefixes
from adapters.chat import Message, Sampling
from adapters.decoder import Decoder, Weights
from adapters.lanes import Residents
from adapters.lora import weights_of
from adapters.proof import Speaker, Trace
from adapters.request import EngineBusy, EngineError, Request
from adapters.scheduler import Job, Limits, Scheduler
from adapters.store import Adapter, AdapterError

__all__ = ["EngineBusy", "EngineError", "Limits", "TorchEngine"]
CONTEXT = 8192  # tokens of the longest request, where the model has as many
NEIGHBOURS = 2  # adapters that a new one must leave alone, beside the base, in the batch it is tested in
RANK = 64  # largest that an adapter may have
RESIDENT = 64  # adapters in memory; 5 MB each at rank 8 on all linear layers of 20
PREFIXES = 64 * 1024 * 1024  # bytes


class TorchEngine:
    """A ``ChatModel`` in torch: continuous batching, adapters stacked by lane, shared beginnings computed once.

    Adapters are registered by the hundred and are in memory when they speak: one that is not is loaded in the
    background while the others go on.
    """

    def __init__(
        self,
        base: Base,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        rank: int = RANK,
        resident: int = RESIDENT,
        prefixes: int = PREFIXES,
        drafts: bool = True,
    ) -> None:
        """
        Args:
            base: the loaded base model.
            limits: requests at once, waiting, and for how long.
            rank: largest that an adapter may have: while it is in memory, every lane is as wide as its own.
            resident: adapters that are held in memory.
            prefixes: bytes for keys and values of beginnings that many prompts share; 0 keeps none.
            drafts: propose what the prompt says next where the likeliest token is taken; the answer is the same.

        Raises:
            DecoderError: the base is not Llama-shaped.
        """
        self.base = base
        spare = NEIGHBOURS + 2
        self._first_spare = limits.slots
        self.context = min(CONTEXT, base.max_length)
        self.decoder = Decoder(base, rows=limits.slots + spare, lanes=limits.slots + spare, context=self.context)
        self.scheduler = Scheduler(self.decoder, limits, Prefixes(prefixes), self._weights)
        self._drafts, self._rank = drafts, rank
        self._known: dict[str, Adapter] = {}
        self._leaving: set[str] = set()  # of those, which are forgotten when nobody speaks with them any more
        self._residents = Residents(resident)
        self._proved: set[str] = set()
        self._neighbours: deque[tuple[str, Weights, Trace]] = deque(maxlen=NEIGHBOURS)
        self._base_trace: Trace | None = None
        self._mutex = threading.RLock()  # of the six above
        self._loading: dict[str, Future[None]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="adapters-loader")

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        """Yield pieces of the answer; see ``ChatModel``. The request joins the batch when the first is asked for.

        Raises:
            AdapterError: no adapter of that digest is registered.
            EngineError: prompt and answer do not fit the model's context; later: the answer took too long.
            EngineBusy: at the first piece, when too many wait or no slot came free.
        """
        self._require(adapter)
        prompt = self.base.prompt(messages)
        if len(prompt) + sampling.max_tokens > self.context:
            raise EngineError(
                f"the prompt has {len(prompt)} tokens and the answer may have {sampling.max_tokens}, "
                f"together the model takes {self.context}; shorten the passages or the history"
            )
        shared = self._shared(messages, prompt)
        return self._speak(Request(prompt, adapter, sampling, self.base.eos, shared, self._drafts))

    def register(self, adapter: Adapter) -> None:
        """Make an adapter known. It is read, and must prove itself, when it is first asked for."""
        with self._mutex:
            self._leaving.discard(adapter.digest)
            self._known.setdefault(adapter.digest, adapter)

    def load(self, adapter: Adapter) -> None:
        """Register an adapter, read it, and let it prove itself now.

        Raises:
            AdapterError: it does not fit, changes nothing, or changes what others say. It is not registered then.
        """
        known = adapter.digest in self._known
        self.register(adapter)
        try:
            self._fetch(adapter.digest).result()
        except AdapterError:
            if not known:
                self.unload(adapter.digest)
            raise

    def unload(self, digest: str) -> None:
        """Forget an adapter, at once or when the last answer that it speaks has ended; see ``Engine``."""
        with self._mutex:
            if digest in self._known:
                self._leaving.add(digest)
        self._let_go(digest)

    def lengths(self, messages: Sequence[Message]) -> tuple[int, int]:
        """Tokens of a prompt, and how many of them at its beginning every request of its domain shares."""
        prompt = self.base.prompt(messages)
        return len(prompt), self._shared(messages, prompt)

    def adapters(self) -> list[Adapter]:
        """What is registered, oldest first."""
        with self._mutex:
            return list(self._known.values())

    def resident(self) -> dict[str, int]:
        """Bytes of the adapters in memory, by digest, the one that goes next first."""
        with self._mutex:
            return self._residents.sizes()

    def _let_go(self, digest: str) -> None:
        """Forget an adapter that is leaving, unless somebody speaks with it; its lane in the loader's turn."""
        with self._mutex:
            if digest not in self._leaving or self.scheduler.speaks(digest):
                return
            self._leaving.discard(digest)
            del self._known[digest]
            self._residents.drop(digest)
            self._proved.discard(digest)
            kept = [one for one in self._neighbours if one[0] != digest]
            self._neighbours = deque(kept, maxlen=NEIGHBOURS)
        self._loader.submit(self.scheduler.run, self.scheduler.forget(digest, self._held))

    def _held(self) -> list[Weights]:
        with self._mutex:
            return self._residents.all()

    def _require(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._known:
            names = [f"{digest[:16]} ({one.name})" for digest, one in self._known.items()]
            known = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"
            raise AdapterError(f"adapter {adapter!r} is not loaded; loaded are: {known}; load it first")

    def _shared(self, messages: Sequence[Message], prompt: list[int]) -> int:
        """Tokens up to where the user's own words begin: what every request of a domain begins with."""
        if not messages or messages[0].role != "system":
            return 0
        other = self.base.prompt([messages[0], Message("user", "")])
        pairs = enumerate(zip(prompt, other, strict=False))
        return next((n for n, (a, b) in pairs if a != b), 0)

    def _speak(self, request: Request) -> Iterator[str]:
        text = DecodeStream(skip_special_tokens=True)  # holds bytes back until they are whole characters
        self.scheduler.submit(request)
        try:
            while (token := request.out.get()) is not None:
                if isinstance(token, Exception):
                    raise token
                if piece := text.step(self.base.tokenizer.backend_tokenizer, token):
                    yield piece
        finally:
            self.scheduler.end(request)
            if request.adapter is not None:
                self._let_go(request.adapter)

    def _weights(self, digest: str) -> Weights | None:
        """For the scheduler: at once, or None while the loader fetches them. Raises what the loader raised."""
        with self._mutex:
            self._require(digest)
            found = self._residents.get(digest)
            if found is None and (loading := self._fetch(digest)).done():
                loading.result()
            return found

    def _fetch(self, digest: str) -> Future[None]:
        with self._mutex:
            if (current := self._loading.get(digest)) is None or current.done():
                if current is not None and current.exception() is not None:
                    del self._loading[digest]  # told once; asking again tries again
                    return current
                self._loading[digest] = current = self._loader.submit(self._load, digest)
            return current

    def _read(self, adapter: Adapter) -> Weights:
        return weights_of(adapter, self.base, self._rank)

    def _load(self, digest: str) -> None:
        """In the loader's thread: read an adapter, and let it prove itself unless it did before."""
        with self._mutex:
            self._require(digest)
            adapter = self._known[digest]
            if self._residents.get(digest) is not None:
                return
            proved, known = digest in self._proved, self._base_trace
        if known is None:
            known = self.scheduler.run(self._alone(Speaker(None, None, self._first_spare)))
        weights = self._read(adapter)  # the same bytes as ever: their digest is checked
        trace = None if proved else self.scheduler.run(self._prove(adapter, weights, known))
        with self._mutex:
            self._base_trace = known
            if digest in self._known:
                self._residents.put(digest, weights)
                if trace is not None:
                    self._proved.add(digest)
                    self._neighbours.append((digest, weights, trace))

    def _alone(self, speaker: Speaker) -> Job:
        return (yield from proof.speak(self.decoder, self.base, [speaker]))[0]

    def _prove(self, adapter: Adapter, weights: Weights, base: Trace) -> Job:
        """Between the others' steps: effect, then isolation in one batch with the base and its neighbours."""
        with self._mutex:
            neighbours = list(self._neighbours)
        company = [(digest, held, trace) for digest, held, trace in neighbours if digest != adapter.digest]
        lanes, free = self.scheduler.lanes, iter(range(self._first_spare, self._first_spare + NEIGHBOURS + 2))
        taken = [lanes.take(digest, held) for digest, held, _ in [(adapter.digest, weights, base), *company]]
        try:
            new = Speaker(adapter.digest, taken[0], next(free))
            trace: Trace = yield from self._alone(new)
            proof.effect(adapter, base, trace)
            speakers = [new, Speaker(None, None, next(free))]
            speakers += [Speaker(one[0], lane, next(free)) for one, lane in zip(company, taken[1:], strict=True)]
            alone = [trace, base, *(one[2] for one in company)]
            mixed = yield from proof.speak(self.decoder, self.base, speakers, alone)
            proof.isolation(adapter, speakers, alone, mixed, proof.ISOLATION[self.decoder.dtype])
        finally:
            for lane in taken:
                lanes.leave(lane)
        return trace
