"""Whether what stored answers quote still stands in the documents. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select

from assistant.access import Standing, stale
from assistant.record import Citation, Stale
from assistant.store import Store, TurnRow
from assistant.transcript import unpack_turn


@dataclass(frozen=True, slots=True)
class Checked:
    """One citation of a stored answer."""

    turn_id: int
    asked: str  # ISO 8601, UTC
    citation: Citation  # as it was stored: the quote as it was
    stale: Stale  # "" while it stands


def check(store: Store, standing: Standing) -> Iterator[Checked]:
    """Every citation of every stored answer, oldest first, against the passages as they are now."""
    with store.begin() as session:
        query = select(TurnRow).where(TurnRow.record.is_not(None)).order_by(TurnRow.id)
        for row in session.scalars(query.execution_options(yield_per=200)):
            for one in unpack_turn(row.record).citations:
                yield Checked(row.id, row.created.isoformat(timespec="seconds"), one, stale(one, standing))
