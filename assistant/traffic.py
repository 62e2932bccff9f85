"""How a canary does beside the current adapter, counted over the turns of its time. Decides nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, select

from assistant.store import Store, TicketRow, TurnRow

if TYPE_CHECKING:
    from adapters.canary import Canary

FLAGGED = "flagged by the user"  # how the reason of such a ticket begins
COUNTED = {
    "turns": "turns",
    "answered": "answered, with a source",
    "spoke": "… in its own words",
    "unknown": "not known",
    "refused": "refused or escalated",
    "held": "held for a person",
    "flagged": "flagged by the user",
    "total_ms_p50": "ms, median",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Turns of the conversations in which an adapter speaks, whoever gave the answer in the end."""

    digest: str
    turns: int
    answered: int  # with a source or by a tool
    spoke: int  # … in the adapter's own words
    unknown: int
    refused: int  # or escalated
    held: int
    flagged: int  # by their users
    total_ms_p50: float | None


def figures(store: Store, canary: Canary) -> tuple[Figures, Figures]:
    """The canary's, and those of the adapter that was current meanwhile."""
    with store.begin() as session:
        rows = session.execute(_turns(canary)).all()
        reasons = session.execute(
            select(TicketRow.turn, TicketRow.reasons).join(TurnRow, TurnRow.id == TicketRow.turn).where(*_when(canary))
        ).all()
    flagged = {turn for turn, why in reasons if any(one.startswith(FLAGGED) for one in why)}

    def of(digest: str) -> Figures:
        return _figures(digest, [row for row in rows if row.voice == digest], flagged)

    return of(canary.digest), of(canary.current or "")


def _when(canary: Canary) -> list[ColumnElement[bool]]:
    since = [TurnRow.created >= datetime.fromisoformat(canary.since)]
    return since if canary.until is None else [*since, TurnRow.created < datetime.fromisoformat(canary.until)]


def _turns(canary: Canary) -> Select[Any]:
    """Only what is counted is read from the records."""
    record = TurnRow.record
    voice = record["voice"].as_string()
    return select(
        TurnRow.id,
        voice.label("voice"),
        record["outcome"].as_string().label("outcome"),
        record["author"].as_string().label("author"),
        record["held"].as_boolean().label("held"),
        record["tool"].as_string().label("tool"),
        record[("citations", 0, "passage_id")].as_string().label("source"),
        record[("timings", "total")].as_float().label("seconds"),
    ).where(voice.in_([canary.digest, canary.current or ""]), *_when(canary))


def _figures(digest: str, rows: Sequence[Any], flagged: set[int]) -> Figures:
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return Figures(
        digest=digest,
        turns=len(rows),
        answered=sum(row.outcome == "answered" and bool(row.source or row.tool) for row in rows),
        spoke=sum(row.author == "model" for row in rows),
        unknown=sum(row.outcome == "unknown" for row in rows),
        refused=sum(row.outcome in ("refused", "escalated") for row in rows),
        held=sum(bool(row.held) for row in rows),
        flagged=sum(row.id in flagged for row in rows),
        total_ms_p50=round(1000 * statistics.median(seconds), 1) if seconds else None,
    )


def counted(one: Figures, key: str) -> str:
    """One of ``COUNTED`` as a person reads it: a number of turns with its share, or milliseconds."""
    value = getattr(one, key)
    if value is None:
        return "-"
    return (
        f"{value} ({value / one.turns:.0%})" if one.turns and key not in ("turns", "total_ms_p50") else f"{value:.0f}"
    )


def summary(canary: Figures, current: Figures) -> str:
    """Both sides in one line, for the record of what was decided on them."""
    rows = (f"{label}: {counted(canary, key)} / {counted(current, key)}" for key, label in COUNTED.items())
    return f"canary / current: {'; '.join(rows)}"
