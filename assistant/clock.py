"""Seconds since a question arrived, by the name of what was reached."""

from __future__ import annotations

import time


class Clock:
    """Starts when made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.marks: dict[str, float] = {}  # seconds

    def mark(self, name: str) -> None:
        """Remember when ``name`` was first reached."""
        self.marks.setdefault(name, round(time.perf_counter() - self._started, 4))
