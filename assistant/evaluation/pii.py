"""How much personal data is found. A span counts when at least half of it is covered, by whatever kind.

``typed_f1`` asks for the right kind too. ``KINDS`` says which of our kinds may stand for a type of the data; a type
that is not in the map is compared by its own name in lower case.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant import pii as finder
from assistant.evaluation import scores
from assistant.evaluation.rows import Annotated, Span, read
from assistant.evaluation.scores import Counts, Progress
from assistant.pii import Personal

KINDS: dict[str, frozenset[str]] = {
    "PERSON": frozenset({"name"}),
    "STREET_ADDRESS": frozenset({"address"}),
    "GPE": frozenset({"place"}),
    "LOCATION": frozenset({"place", "address"}),
    "ORGANIZATION": frozenset({"organization"}),
    "CREDIT_CARD": frozenset({"card"}),
    "DATE_TIME": frozenset({"date", "birth_date"}),
    "PHONE_NUMBER": frozenset({"phone"}),
    "EMAIL_ADDRESS": frozenset({"email"}),
    "US_SSN": frozenset({"ssn"}),
    "IBAN_CODE": frozenset({"iban"}),
    "NRP": frozenset({"nationality"}),
    "ZIP_CODE": frozenset({"postcode"}),
}


def pii(data: Path, progress: Progress = lambda *_: None) -> Any:
    """Look for personal data in every text of ``data``.

    Raises:
        DataError: a line of the file does not fit.
    """
    rows, started = read(data, Annotated), time.perf_counter()
    any_kind, typed, seconds = Tally(), Tally(), []
    for done, row in enumerate(rows, start=1):
        found, taken = scores.timed(lambda text=row.text: finder.find(text))  # type: ignore[misc]
        any_kind.add(found, row.spans, typed=False)
        typed.add(found, row.spans, typed=True)
        seconds.append(taken)
        progress(done, len(rows))
    metrics = {
        "precision": any_kind.precision,
        "recall": any_kind.recall,
        "f1": any_kind.f1,
        "typed_f1": typed.f1,
        "ms_p50": scores.median_ms(seconds),
    }
    return scores.result("pii", data, len(rows), started, {"head": finder.digest()}, metrics)


class Tally:
    """Spans that were found, and found spans that are right; one prediction may cover two spans of the data."""

    def __init__(self) -> None:
        self.recalled = Counts()
        self.right = Counts()

    def add(self, found: Sequence[Personal], wanted: Sequence[Span], *, typed: bool) -> None:
        """Compare one text."""
        hits = sum(any(_covers(one, span, typed) for one in found) for span in wanted)
        good = sum(any(_covered(one, span, typed) for span in wanted) for one in found)
        self.recalled = Counts(self.recalled.hit + hits, self.recalled.missed + len(wanted) - hits)
        self.right = Counts(self.right.hit + good, false_alarm=self.right.false_alarm + len(found) - good)

    @property
    def precision(self) -> float | None:
        """Share of found spans of which at least half is personal data."""
        return self.right.precision

    @property
    def recall(self) -> float | None:
        """Share of the data's spans of which at least half was found."""
        return self.recalled.recall

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both."""
        if not self.precision or not self.recall:
            return None if self.precision is None or self.recall is None else 0.0
        return round(2 * self.precision * self.recall / (self.precision + self.recall), 4)


def _covers(one: Personal, span: Span, typed: bool) -> bool:
    return 2 * _overlap(one, span) >= span.end - span.start and (not typed or _same_kind(one, span))


def _covered(one: Personal, span: Span, typed: bool) -> bool:
    return 2 * _overlap(one, span) >= one.end - one.start and (not typed or _same_kind(one, span))


def _overlap(one: Personal, span: Span) -> int:
    return max(0, min(one.end, span.end) - max(one.start, span.start))


def _same_kind(one: Personal, span: Span) -> bool:
    return one.kind in KINDS.get(span.type, {span.type.lower()})
