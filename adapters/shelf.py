"""Which adapter of a name is candidate, current or retired, since when and who said so. Loads and judges nothing.

Adapters lie in folders that are named by their digest and never change; what happened to them stands in the record.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.canary import Canary, latest
from adapters.passport import PASSPORT, read, sign, write
from adapters.record import FIRST, RECORD, Action, Entry, Record, ShelfError
from adapters.store import CONFIG, WEIGHTS, AdapterError, digest_of, find

__all__ = ["Entry", "Held", "Shelf", "ShelfError", "sign_folder"]
DIGESTS = "by-digest"
KEPT = (WEIGHTS, CONFIG, PASSPORT, "README.md", "curves.png")
State = Literal["candidate", "canary", "current", "retired"]


@dataclass(frozen=True, slots=True)
class Held:
    """An adapter on the shelf."""

    name: str
    digest: str
    state: State
    folder: Path
    since: str | None  # None: it came with the product
    by: str | None


class Shelf:
    """The adapters of one installation: those that came with it, and those that were trained since."""

    def __init__(self, home: Path, roots: Sequence[Path] = ()) -> None:
        """
        Args:
            home: where the record and the adapters by digest are kept.
            roots: folders of adapters by name, for names without any promotion.
        """
        self.home, self.roots = home, (home, *roots)
        self._record = Record(home / RECORD)

    def revision(self) -> tuple[int, int]:
        """Changes whenever the record does."""
        return self._record.revision()

    def entries(self) -> list[Entry]:
        """The whole record, oldest first.

        Raises:
            ShelfError: a line was changed, removed or put in.
        """
        return self._record.entries()

    def current(self, name: str) -> Path:
        """The folder of the adapter that speaks for ``name``.

        Raises:
            AdapterError: there is none, or its folder is gone.
        """
        digest = self._current_digest(name, self.entries())
        if digest is not None:
            return self.folder(name, digest)
        found = find(self.roots, name)
        copy = self.home / DIGESTS / digest_of(found)  # of one that came with the product, and was signed here
        return copy if (copy / PASSPORT).is_file() else found

    def folder(self, name: str, digest: str) -> Path:
        """Where an adapter lies.

        Raises:
            ShelfError: it is not here any more.
        """
        folder = self.home / DIGESTS / digest
        if (folder / PASSPORT).is_file():
            return folder
        for root in self.roots:
            named = root / name
            if (named / PASSPORT).is_file() and digest_of(named) == digest:
                return named
        raise ShelfError(f"adapter {name!r} {digest} is not in {self.home}; it was removed: add it again")

    def all(self) -> list[Held]:
        """Every adapter that is here, by name; the current one first, then the newest."""
        entries = self.entries()
        names = dict.fromkeys([*self._named(), *(entry.name for entry in entries)])
        return [held for name in sorted(names) for held in self._of(name, entries)]

    def resolve(self, name: str, start: str) -> Held:
        """The adapter of ``name`` whose digest begins with ``start``.

        Raises:
            ShelfError: none does, or several.
        """
        held = [one for one in self.all() if one.name == name]
        found = [one for one in held if one.digest.startswith(start)]
        if len(found) != 1 or not start:
            known = ", ".join(f"{one.digest[:16]} ({one.state})" for one in held) or "none"
            raise ShelfError(
                f"{len(found)} adapters of {name!r} have a digest that begins with {start!r}; there are {known}"
            )
        return found[0]

    def add(self, name: str, folder: Path, by: str, note: str = "") -> Held:
        """Take a finished adapter in as a candidate; its files are copied.

        Of an adapter that is here already only the passport is, where it was signed since.
        """
        digest = digest_of(folder)
        self._copy(folder, digest)
        if not any(one.digest == digest for one in self.all() if one.name == name):
            self._append("candidate", name, digest, by, {}, note)
        return self.resolve(name, digest)

    def _copy(self, folder: Path, digest: str) -> None:
        """Copy what is not here yet; of what is, only a passport that has been signed since."""
        target = self.home / DIGESTS / digest
        if target.exists():
            if (papers := read(folder)).signature and papers != read(target):
                write(target, papers)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as aside:
                made = Path(aside) / digest
                made.mkdir()
                for file in KEPT:
                    if (folder / file).is_file():
                        shutil.copyfile(folder / file, made / file)
                made.rename(target)

    def sign(self, name: str, digest: str, key: Ed25519PrivateKey) -> Held:
        """Sign the passport of our copy of an adapter; one that came with the product stays as it came."""
        source = self.resolve(name, digest)
        self._copy(source.folder, source.digest)
        sign_folder(self.home / DIGESTS / source.digest, key)
        return self.resolve(name, source.digest)

    def promote(self, name: str, digest: str, by: str, reports: Mapping[str, str], note: str = "") -> None:
        """Let a candidate speak; what spoke is retired and can be rolled back to.

        Raises:
            ShelfError: the adapter is gone, or it is current already.
        """
        self.folder(name, digest)
        self._append("promote", name, digest, by, reports, note)

    def canary(self, name: str) -> Canary | None:
        """The last canary of a name, running or ended."""
        return latest(name, self.entries())

    def try_out(
        self, name: str, digest: str, share: float, by: str, reports: Mapping[str, str], note: str = ""
    ) -> None:
        """Let a candidate speak in a share of the conversations, until it is promoted, stopped, or another one tried.

        Raises:
            ShelfError: the share is none, the adapter is gone, or it is current already.
        """
        if not 0 < share < 1:
            raise ShelfError(f"a canary gets more than none and less than all conversations, found {share:.0%}")
        self.folder(name, digest)
        self._append("canary", name, digest, by, reports, note, share)

    def stop(self, name: str, by: str, note: str = "") -> str:
        """Let the running canary speak no more, and return its digest.

        Raises:
            ShelfError: there is none.
        """
        found = self.canary(name)
        if found is None or found.until is not None:
            raise ShelfError(f"no canary of {name!r} runs; 'assistant adapters promote --canary' begins one")
        self._append("stop", name, found.digest, by, {}, note)
        return found.digest

    def before(self, name: str) -> str | None:
        """The digest that ``rollback`` goes back to; None where there is nothing to go back to."""
        entries = self.entries()
        now = self._current_digest(name, entries)
        older = [one.before for one in entries if (one.name, one.digest, one.action) == (name, now, "promote")]
        return next((digest for digest in reversed(older) if digest != now), None)

    def rollback(self, name: str, by: str, note: str = "") -> str:
        """Let what spoke before speak again, and return its digest.

        Raises:
            ShelfError: nothing was promoted yet, or the older one is gone.
        """
        older = self.before(name)
        if older is None:
            now = self._current_digest(name, self.entries()) or "the one it came with"
            raise ShelfError(f"no adapter spoke for {name!r} before {now}; nothing to go back to")
        self.folder(name, older)
        self._append("rollback", name, older, by, {}, note)
        return older

    def gc(self, by: str, keep: int = 2) -> list[Held]:
        """Remove retired adapters but the ``keep`` newest of each name, and say which."""
        removed = []
        for name in {one.name for one in self.all()}:
            ours = [one for one in self.all() if one.name == name and one.folder.parent == self.home / DIGESTS]
            removed += [one for one in ours if one.state == "retired"][keep:]
        spoken_for = {one.folder for one in self.all()} - {one.folder for one in removed}
        for one in removed:
            self._append("gc", one.name, one.digest, by, {}, "")
            if one.folder not in spoken_for:
                shutil.rmtree(one.folder)
        return removed

    def _named(self) -> Iterator[str]:
        for root in self.roots:
            yield from (path.parent.name for path in root.glob(f"*/{PASSPORT}") if path.parent.name != DIGESTS)

    def _of(self, name: str, entries: Sequence[Entry]) -> Iterator[Held]:
        newest = {entry.digest: entry for entry in entries if entry.name == name}
        current = self._current_digest(name, entries)
        found: Path | None
        try:
            found = find(self.roots, name)
            built_in = digest_of(found)
        except AdapterError:
            found = built_in = None
        running = last.digest if (last := latest(name, entries)) and last.until is None else None
        order = sorted(newest.values(), key=lambda entry: (entry.digest == current, entry.at), reverse=True)
        for entry in order:
            if entry.action == "gc":
                continue
            state: State = "candidate" if entry.action in ("candidate", "canary", "stop") else "retired"
            if entry.digest in (current, running):
                state = "current" if entry.digest == current else "canary"
            folder = self.home / DIGESTS / entry.digest
            if not folder.exists() and built_in == entry.digest and found is not None:
                folder = found
            yield Held(name, entry.digest, state, folder, entry.at, entry.by)
        if found and built_in and built_in not in newest:
            state = "retired" if current else "current"
            yield Held(name, built_in, state, self.folder(name, built_in), None, None)

    def _current_digest(self, name: str, entries: Sequence[Entry]) -> str | None:
        turns = [entry for entry in entries if entry.name == name and entry.action in ("promote", "rollback")]
        return turns[-1].digest if turns else None

    def _append(
        self,
        action: Action,
        name: str,
        digest: str,
        by: str,
        reports: Mapping[str, str],
        note: str,
        share: float | None = None,
    ) -> None:
        def make(entries: Sequence[Entry]) -> Entry:
            before = self._current_digest(name, entries)
            if before is None and action in ("promote", "canary"):
                before = self._built_in(name)
            if action in ("promote", "canary") and before == digest:
                raise ShelfError(f"adapter {name!r} {digest[:16]} speaks in all conversations already")
            at = datetime.now(UTC).isoformat(timespec="microseconds")
            previous = entries[-1].sha256 if entries else FIRST
            return Entry(at, by, action, name, digest, before, dict(reports), note, previous, share=share)

        self._record.append(make)

    def _built_in(self, name: str) -> str | None:
        try:
            return digest_of(find(self.roots, name))
        except AdapterError:
            return None


def sign_folder(folder: Path, key: Ed25519PrivateKey) -> str:
    """Sign the passport of the adapter that lies in ``folder``, on any machine; its digest.

    Raises:
        AdapterError: its files are not what its passport says.
        PassportError: it has none.
    """
    digest, papers = digest_of(folder), read(folder)
    if digest != papers.weights:
        raise AdapterError(
            f"{folder}: its files have digest {digest}, its passport says {papers.weights}; nothing was signed: "
            "copy the adapter again from where it was trained"
        )
    write(folder, sign(papers, key))
    return digest
