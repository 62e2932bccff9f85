"""Serves many requests on one base model, each with its own adapter, in this process. Never merges or trains."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import DynamicCache

from adapters.base import Base
from adapters.chat import Message, Sampling
from adapters.lora import Lora
from adapters.store import Adapter, AdapterError

PROBES = ("What can you help me with?", "Answer from the passage only. Passage: the fee is 12 EUR. What is the fee?")
PROBE_STEPS = 3  # prefill and two single tokens: both shapes of a step
EFFECT = 0.01  # least change of a logit on the probes; an adapter without effect changes none by any amount


class EngineError(Exception):
    """A request that cannot be served."""


class EngineBusy(EngineError):  # noqa: N818 - it is a state, and callers retry
    """Too many requests wait already; try again shortly."""


class Turns:
    """A lock handed over in the order of asking, so that requests advance token by token."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._mutex:
            if not self._held:
                self._held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()
        except BaseException:
            self._give_up(gate)
            raise

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._held = False

    def _give_up(self, gate: threading.Lock) -> None:
        with self._mutex:
            if gate in self._waiting:
                self._waiting.remove(gate)
            else:
                self._hand_over()


class TorchEngine:
    """The reference ``ChatModel``: plain torch and peft, correct before fast.

    Requests take turns token by token. Each has its own KV cache; one step computes one request.
    """

    def __init__(self, base: Base, *, slots: int = 8, queue: int = 32, patience: float = 60.0) -> None:
        """
        Args:
            base: the loaded base model.
            slots: requests that speak at once; each holds a KV cache.
            queue: requests that may wait for a slot; one more is refused.
            patience: seconds a request waits before it is refused.
        """
        self.base = base
        self._lora = Lora(base)
        self._loaded: dict[str, Adapter] = {}
        self._turns = Turns()
        self._slots = threading.Semaphore(slots)
        self._queue, self._patience = queue, patience
        self._mutex = threading.Lock()
        self._waiting = 0

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        """Yield pieces of the answer; see ``ChatModel``. The slot is taken at the first piece.

        Raises:
            AdapterError: no adapter of that digest is loaded.
            EngineError: prompt and answer do not fit the model's context.
            EngineBusy: at the first piece, when too many wait.
        """
        self._require(adapter)
        prompt = self.base.prompt(messages)
        if len(prompt) + sampling.max_tokens > self.base.max_length:
            raise EngineError(
                f"the prompt has {len(prompt)} tokens and the answer may have {sampling.max_tokens}, "
                f"together the model takes {self.base.max_length}; shorten the passages or the history"
            )
        return self._speak(prompt, adapter, sampling)

    def load(self, adapter: Adapter) -> None:
        """Load an adapter and test its effect and its isolation; it serves only if it passes.

        Raises:
            AdapterError: it does not fit, changes nothing, or changes what others say. It is not loaded then.
        """
        with self._turns:
            if adapter.digest in self._loaded:
                return
            before = {speaker: self._alone(speaker) for speaker in (None, *self._loaded)}
            self._lora.insert(adapter)
            try:
                before[adapter.digest] = self._alone(adapter.digest)
                self._test_effect(adapter, before[None], before[adapter.digest])
                self._test_isolation(adapter, before)
            except AdapterError:
                self._lora.remove(adapter.digest)
                raise
            self._loaded[adapter.digest] = adapter

    def unload(self, digest: str) -> None:
        """Forget an adapter. A request that still speaks with it ends with ``AdapterError``."""
        with self._turns:
            self._require(digest)
            self._lora.remove(digest)
            del self._loaded[digest]

    def adapters(self) -> list[Adapter]:
        """What is loaded, oldest first."""
        return list(self._loaded.values())

    def _require(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._loaded:
            known = ", ".join(f"{digest[:16]} ({a.name})" for digest, a in self._loaded.items()) or "none"
            raise AdapterError(f"adapter {adapter!r} is not loaded; loaded are: {known}; load it first")

    def _speak(self, prompt: list[int], adapter: str | None, sampling: Sampling) -> Iterator[str]:
        draw = _drawer(sampling)
        text = DecodeStream(skip_special_tokens=True)  # holds bytes back until they are whole characters
        with self._slot():
            cache, fed = DynamicCache(config=self.base.model.config), prompt
            for _ in range(sampling.max_tokens):
                with self._turns:
                    self._require(adapter)
                    token = draw(self._step(fed, cache, adapter))
                if token in self.base.eos:
                    return
                piece = text.step(self.base.tokenizer.backend_tokenizer, token)
                if piece:
                    yield piece
                fed = [token]

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._slots.release()

    def _wait(self) -> None:
        with self._mutex:
            if self._waiting >= self._queue:
                raise EngineBusy(f"{self._waiting} requests wait already, at most {self._queue} may; try again shortly")
            self._waiting += 1
        try:
            if not self._slots.acquire(timeout=self._patience):
                raise EngineBusy(f"no slot came free in {self._patience:g} s; try again shortly")
        finally:
            with self._mutex:
                self._waiting -= 1

    @torch.inference_mode()
    def _step(self, tokens: list[int], cache: DynamicCache, adapter: str | None) -> Tensor:
        """Logits of the next token, fp32 [vocabulary]. The caller has the turn."""
        self._lora.use(adapter)
        ids = torch.tensor([tokens], device=self.base.model.device)
        output = self.base.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = output.logits[0, -1].float()
        return logits

    def _trace(self, speaker: str | None) -> Iterator[Tensor]:
        """What one speaker would say to the probes, step by step, as logits."""
        for probe in PROBES:
            cache, fed = DynamicCache(config=self.base.model.config), self.base.prompt([Message("user", probe)])
            for _ in range(PROBE_STEPS):
                logits = self._step(fed, cache, speaker)
                yield logits
                fed = [int(logits.argmax())]

    def _alone(self, speaker: str | None) -> list[Tensor]:
        return list(self._trace(speaker))

    def _test_effect(self, adapter: Adapter, base: list[Tensor], adapted: list[Tensor]) -> None:
        if not all(bool(logits.isfinite().all()) for logits in adapted):
            raise AdapterError(f"adapter {adapter.name!r} gives logits that are not finite; train it again, slower")
        first = range(0, len(base), PROBE_STEPS)  # later steps may follow different tokens
        effect = max(float((base[i] - adapted[i]).abs().max()) for i in first)
        if effect <= EFFECT:
            raise AdapterError(
                f"adapter {adapter.name!r} moves the logits by {effect:.2g}, expected more than {EFFECT:g}: "
                "it has no effect on this base model; train it again"
            )

    def _test_isolation(self, adapter: Adapter, before: dict[str | None, list[Tensor]]) -> None:
        """All speakers in turn, a step each, must say exactly what each said alone."""
        traces = {speaker: self._trace(speaker) for speaker in before}
        for step in range(len(PROBES) * PROBE_STEPS):
            for speaker, trace in traces.items():
                if not torch.equal(next(trace), before[speaker][step]):
                    who = "the base model" if speaker is None else f"adapter {speaker[:16]}"
                    raise AdapterError(
                        f"with adapter {adapter.name!r} loaded, {who} answers differently than before; "
                        "it is not loaded, the others are as they were: train it again with plain LoRA"
                    )


def _drawer(sampling: Sampling) -> Callable[[Tensor], int]:
    if sampling.temperature <= 0:
        return lambda logits: int(logits.argmax())
    generator = torch.Generator().manual_seed(sampling.seed)

    def draw(logits: Tensor) -> int:
        odds = torch.softmax(logits.cpu() / sampling.temperature, dim=-1)
        return int(torch.multinomial(odds, 1, generator=generator))

    return draw
