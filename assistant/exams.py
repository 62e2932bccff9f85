"""Sits the policy exam of every live pack in the background, once for each state of it: what it must refuse, escalate,
disclaim and answer. It reports; it takes no pack away from users.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from assistant.evaluation.golden import POLICIES, sit
from assistant.packs import Pack
from assistant.turn import Parts

POLL = 2.0  # seconds between looks for a pack that changed
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sat:
    """How an exam went."""

    cases: int
    failures: tuple[tuple[str, str], ...]  # question, why it fails

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


class PolicyExams:
    """The exams of one installation; thread-safe."""

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts = parts
        self._sat: dict[tuple[str, str, str], Sat] = {}
        self._stop = Event()
        self._thread: Thread | None = None

    def result(self, pack: Pack) -> Sat | None:
        """How this very state of a pack did; None while it has not sat, or where it has no such questions."""
        return self._sat.get(_state(pack))

    def follow(self) -> None:
        """Begin to sit, now and after every change, until ``close``."""
        self._thread = Thread(target=self._run, name="policy-exams", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the question that is being asked."""
        self._stop.set()
        if self._thread:
            self._thread.join(30)

    def catch_up(self) -> None:
        """Let every enabled pack sit that has not sat as it is."""
        parts = self._parts()
        for name, pack in parts.packs.items():
            if self._stop.is_set():
                return
            if _state(pack) in self._sat:
                continue
            cases = [golden for golden in pack.domain.golden if golden.expect in POLICIES]
            failures = []
            for graded in sit(parts, name, cases):
                if self._stop.is_set():
                    return
                if graded.failure:
                    failures.append((graded.golden.ask, graded.failure))
            if cases:
                self._sat[_state(pack)] = Sat(len(cases), tuple(failures))
            for _, why in failures:
                _log.warning("policy exam of %s: %s", name, why)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.catch_up()
            except Exception:  # noqa: BLE001 - whatever broke, the server goes on and the exam is sat again
                _log.exception("a policy exam broke off; it is sat again")
            self._stop.wait(POLL)


def _state(pack: Pack) -> tuple[str, str, str]:
    """What an exam's result holds for: pack, index and adapter."""
    adapter = pack.adapter.digest if pack.adapter else ""
    return pack.domain.digest, pack.index.generation.name, adapter
