"""Runs an evaluation on an opened product and says it in the one format of all evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from assistant.app import App
from assistant.evaluation import golden as exam
from domains.pack import DomainError, read_exam

FAILURES_KEPT = 100


def golden(
    app: App, domain: str, data: Path | None = None, progress: Callable[[int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """The exam of ``domain``, or the one in the file ``data``.

    Raises:
        DomainError: no such enabled pack, no exam, or a line of the file does not fit.
    """
    packs = app.packs.enabled()
    if domain not in packs:
        raise DomainError(f"there is no enabled pack {domain!r}; there are {', '.join(packs)}")
    questions = read_exam(data) if data else packs[domain].domain.golden
    if not questions:
        raise DomainError(f"pack {domain!r} has no golden.jsonl, so there is no exam to sit")
    started = time.perf_counter()
    graded = []
    for one in exam.sit(app.parts(), domain, questions):
        graded.append(one)
        progress(len(graded), len(questions))
    adapter = packs[domain].adapter
    return {
        "task": "golden",
        "data": str(data) if data else f"{domain}/golden.jsonl",
        "n": len(graded),
        "seconds": round(time.perf_counter() - started, 2),
        "model": {
            "base": app.engine.base.digest,
            "adapter": adapter.digest if adapter else None,
            "embedder": app.parts().embedder.fingerprint,
            "head": packs[domain].learned.gate.digest,
        },
        "metrics": exam.metrics(graded),
        "failures": list(_failures(graded)),
    }


def _failures(graded: Iterable[exam.Graded]) -> Iterable[tuple[str, str, str]]:
    for one in graded:
        if one.failure:
            yield one.golden.ask, f"[{one.golden.expect}] {one.failure}", one.turn.answer
