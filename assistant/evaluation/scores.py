"""Counts what a filter caught and what it wrongly stopped, and turns the counts into the metrics that are reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assistant.evaluation.rows import Injection, Message, read

if TYPE_CHECKING:
    from assistant.turn import Parts

Metrics = dict[str, float | None]
Progress = Callable[[int, int], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a thing was there, and how often it was seen."""

    hit: int = 0  # there and seen
    missed: int = 0
    false_alarm: int = 0  # seen and not there
    quiet: int = 0  # neither

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Counts:
        """Counts of (there, seen)."""
        kept = list(pairs)
        return cls(
            sum(there and seen for there, seen in kept),
            sum(there and not seen for there, seen in kept),
            sum(seen and not there for there, seen in kept),
            sum(not there and not seen for there, seen in kept),
        )

    @property
    def precision(self) -> float | None:
        """Share of what was seen that is there."""
        return share(self.hit, self.hit + self.false_alarm)

    @property
    def recall(self) -> float | None:
        """Share of what is there that was seen."""
        return share(self.hit, self.hit + self.missed)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return share(2 * self.hit, 2 * self.hit + self.missed + self.false_alarm)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of what is not there that was seen all the same."""
        return share(self.false_alarm, self.false_alarm + self.quiet)

    @property
    def accuracy(self) -> float | None:
        """Share of what was judged rightly."""
        return share(self.hit + self.quiet, self.hit + self.missed + self.false_alarm + self.quiet)

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the recalls of both classes; None where one is absent."""
        if self.recall is None or self.false_positive_rate is None:
            return None
        return round((self.recall + 1 - self.false_positive_rate) / 2, 4)


@dataclass(frozen=True, slots=True)
class Screened:
    """What a filter made of a file of labelled texts."""

    data: Path
    counts: Counts
    seconds: tuple[float, ...]  # of each text
    started: float

    def result(self, task: str, parts: Parts, metrics: Sequence[str]) -> Any:
        """The named counts and the median time, in the one format."""
        values: Metrics = {name: getattr(self.counts, name) for name in metrics}
        values["ms_p50"] = median_ms(self.seconds)
        return result(task, self.data, len(self.seconds), self.started, heads(parts), values)


def screen(
    data: Path, form: type[Injection | Message], positive: str, seen: Callable[[str], bool], progress: Progress
) -> Screened:
    """Show a filter every text of ``data``, whose rows with the label ``positive`` it should see.

    Raises:
        DataError: a line of the file does not fit ``form``.
    """
    rows, started = read(data, form), time.perf_counter()
    pairs, seconds = [], []
    for row in rows:
        found, taken = timed(lambda text=row.text: seen(text))  # type: ignore[misc]
        pairs.append((row.label == positive, found))
        seconds.append(taken)
        progress(len(pairs), len(rows))
    return Screened(data, Counts.of(pairs), tuple(seconds), started)


def share(part: float, whole: float) -> float | None:
    """``part`` of ``whole``; None of nothing."""
    return round(part / whole, 4) if whole else None


def median_ms(seconds: Iterable[float]) -> float | None:
    """The median in milliseconds."""
    kept = list(seconds)
    return round(1000 * statistics.median(kept), 3) if kept else None


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """What a call gives, and the seconds it took."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def result(task: str, data: Path, n: int, started: float, model: dict[str, str | None], metrics: Metrics) -> Any:
    """The one format of all evaluations; ``started`` is of ``time.perf_counter``."""
    return {
        "task": task,
        "data": str(data),
        "n": n,
        "seconds": round(time.perf_counter() - started, 2),
        "model": {"base": None, "adapter": None, "embedder": None, "head": None} | model,
        "metrics": metrics,
    }


def heads(parts: Parts) -> dict[str, str | None]:
    """The models that the input screens consist of."""
    return {"embedder": parts.embedder.fingerprint, "head": parts.detectors.digest}
