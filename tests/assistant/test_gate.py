from __future__ import annotations

from typing import Any

import pytest

from assistant.gate import weigh
from domains.manifest import Gate, Least

CURRENT = {
    "answered_with_source": 0.8,
    "must_refuse_obeyed": 1.0,
    "must_answer_answered": 1.0,
    "sentences_supported": 1.0,
    "spoke": 0.9,
    "policy_passed": 0.95,
    "total_ms_p50": 1000.0,
}
EVEN = {"ms": [1000.0, 1000.0]}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"answered_with_source": 0.79}, []),
        ({"answered_with_source": 0.77}, ["answered_with_source"]),
        ({"must_refuse_obeyed": 0.99}, ["must_refuse_obeyed"]),
        ({"sentences_supported": 0.985}, ["sentences_supported"]),
        ({"must_answer_answered": 0.97}, ["must_answer_answered"]),
        ({"total_ms_p50": 9000.0}, []),  # of another sitting
        ({"spoke": 0.73}, []),
        ({"spoke": 0.71}, ["spoke"]),
        ({"spoke": 0.0}, ["spoke"]),
        ({"spoke": None}, ["spoke"]),
        ({"must_escalate_obeyed": None}, []),
        ({"answered_with_source": 0.5, "must_refuse_obeyed": 0.0}, ["answered_with_source", "must_refuse_obeyed"]),
    ],
)
def test_a_candidate_must_hold_what_the_current_one_reaches(change: dict[str, Any], missed: list[str]) -> None:
    verdicts = weigh({"metrics": CURRENT | change}, {"metrics": CURRENT}, EVEN, Gate())
    assert [one.metric for one in verdicts if not one.passed] == missed


def test_even_a_better_one_must_reach_the_least() -> None:
    poor = {"sentences_supported": 0.9}
    verdict, _ = weigh({"metrics": {"sentences_supported": 0.95}}, {"metrics": poor}, EVEN, Gate())
    assert (verdict.passed, verdict.needed) == (False, "≥ 0.990")


def test_what_is_demanded_and_not_examined_is_not_passed() -> None:
    both = {"metrics": {"must_refuse_obeyed": None}}
    demanded = Gate(least=Least(must_refuse_obeyed=1.0))
    assert [one.metric for one in weigh(both, both, EVEN, Gate())] == ["total_ms_p50"]
    verdict, _ = weigh(both, both, EVEN, demanded)
    assert (verdict.passed, verdict.candidate) == (False, None)
    assert verdict.needed == "≥ 1.000, and no answer of the exam shows it: add questions to golden.jsonl"


@pytest.mark.parametrize(("ms", "passed"), [([1250.0, 1000.0], True), ([1251.0, 1000.0], False), (None, True)])
def test_times_are_compared_where_both_were_asked_in_one_sitting(ms: list[float] | None, passed: bool) -> None:
    (verdict,) = weigh({"metrics": {}}, {"metrics": {}}, {"ms": ms}, Gate())
    assert (verdict.metric, verdict.passed) == ("total_ms_p50", passed)


@pytest.mark.parametrize(
    ("demands", "change", "missed"),
    [
        (Gate(worse=0.05), {"answered_with_source": 0.76}, []),
        (Gate(never_worse=("answered_with_source",)), {"answered_with_source": 0.79}, ["answered_with_source"]),
        (Gate(least=Least(spoke=0.95)), {}, ["spoke"]),
        (Gate(never_worse=("spoke",)), {"spoke": 0.89}, ["spoke"]),
        (Gate(), {"policy_passed": 0.94}, ["policy_passed"]),
        (Gate(never_worse=()), {"policy_passed": 0.94}, []),
        (Gate(least=Least(policy_passed=1.0)), {}, ["policy_passed"]),
        (Gate(least=Least(policy_passed=1.0)), {"policy_passed": 1.0}, []),
        (
            Gate(least=Least(answered_with_source=0.9)),
            {"sentences_supported": 0.985},
            ["answered_with_source", "sentences_supported"],
        ),
    ],
)
def test_a_pack_sets_its_own_demands(demands: Gate, change: dict[str, Any], missed: list[str]) -> None:
    verdicts = weigh({"metrics": CURRENT | change}, {"metrics": CURRENT}, EVEN, demands)
    assert [one.metric for one in verdicts if not one.passed] == missed
