"""What happened to an installation's adapters: lines that are only appended, each chained to the one before."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adapters.store import AdapterError

FIRST = "0" * 64
RECORD = "record.jsonl"
Action = Literal["candidate", "canary", "stop", "promote", "rollback", "gc"]


class ShelfError(AdapterError):
    """A move in an adapter's life that cannot be made, or a record that was tampered with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record."""

    at: str  # ISO 8601, UTC
    by: str
    action: Action
    name: str
    digest: str
    before: str | None  # digest of what was current until then
    reports: Mapping[str, str]  # digest of each report that was asked for, by what it is about
    note: str
    previous: str  # sha256 of the line before
    sha256: str = ""
    share: float | None = None  # of the conversations that a canary gets

    def content(self) -> dict[str, Any]:
        """What is written and chained; a line without a share reads as before there were any."""
        kept = {key: getattr(self, key) for key in self.__dataclass_fields__ if key != "sha256"}
        return {key: value for key, value in kept.items() if key != "share" or value is not None}

    def chained(self) -> str:
        """SHA-256 of everything but itself."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Record:
    """The file, safe to append to from several processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def revision(self) -> tuple[int, int]:
        """Changes whenever the file does."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_size, stat.st_mtime_ns

    def entries(self) -> list[Entry]:
        """All of it, oldest first.

        Raises:
            ShelfError: a line was changed, removed or put in.
        """
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found, previous = [], FIRST
        for number, line in enumerate(lines, start=1):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ShelfError(f"{self._path}:{number}: not a line of the record: {error}") from error
            if entry.previous != previous or entry.chained() != entry.sha256:
                raise ShelfError(
                    f"{self._path}:{number}: has digest {entry.chained()} after {entry.previous}, the record says "
                    f"{entry.sha256} after {previous}; it was changed by hand: restore it from a backup"
                )
            found.append(entry)
            previous = entry.sha256
        return found

    def append(self, make: Callable[[Sequence[Entry]], Entry]) -> None:
        """Add what ``make`` makes of all that stands there; nobody else writes meanwhile."""
        with self._locked():
            made = make(self.entries())
            line = made.content() | {"sha256": made.chained()}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, across processes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (self._path.parent / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
