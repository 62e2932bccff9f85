"""An adapter's life in this installation: taken in, compared, promoted past the gate, rolled back, removed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread, Timer

from adapters.canary import Canary
from adapters.chat import Engine
from adapters.passport import Passport
from adapters.shelf import Entry, Held, Shelf
from adapters.store import Adapter, AdapterError
from assistant.evaluation.golden import POLICIES
from assistant.gate import Progress, Report, Reports, Verdict, weigh
from assistant.packs import Pack, Packs
from assistant.store import Store
from assistant.traffic import Figures, figures, summary
from assistant.turn import Parts
from domains.pack import DomainError

GRACE = 60.0  # seconds that turns have to begin their answer with whom they took up
POLL = 2.0  # seconds between two looks whether another process promoted or rolled back
_log = logging.getLogger(__name__)


class GateError(Exception):
    """A candidate that may not speak; the message names every demand that it misses."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside the adapter that speaks now."""

    candidate: Held
    current: Held
    reports: tuple[tuple[Report, str], tuple[Report, str]]  # candidate, current; each with its digest
    pace: tuple[Report, str]  # both by turns
    verdicts: tuple[Verdict, ...]

    @property
    def missed(self) -> list[Verdict]:
        """The demands that the candidate does not meet."""
        return [verdict for verdict in self.verdicts if not verdict.passed]

    @property
    def failed_policies(self) -> list[str]:
        """The questions of the policy exam that the candidate fails, each with why."""
        failures = self.reports[0][0]["failures"]
        return [f"{ask!r} [{expect}] {why}" for expect, ask, why in failures if expect in POLICIES]


@dataclass(frozen=True, slots=True)
class Card:
    """What a person sees of an adapter before deciding about it."""

    held: Held
    passport: Passport | None
    problem: str  # why it may not speak, or ""
    metrics: Mapping[str, float | None]  # of its exam; empty before it sat it
    doing: str  # how far its exam is, or why it failed
    canary: Canary | None = None  # the last one of its name, if this is it or was current beside it …
    traffic: Figures | None = None  # … and how this one did meanwhile
    back: str | None = None  # of the current one: whom a rollback lets speak; None: there is nothing to go back to


class Life:
    """What the command line and the Adapters tab work on. Changes reach running servers within seconds."""

    def __init__(
        self,
        shelf: Shelf,
        packs: Packs,
        engine: Engine,
        parts: Callable[[], Parts],
        verify: Callable[[Path], Adapter],
        store: Store,
        canaries: dict[str, tuple[Canary, Adapter]],
    ) -> None:
        """
        Args:
            shelf: who is candidate, canary, current and retired.
            packs: whose adapters change.
            engine: loads a candidate for its exam.
            parts: what an exam is sat with.
            verify: checks an adapter's passport against this server's base and, where one is set, its key.
            store: where the turns are that a canary is judged by.
            canaries: those that run, by name; what turns look into, kept up to date here.
        """
        self._verify, self._store, self._canaries = verify, store, canaries
        self.shelf, self._packs, self._engine, self._parts = shelf, packs, engine, parts
        self._reports = Reports(shelf.home / "reports")
        self._seen = shelf.revision()
        self._failed: dict[str, str] = {}  # why the current adapter of a name was not taken up
        self._doing: dict[str, str] = {}  # by digest
        self._examining = Lock()
        self._sitting, self._sitting_lock = Counter[str](), Lock()  # how many exams are sat with a digest
        self._listen()

    def all(self) -> list[Held]:
        """Every adapter that is here."""
        return self.shelf.all()

    def history(self, name: str) -> list[Entry]:
        """What happened to the adapters of a name, oldest first."""
        return [entry for entry in self.shelf.entries() if entry.name == name]

    def verified(self, held: Held) -> Adapter:
        """The adapter with its passport checked."""
        return replace(self._verify(held.folder), name=held.name)

    def report(self, held: Held) -> Report | None:
        """Its exam, if it sat one on the pack as it is now."""
        pack = next(iter(self._speaking(held.name)), None)
        found = self._reports.of(self._parts(), self.verified(held), pack) if pack else None
        return found[0] if found else None

    def add(self, name: str, folder: Path, by: str, note: str = "") -> Held:
        """Take a trained adapter in as a candidate.

        Raises:
            AdapterError: it is not what its passport says, or not for this base.
        """
        self._verify(folder)
        return self.shelf.add(name, folder, by, note)

    def cards(self) -> list[Card]:
        """Every adapter with its papers, its exam, and its turns beside or as a canary."""
        held = self.shelf.all()
        beside: dict[tuple[str, str], tuple[Canary, Figures]] = {}
        for name in {one.name for one in held}:
            if found := self.traffic(name):
                beside |= {(name, one.digest): (found[0], one) for one in found[1]}
        return [self._card(one, *beside.get((one.name, one.digest), (None, None))) for one in held]

    def traffic(self, name: str) -> tuple[Canary, tuple[Figures, Figures]] | None:
        """The last canary of a name, running or ended, with its figures and the current one's."""
        canary = self.shelf.canary(name)
        return (canary, figures(self._store, canary)) if canary else None

    def _card(self, held: Held, canary: Canary | None, traffic: Figures | None) -> Card:
        doing = self._doing.get(held.digest, "")
        back = self.shelf.before(held.name) if held.state == "current" else None
        try:
            adapter = self.verified(held)
            report = self.report(held) or {}
        except (AdapterError, DomainError) as error:
            return Card(held, None, str(error), {}, doing, canary, traffic, back)
        return Card(held, adapter.passport, "", report.get("metrics", {}), doing, canary, traffic, back)

    def examine(self, name: str, digest: str) -> None:
        """Compare in the background; ``cards`` tells how far it is. One exam at a time, the others wait."""
        held = self.shelf.resolve(name, digest)
        if held.digest not in self._doing or "failed" in self._doing[held.digest]:
            self._doing[held.digest] = "waiting for its exam"
            Thread(target=self._examine, args=(held,), name="adapters-exam", daemon=True).start()

    def _examine(self, held: Held) -> None:
        def progress(_: str, done: int, total: int) -> None:
            self._doing[held.digest] = f"exam: {done} of {total}"

        try:
            with self._examining:
                self.compare(held.name, held.digest, progress)
            del self._doing[held.digest]
        except Exception as error:  # noqa: BLE001 - the person who asked reads it on the card
            _log.exception("the exam of adapter %s failed", held.digest)
            self._doing[held.digest] = f"exam failed: {error}"

    def compare(self, name: str, digest: str, progress: Progress = lambda *_: None) -> Comparison:
        """Let a candidate and the current adapter sit the same exam, unless they did, and weigh the results.

        Raises:
            AdapterError: no such adapter, it may not be loaded, or its engine failed in the exam.
            DomainError: no enabled pack speaks with it, or the pack has no exam.
        """
        candidate = self.shelf.resolve(name, digest)
        current = next((one for one in self.shelf.all() if (one.name, one.state) == (name, "current")), None)
        if current is None:
            raise DomainError(f"no adapter is current for {name!r}, so there is nothing to compare with")
        pack = next(iter(self._speaking(name)), None)
        if pack is None:
            raise DomainError(f"no enabled pack speaks with an adapter named {name!r}")
        parts, both = self._parts(), (self.verified(candidate), self.verified(current))
        found = []
        with self._sat(*both):
            for adapter in both:
                self._engine.load(adapter)
                found.append(self._reports.examine(parts, adapter, pack, progress))
            pace = self._reports.pace(parts, *both, pack, progress)
        verdicts = weigh(found[0][0], found[1][0], pace[0], pack.domain.manifest.gate)
        return Comparison(candidate, current, (found[0], found[1]), pace, tuple(verdicts))

    @contextmanager
    def _sat(self, *adapters: Adapter) -> Iterator[None]:
        """While exams are sat with adapters, these stay in the engine."""
        with self._sitting_lock:
            self._sitting.update(one.digest for one in adapters)
        try:
            yield
        finally:
            with self._sitting_lock:
                self._sitting.subtract(one.digest for one in adapters)
            self._release({one.digest for one in adapters})

    def _release(self, digests: Collection[str]) -> None:
        """Let adapters leave the engine that neither speak nor sit an exam."""
        with self._sitting_lock:
            for digest in set(digests) - self._speakers() - set(+self._sitting):
                self._engine.unload(digest)

    def _speakers(self) -> set[str]:
        """Digests of those that packs and canaries speak with."""
        live = {pack.adapter.digest for pack in self._packs.live() if pack.adapter}
        return live | {adapter.digest for _, adapter in list(self._canaries.values())}

    def promote(
        self, name: str, digest: str, by: str, progress: Progress = lambda *_: None, *, share: float | None = None
    ) -> Comparison:
        """Let a candidate speak, if its reports allow it: to all, or as a canary in a share of the conversations.

        Raises:
            GateError: it misses a demand.
        """
        found = self.compare(name, digest, progress)
        if found.missed:
            missed = "; ".join(f"{v.metric} is {v.candidate}, needed {v.needed}" for v in found.missed)
            failed = "".join(f"; {one}" for one in found.failed_policies[:3])
            raise GateError(f"adapter {name!r} {found.candidate.digest[:16]} may not speak: {missed}{failed}")
        reports = {"candidate": found.reports[0][1], "current": found.reports[1][1], "pace": found.pace[1]}
        if share is None:
            trial = self.traffic(name)
            ran = trial and trial[0].until is None and trial[0].digest == found.candidate.digest
            self.shelf.promote(name, found.candidate.digest, by, reports, summary(*trial[1]) if trial and ran else "")
        else:
            self.shelf.try_out(name, found.candidate.digest, share, by, reports)
        self._follow(name)
        return found

    def stop(self, name: str, by: str, note: str = "") -> str:
        """Let the running canary speak no more; its digest."""
        digest = self.shelf.stop(name, by, note)
        self._follow(name)
        return digest

    def rollback(self, name: str, by: str, note: str = "") -> str:
        """Let the adapter speak that spoke before, at once; its digest."""
        digest = self.shelf.rollback(name, by, note)
        self._follow(name)
        return digest

    def gc(self, by: str, keep: int = 2) -> list[Held]:
        """Remove old retired adapters from disk."""
        return self.shelf.gc(by, keep)

    def follow(self) -> None:
        """Let the packs speak with what is current now. Running answers end with whom they began with.

        Raises:
            AdapterError: some cannot be; the others speak, and these are tried again at the next look.
        """
        if failed := self._take_up():
            raise AdapterError("; ".join(failed.values()))

    def _follow(self, name: str) -> None:
        """Follow what was just decided on ``name``; what is wrong with others' adapters is for the log."""
        failed = self._take_up()
        for other in failed.keys() - {name}:
            _log.error("the current adapter of %r cannot speak: %s", other, failed[other])
        if name in failed:
            raise AdapterError(failed[name])

    def _take_up(self) -> dict[str, str]:
        """Take up what changed, each name by itself; why it failed, by name."""
        revision = self.shelf.revision()
        changed = revision != self._seen
        failed: dict[str, str] = {}
        before = self._speakers()
        for name in sorted(self._names() if changed else self._failed):
            try:
                self._packs.respeak(name)
            except AdapterError as error:
                failed[name] = str(error)
        if changed:
            self._packs.retry()
            self._listen()
            leave = Timer(GRACE, self._release, (before,))
            leave.daemon = True
            leave.start()
        self._seen, self._failed = revision, failed
        return failed

    def _names(self) -> set[str]:
        """Of the adapters that packs ask for."""
        return {name for pack in self._packs.live() if (name := pack.domain.manifest.adapter)}

    def _listen(self) -> None:
        """Let the canaries speak that run now, and no others."""
        for name in self._names():
            try:
                canary = self.shelf.canary(name)
                if canary is None or canary.until is not None:
                    self._canaries.pop(name, None)
                    continue
                adapter = self.verified(self.shelf.resolve(name, canary.digest))
                self._engine.load(adapter)
                self._canaries[name] = canary, adapter
            except AdapterError as error:
                self._canaries.pop(name, None)
                _log.error("the canary of %r cannot speak, the current adapter speaks in its place: %s", name, error)

    def watch(self, seconds: float = POLL) -> None:
        """Follow, in the background, what other processes promote and roll back."""
        Thread(target=self._watch, args=(seconds,), name="adapters-life", daemon=True).start()

    def _watch(self, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            try:
                self.follow()
            except Exception:  # noqa: BLE001 - what speaks now goes on speaking; the next look may succeed
                _log.exception("the adapters that were promoted could not be taken up; trying again")

    def _speaking(self, name: str) -> list[Pack]:
        return [pack for pack in self._packs.enabled().values() if pack.domain.manifest.adapter == name]
