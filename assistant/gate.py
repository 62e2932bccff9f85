"""Whether a candidate adapter may speak: its reports against those of the current one. Promotes nothing itself."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.store import Adapter
from assistant.evaluation import golden as exam
from assistant.packs import Pack
from assistant.turn import Parts
from domains.manifest import Gate
from domains.pack import DomainError

Progress = Callable[[str, int, int], None]
Report = dict[str, Any]


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

    def of(self, adapter: Adapter, pack: Pack) -> tuple[Report, str] | None:
        """The report of exactly this adapter on exactly this pack, and its own digest; None before it sat the exam."""
        try:
            text = self._path(adapter, pack).read_text(encoding="utf-8")
            report: Report = json.loads(text)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DomainError(
                f"{self._path(adapter, pack)}: not a report: {error}; delete it and examine again"
            ) from error
        if report.get("adapter") != adapter.digest or report.get("pack") != pack.domain.digest:
            raise DomainError(
                f"{self._path(adapter, pack)} is about adapter {report.get('adapter')} and pack {report.get('pack')}, "
                f"expected {adapter.digest} and {pack.domain.digest}; delete it and examine again"
            )
        if "policy_passed" not in report["metrics"]:  # of an older version, whose exam asked for less
            return None
        return report, hashlib.sha256(text.encode()).hexdigest()

    def examine(self, parts: Parts, adapter: Adapter, pack: Pack, progress: Progress) -> tuple[Report, str]:
        """Let an adapter sit its pack's exam through the turn that users get, unless it did before."""
        if known := self.of(adapter, pack):
            return known
        questions = pack.domain.golden
        if not questions:
            raise DomainError(f"pack {pack.domain.name!r} has no golden.jsonl, so its adapter cannot be examined")
        packs = {**parts.packs, pack.domain.name: replace(pack, adapter=adapter)}
        graded = []
        for one in exam.sit(replace(parts, packs=packs), pack.domain.name, questions):
            graded.append(one)
            progress(f"Exam of {adapter.digest[:12]}", len(graded), len(questions))
        report: Report = {
            "adapter": adapter.digest,
            "base": adapter.passport.base,
            "pack": pack.domain.digest,
            "domain": pack.domain.name,
            "n": len(graded),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": exam.metrics(graded)
            | {"policy_passed": exam.policy_passed(graded), "total_ms_p50": _median_ms(graded)},
            "failures": [[one.golden.expect, one.golden.ask, one.failure] for one in graded if one.failure],
        }
        path = self._path(adapter, pack)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(report, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.replace(path)
        return self.of(adapter, pack) or (report, "")

    def _path(self, adapter: Adapter, pack: Pack) -> Path:
        return self._folder / f"{adapter.digest[:32]}-{pack.domain.digest[:16]}.json"


def weigh(candidate: Report, current: Report, demands: Gate) -> list[Verdict]:
    """Every demand of the pack's gate, met or not. A candidate is as good as its worst one."""
    return list(_verdicts(candidate["metrics"], current["metrics"], demands))


def _verdicts(new: dict[str, Any], old: dict[str, Any], demands: Gate) -> Iterator[Verdict]:
    for metric, value in new.items():
        before = old.get(metric)
        if metric == "total_ms_p50":
            most = demands.slower * before if before else None
            yield Verdict(metric, value, before, f"≤ {most:.0f}" if most else "-", most is None or value <= most)
            continue
        if value is None:  # the exam has no such question
            continue
        slack = 0.0 if metric in demands.never_worse else demands.worse
        least = max(getattr(demands.least, metric), (before or 0.0) - slack)
        yield Verdict(metric, value, before, f"≥ {least:.3f}", value >= least)


def _median_ms(graded: list[exam.Graded]) -> float:
    return round(1000 * statistics.median(one.turn.timings["total"] for one in graded), 1)
