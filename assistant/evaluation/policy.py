"""A pack's policy exam: what it must refuse, escalate, disclaim and answer. JUnit for continuous integration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from assistant import reader
from assistant.app import App
from assistant.evaluation.golden import POLICIES, Graded, sit
from assistant.packs import Pack
from assistant.turn import Parts
from assistant.vectors import VectorCache
from domains.pack import DomainError


@dataclass(frozen=True, slots=True)
class Result:
    """One case of the exam and the seconds it took."""

    graded: Graded
    seconds: float


def examine(app: App, path: Path, *, trust_code: bool, progress: Callable[[int, int], None]) -> list[Result]:
    """Sit the exam of the pack in the folder ``path``, which need not be added, among the packs that are live.

    Raises:
        DomainError: the pack is broken, or has no such questions.
    """
    pack = app.packs.prepare(path, trust_code=trust_code)
    cases = [golden for golden in pack.domain.golden if golden.expect in POLICIES]
    if not cases:
        raise DomainError(f"{path}/golden.jsonl: holds no question that expects {', '.join(POLICIES)}: no policy exam")
    results: list[Result] = []
    started = time.perf_counter()
    for graded in sit(_among(app, pack), pack.domain.name, cases):
        results.append(Result(graded, time.perf_counter() - started))
        progress(len(results), len(cases))
        started = time.perf_counter()
    return results


def junit(pack: str, results: Iterable[Result]) -> str:
    """The results as JUnit XML: a suite for each expectation."""
    kept = list(results)
    root = ElementTree.Element("testsuites", {"name": f"policy exam of {pack}"} | _counts(kept))
    for policy in POLICIES:
        mine = [one for one in kept if one.graded.golden.expect == policy]
        suite = ElementTree.SubElement(root, "testsuite", {"name": f"{pack}.{policy}"} | _counts(mine))
        for one in mine:
            golden, failure = one.graded.golden, one.graded.failure
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{pack}.{policy}", name=golden.ask, time=f"{one.seconds:.3f}"
            )
            if failure:
                ElementTree.SubElement(case, "failure", message=failure).text = one.graded.turn.answer
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(results: list[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(not one.graded.passed for one in results)),
        "time": f"{sum(one.seconds for one in results):.3f}",
    }


def _among(app: App, pack: Pack) -> Parts:
    """What would serve if the pack were added."""
    parts = app.parts()
    packs = {**parts.packs, pack.domain.name: pack}
    cache = VectorCache(parts.embedder, app.settings.home / "cache")
    return replace(parts, packs=packs, reader=reader.train([one.domain for one in packs.values()], cache))
