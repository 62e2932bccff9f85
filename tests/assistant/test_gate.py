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
    "policy_passed": 0.95,
    "total_ms_p50": 1000.0,
}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"answered_with_source": 0.79}, []),
        ({"answered_with_source": 0.77}, ["answered_with_source"]),
        ({"must_refuse_obeyed": 0.99}, ["must_refuse_obeyed"]),
        ({"sentences_supported": 0.985}, ["sentences_supported"]),
        ({"must_answer_answered": 0.97}, ["must_answer_answered"]),
        ({"total_ms_p50": 1250.0}, []),
        ({"total_ms_p50": 1251.0}, ["total_ms_p50"]),
        ({"must_escalate_obeyed": None}, []),
        ({"answered_with_source": 0.5, "must_refuse_obeyed": 0.0}, ["answered_with_source", "must_refuse_obeyed"]),
    ],
)
def test_a_candidate_must_hold_what_the_current_one_reaches(change: dict[str, Any], missed: list[str]) -> None:
    verdicts = weigh({"metrics": CURRENT | change}, {"metrics": CURRENT}, Gate())
    assert [one.metric for one in verdicts if not one.passed] == missed


def test_even_a_better_one_must_reach_the_least() -> None:
    poor = {"sentences_supported": 0.9}
    (verdict,) = weigh({"metrics": {"sentences_supported": 0.95}}, {"metrics": poor}, Gate())
    assert (verdict.passed, verdict.needed) == (False, "≥ 0.990")


@pytest.mark.parametrize(
    ("demands", "change", "missed"),
    [
        (Gate(worse=0.05), {"answered_with_source": 0.76}, []),
        (Gate(never_worse=("answered_with_source",)), {"answered_with_source": 0.79}, ["answered_with_source"]),
        (Gate(slower=2), {"total_ms_p50": 1900.0}, []),
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
    verdicts = weigh({"metrics": CURRENT | change}, {"metrics": CURRENT}, demands)
    assert [one.metric for one in verdicts if not one.passed] == missed
