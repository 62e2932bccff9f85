"""Runs a filter within a time limit: a slow, raising or killed one is an error, never a silent pass."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")
SECONDS = 2.0  # far above what any filter of ours takes: 40 ms for all of them


class NoAnswerError(Exception):
    """A filter that did not answer in time, or was ended before it could."""


def within(call: Callable[[], Result], seconds: float | None = None) -> Result:
    """What ``call`` gives. It runs aside; one that never ends is left behind and holds nothing up.

    Args:
        call: the filter.
        seconds: its limit; ``SECONDS`` if none is given.

    Raises:
        NoAnswerError: nothing came within ``seconds``, or the filter's thread was ended.
        Exception: whatever ``call`` raised.
    """
    seconds = SECONDS if seconds is None else seconds
    results: SimpleQueue[Result] = SimpleQueue()
    errors: SimpleQueue[BaseException] = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()

    def run() -> None:
        try:
            results.put(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who must not take silence for consent
            errors.put(error)
        ended.put(None)

    Thread(target=run, name="filter", daemon=True).start()
    try:
        ended.get(timeout=seconds)
        return results.get_nowait()
    except Empty:
        error = None if errors.empty() else errors.get_nowait()
    if isinstance(error, Exception):
        raise error
    raise NoAnswerError(f"a filter gave no answer within {seconds:g} s, or was ended") from error
