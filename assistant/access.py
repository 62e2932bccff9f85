"""What of a finished turn somebody may see: nothing that rests on passages of a group they are not in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from assistant.record import Turn

HIDDEN = "This answer rests on documents that you may not read."


def shown(turn: Turn, groups: Collection[str]) -> Turn:
    """The turn as a member of ``groups`` may see it; the same turn when there is nothing to hide."""
    readable = {"", *groups}
    hits = tuple(hit for hit in turn.hits if hit.passage.access in readable)
    citations = tuple(one for one in turn.citations if one.access in readable)
    if len(citations) < len(turn.citations):
        return replace(
            turn, answer=HIDDEN, sentences=(HIDDEN,), citations=(), hits=hits, dropped=(), findings=(), author="policy"
        )
    return turn if len(hits) == len(turn.hits) else replace(turn, hits=hits, dropped=(), findings=())
