"""One request on its way through the batch: what it has said, what it will probably say next. Computes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch
from torch import Tensor

from adapters.chat import Sampling

NGRAMS = (3, 2)  # tokens that must match for the text behind them to be proposed, longest first
FIRST_DRAFT, LONGEST_DRAFT = 4, 8  # tokens proposed at once; doubled where all were right, halved where none was

Draw = Callable[[Tensor], int]


class EngineError(Exception):
    """A request that cannot be served."""


class EngineBusy(EngineError):  # noqa: N818 - it is a state, and callers retry
    """Too many requests wait already; try again shortly."""


class Lookup:
    """Proposes what followed the last words when they were said before: grounded answers quote their prompt."""

    def __init__(self) -> None:
        self.length = FIRST_DRAFT
        self._after: dict[tuple[int, ...], int] = {}  # n-gram: where what follows it begins
        self._indexed = 0

    def draft(self, history: Sequence[int], most: int) -> list[int]:
        """At most ``most`` tokens, or none."""
        for end in range(max(self._indexed, 1), len(history)):
            for n in NGRAMS:
                if end >= n:
                    self._after.setdefault(tuple(history[end - n : end]), end)
        self._indexed = len(history)
        for n in NGRAMS:
            if start := self._after.get(tuple(history[-n:])):
                return list(history[start : start + min(self.length, most)])
        return []

    def learn(self, proposed: int, right: int) -> None:
        """Propose more after a draft that was all right, less after one that was all wrong."""
        if proposed and right == proposed:
            self.length = min(2 * self.length, LONGEST_DRAFT)
        elif proposed and not right:
            self.length = max(1, self.length // 2)


@dataclass(eq=False, slots=True)
class Request:
    """Made by the engine, advanced by the scheduler's thread alone, read through ``out`` by whoever asked."""

    prompt: list[int]
    adapter: str | None
    sampling: Sampling
    ends: frozenset[int]
    shared: int = 0  # tokens at the beginning that other requests have, too
    drafts: bool = True
    out: SimpleQueue[int | Exception | None] = field(default_factory=SimpleQueue)  # tokens; None or an error ends it
    history: list[int] = field(default_factory=list)  # the prompt and what was said
    fed: int = 0  # tokens whose keys and values are in the cache
    row: int = -1
    lane: int | None = None
    since: float = field(default_factory=time.monotonic)  # waiting or, later, speaking
    closed: bool = False
    lookup: Lookup = field(default_factory=Lookup)
    _generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        self.history = list(self.prompt)

    @property
    def reading(self) -> int:
        """Tokens of the prompt that are not fed yet."""
        return max(0, len(self.prompt) - self.fed)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, always."""
        return self.sampling.temperature <= 0

    def proposal(self, most: int) -> list[int]:
        """What is fed when the prompt has been read: the last token, and a draft of what may follow."""
        left = self.sampling.max_tokens - (len(self.history) - len(self.prompt)) - 1
        most = min(most, left)
        last = self.history[self.fed :]
        return last + (self.lookup.draft(self.history, most) if self.drafts and self.greedy and most > 0 else [])

    def hear(self, fed: Sequence[int], logits: Tensor) -> bool:
        """Take the logits behind the fed tokens; False when the answer has ended.

        A drafted token stands only where it is what the model says itself.

        Raises:
            EngineError: the logits are not finite.
        """
        values, best = logits.max(-1)
        if not bool(values.isfinite().all()):
            raise EngineError("the model computed numbers that are not finite; the adapter or the base is broken")
        said = best.tolist() if self.greedy else [self._draw(logits[-1])]
        drafted = fed[len(fed) - len(said) + 1 :]
        right = next((n for n, token in enumerate(drafted) if token != said[n]), len(drafted))
        self.lookup.learn(len(drafted), right)
        self.fed += len(fed) - len(drafted) + right
        return all(self._say(token) for token in said[: right + 1])

    def _say(self, token: int) -> bool:
        if token in self.ends:
            return False
        self.history.append(token)
        self.out.put(token)
        return len(self.history) - len(self.prompt) < self.sampling.max_tokens

    def _draw(self, logits: Tensor) -> int:
        self._generator = self._generator or torch.Generator().manual_seed(self.sampling.seed)
        odds = torch.softmax(logits.cpu() / self.sampling.temperature, dim=-1)
        return int(torch.multinomial(odds, 1, generator=self._generator))
