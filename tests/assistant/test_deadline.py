"""A filter that is slow, raises or dies is an error within its time; one that answers is heard."""

from __future__ import annotations

import threading
import time

import pytest

from assistant.deadline import NoAnswerError, within


def test_an_answer_in_time_is_given_on() -> None:
    assert within(lambda: 3) == 3


def test_what_a_filter_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        within(lambda: 1 // 0)


def test_a_filter_that_ends_its_thread_is_an_error_too() -> None:
    def die() -> None:
        raise SystemExit

    with pytest.raises(NoAnswerError):
        within(die)


def test_a_slow_filter_is_given_up() -> None:
    released = threading.Event()
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"gave no answer within 0\.05 s"):
        within(lambda: released.wait(5), seconds=0.05)
    assert time.monotonic() - started < 2
    released.set()
