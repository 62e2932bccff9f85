"""Whether a candidate adapter may speak: its reports against those of the current one. Promotes nothing itself."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.store import Adapter, AdapterError
from assistant import ranking
from assistant.evaluation import golden as exam
from assistant.packs import Pack
from assistant.turn import Parts
from domains.manifest import Gate, Golden
from domains.pack import DomainError

Progress = Callable[[str, int, int], None]
Report = dict[str, Any]
PACED = 12  # questions that both adapters answer by turns, so that their times can be compared
QUIETER = 0.8  # times the current adapter's share of answers in its own words: fewer are not passed


@dataclass(frozen=True, slots=True)
class Verdict:
    """One demand, and whether it is met."""

    metric: str
    candidate: float | None
    current: float | None
    needed: str
    passed: bool


class Reports:
    """Exams that adapters sat, kept by the adapter's digest and what it was examined with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, parts: Parts, adapter: Adapter, pack: Pack) -> tuple[Report, str] | None:
        """The report of exactly this adapter, pack and context, and its own digest; None before it sat the exam."""
        return _read(self._folder, _about(parts, pack, adapter=adapter))

    def examine(self, parts: Parts, adapter: Adapter, pack: Pack, progress: Progress) -> tuple[Report, str]:
        """Let an adapter sit its pack's exam through the turn that users get, unless it did before.

        Raises:
            AdapterError: the engine failed on a question; quotes in the model's place would pass for its answers.
            DomainError: the pack has no exam.
        """
        about = _about(parts, pack, adapter=adapter)
        if known := _read(self._folder, about):
            return known
        questions = pack.domain.golden
        if not questions:
            raise DomainError(f"pack {pack.domain.name!r} has no golden.jsonl, so its adapter cannot be examined")
        graded = []
        for one in exam.sit(_spoken(parts, pack, adapter), pack.domain.name, questions):
            _require_voice(adapter, one)
            graded.append(one)
            progress(f"Exam of {adapter.digest[:12]}", len(graded), len(questions))
        report: Report = {
            "base": adapter.passport.base,
            "domain": pack.domain.name,
            "n": len(graded),
            "metrics": exam.metrics(graded)
            | {"policy_passed": exam.policy_passed(graded), "total_ms_p50": _median_ms(graded)},
            "failures": [[one.golden.expect, one.golden.ask, one.failure] for one in graded if one.failure],
        }
        return _write(self._folder, about, report)

    def pace(
        self, parts: Parts, candidate: Adapter, current: Adapter, pack: Pack, progress: Progress
    ) -> tuple[Report, str]:
        """Median milliseconds of both, asked by turns in one sitting, unless they were before: two sittings differ by
        what else the machine did.

        Raises:
            AdapterError: the engine failed on a question.
        """
        about = _about(parts, pack, candidate=candidate, current=current)
        if known := _read(self._folder / "pace", about):
            return known
        asked = _answerable(pack.domain.golden)
        graded: tuple[list[exam.Graded], list[exam.Graded]] = ([], [])
        for number, question in enumerate(asked):
            both = list(zip((candidate, current), graded, strict=True))
            for adapter, kept in both[:: -1 if number % 2 else 1]:  # who comes second finds everything warm
                kept += exam.sit(_spoken(parts, pack, adapter), pack.domain.name, [question])
                _require_voice(adapter, kept[-1])
            progress("Pace of both", number + 1, len(asked))
        return _write(self._folder / "pace", about, {"ms": [_median_ms(kept) for kept in graded] if asked else None})


def weigh(candidate: Report, current: Report, pace: Report, demands: Gate) -> list[Verdict]:
    """Every demand of the pack's gate, met or not. A candidate is as good as its worst one."""
    return [*_verdicts(candidate["metrics"], current["metrics"], demands), _in_time(pace["ms"], demands)]


def _verdicts(new: dict[str, Any], old: dict[str, Any], demands: Gate) -> Iterator[Verdict]:
    for metric, value in new.items():
        if metric == "total_ms_p50":  # of another sitting than the current one's
            continue
        before = old.get(metric)
        least = max(getattr(demands.least, metric), _kept(metric, before or 0.0, demands))
        if value is not None:
            yield Verdict(metric, value, before, f"≥ {least:.3f}", value >= least)
        elif least > 0:
            needed = f"≥ {least:.3f}, and no answer of the exam shows it: add questions to golden.jsonl"
            yield Verdict(metric, None, before, needed, False)


def _kept(metric: str, before: float, demands: Gate) -> float:
    """What a candidate must keep of what the current adapter reaches."""
    if metric in demands.never_worse:
        return before
    return before * QUIETER if metric == "spoke" else before - demands.worse


def _in_time(ms: Sequence[float] | None, demands: Gate) -> Verdict:
    if ms is None:
        return Verdict("total_ms_p50", None, None, "not compared: the exam has no question to answer", True)
    new, before = ms
    most = demands.slower * before
    return Verdict("total_ms_p50", new, before, f"≤ {most:.0f}", new <= most)


def _answerable(questions: Sequence[Golden]) -> Sequence[Golden]:
    """A few of those that the sources answer, from all over the exam."""
    found = [one for one in questions if one.expect in ("answer", "must_answer", "disclaim")]
    return found[:: -(-len(found) // PACED) or 1]


def _spoken(parts: Parts, pack: Pack, adapter: Adapter) -> Parts:
    return replace(parts, packs={**parts.packs, pack.domain.name: replace(pack, adapter=adapter)})


def _require_voice(adapter: Adapter, graded: exam.Graded) -> None:
    if failed := exam.broken(graded.turn):
        raise AdapterError(
            f"adapter {adapter.name!r} {adapter.digest[:16]} could not be examined: asked {graded.golden.ask!r}, "
            f"{failed}; make sure that the engine runs and is not busy, and examine it again"
        )


def _about(parts: Parts, pack: Pack, **spoke: Adapter) -> dict[str, str]:
    """What a report holds for: adapters, pack, and the digest of all else that shapes an answer."""
    generation, tone = pack.index.generation, parts.tone
    context = [
        version("domain-assistant"), type(parts.model).__name__, repr(parts.sampling),
        generation.name, generation.revision, parts.embedder.fingerprint, parts.detectors.digest,
        ranking.shipped().digest, pack.learned.gate.digest, pack.reading.digest if pack.reading else None,
        tone.digest if tone else None, sorted(one.domain.digest for one in parts.packs.values()),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(context).encode()).hexdigest()
    return {who: one.digest for who, one in spoke.items()} | {"pack": pack.domain.digest, "context": digest}


def _path(folder: Path, about: dict[str, str]) -> Path:
    return folder / ("-".join(digest[:32] for digest in about.values()) + ".json")


def _read(folder: Path, about: dict[str, str]) -> tuple[Report, str] | None:
    path = _path(folder, about)
    try:
        text = path.read_text(encoding="utf-8")
        report: Report = json.loads(text)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DomainError(f"{path}: not a report: {error}; delete it and examine again") from error
    for key, expected in about.items():
        if report.get(key) != expected:
            raise DomainError(
                f"{path} is about {key} {report.get(key)}, expected {expected}; delete it and examine again"
            )
    return report, hashlib.sha256(text.encode()).hexdigest()


def _write(folder: Path, about: dict[str, str], report: Report) -> tuple[Report, str]:
    path = _path(folder, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = about | report | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False) + "\n"
    aside = path.with_suffix(".new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return whole, hashlib.sha256(text.encode()).hexdigest()


def _median_ms(graded: Sequence[exam.Graded]) -> float:
    return round(1000 * statistics.median(one.turn.timings["total"] for one in graded), 1)
