"""The counts behind every figure, on cases small enough to do by hand."""

from __future__ import annotations

from assistant.evaluation.scores import Counts, median_ms, share

PAIRS = [(True, True), (True, True), (True, False), (False, True), (False, False), (False, False)]


def test_metrics_are_those_of_the_textbook() -> None:
    counts = Counts.of(PAIRS)
    assert counts == Counts(hit=2, missed=1, false_alarm=1, quiet=2)
    assert (counts.precision, counts.recall, counts.f1) == (0.6667, 0.6667, 0.6667)
    assert (counts.false_positive_rate, counts.balanced_accuracy) == (0.3333, 0.6667)


def test_what_cannot_be_measured_is_none_and_not_zero() -> None:
    only_attacks = Counts.of([(True, False)])
    assert only_attacks.recall == 0.0
    assert only_attacks.precision is None
    assert only_attacks.false_positive_rate is None
    assert only_attacks.balanced_accuracy is None
    assert share(0, 0) is None
    assert median_ms([]) is None


def test_the_median_is_in_milliseconds() -> None:
    assert median_ms([0.001, 0.5, 0.002]) == 2.0
