from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.canary import Canary

TENTH = Canary("garden", "a" * 64, "b" * 64, 0.1, "2026-01-05T00:00:00+00:00", "ann")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_it_gets_its_share_of_the_conversations(share: float) -> None:
    taken = sum(replace(TENTH, share=share).takes(number) for number in range(20_000))
    assert abs(taken / 20_000 - share) < 0.01


def test_a_conversation_keeps_its_speaker_and_a_larger_share_takes_none_away() -> None:
    tenth = {number for number in range(1000) if TENTH.takes(number)}
    assert tenth == {number for number in range(1000) if TENTH.takes(number)}
    assert tenth < {number for number in range(1000) if replace(TENTH, share=0.3).takes(number)}


def test_another_candidate_gets_other_conversations() -> None:
    other = replace(TENTH, digest="c" * 64)
    assert {n for n in range(1000) if TENTH.takes(n)} != {n for n in range(1000) if other.takes(n)}
