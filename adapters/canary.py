"""A candidate that speaks in a share of the conversations, beside the adapter that is current. Read from the record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.record import Entry

ENDS = ("promote", "rollback", "stop", "canary")  # actions that end one; the last begins another


@dataclass(frozen=True, slots=True)
class Canary:
    """One trial, running or ended."""

    name: str
    digest: str  # of the candidate
    current: str | None  # digest of who speaks in all other conversations
    share: float  # of the conversations, in (0, 1)
    since: str  # ISO 8601, UTC
    by: str
    until: str | None = None  # None: it runs

    def takes(self, conversation: int) -> bool:
        """Whether the candidate speaks in a conversation: always the same, and still so with a larger share."""
        chance = hashlib.sha256(f"{self.digest} {conversation}".encode()).digest()
        return int.from_bytes(chance[:8], "big") < self.share * 2**64


def latest(name: str, entries: Sequence[Entry]) -> Canary | None:
    """The last trial of a name, also when it has ended."""
    ours = [entry for entry in entries if entry.name == name and entry.action in ENDS]
    place = next((n for n in reversed(range(len(ours))) if ours[n].action == "canary"), None)
    if place is None:
        return None
    begun, after = ours[place], ours[place + 1 : place + 2]
    return Canary(
        name, begun.digest, begun.before, begun.share or 0.0, begun.at, begun.by, after[0].at if after else None
    )
