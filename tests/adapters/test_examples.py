"""What is held out was not taught."""

from __future__ import annotations

import pytest

from adapters.chat import Message
from adapters.examples import Example, Keys, keys_of, split
from adapters.recipe import TrainError


def examples(*keys: str) -> list[Example]:
    return [Example((number,), (0,), Keys(shared.split())) for number, shared in enumerate(keys)]


@pytest.mark.parametrize("seed", range(5))
def test_what_shares_a_key_is_on_one_side(seed: int) -> None:
    rows = examples(*(f"question{n} answer{n // 4} {'section' + str(n // 8) if n % 2 else ''}" for n in range(80)))
    training, held_out = split(rows, 0.2, seed)
    assert len(held_out) == 16 and len(training) == 64
    assert not {key for row in training for key in row.keys} & {key for row in held_out for key in row.keys}
    assert split(rows, 0.2, seed) == (training, held_out)


def test_a_key_in_common_by_way_of_others_binds_too() -> None:
    rows = examples("a b", "b c", "c d", "x", "y", "z", "u", "v")
    sides = [{row.prompt[0] for row in side} for side in split(rows, 0.4, 1)]
    assert any({0, 1, 2} <= side for side in sides)


def test_what_most_have_in_common_binds_none() -> None:
    training, held_out = split(examples(*(f"instruction {n}" for n in range(10))), 0.2, 0)
    assert (len(training), len(held_out)) == (8, 2)


def test_where_no_group_is_small_enough_the_smallest_is_held_out() -> None:
    _, held_out = split(examples("a", "a", "a", "b", "b", "c", "c", "c"), 0.1, 0)
    assert [row.prompt for row in held_out] == [(3,), (4,)]


def test_examples_that_all_hang_together_are_refused() -> None:
    with pytest.raises(TrainError, match="all 4 examples share questions or answers"):
        split(examples("a b", "b c", "c d", "d a"), 0.5, 0)


def test_labels_and_instructions_are_no_keys() -> None:
    question = Message("user", "Is this a complaint or praise?")
    keys = keys_of([Message("system", "Answer from the sources."), question, Message("assistant", "It is praise")])
    assert len(keys) == 2 and question.content in keys  # and the chat as a whole
