"""Several rankings become one: by rank, by score, and with what the best passages say of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from retrieval.embedder import Vectors
from retrieval.fusion import best, blend, fuse, hybrid, vouched


def unit(*numbers: float) -> Vectors:
    row = np.array(numbers, np.float32)
    return np.asarray(row / np.linalg.norm(row), np.float32)


TOPIC = unit(1, 1, 0)
CORPUS = {1: unit(1, 0.2, 0), 2: unit(1, 0.8, 0), 3: unit(0.9, 1, 0.1), 4: unit(1, -1.1, 0), 5: unit(0, -1, 1)}


def nearest(vector: Vectors) -> dict[int, float]:
    cosines = {row: float(own @ vector) for row, own in CORPUS.items()}
    return {row: cosines[row] for row in best(cosines, 3)}


def vectors(rows: Sequence[int]) -> Mapping[int, Vectors]:
    return {row: CORPUS[row] for row in rows if row in CORPUS}


def test_a_passage_that_two_rankings_name_is_before_one_that_either_names() -> None:
    assert best(fuse([[1, 2, 3], [4, 2, 5]]), 3) == [2, 1, 4]


@pytest.mark.parametrize(
    ("words", "meaning", "order"),
    [
        ({1: 9.0, 2: 1.0}, {2: 0.9, 1: 0.8, 3: 0.1}, [1, 2, 3]),
        ({1: 2.0, 2: 1.9}, {2: 0.9, 1: 0.1, 3: 0.0}, [2, 1, 3]),
        ({}, {2: 0.9, 1: 0.8}, [2, 1]),
        ({3: 1.0}, {}, [3]),
        ({1: 5.0}, {1: 0.5, 2: 0.5}, [1, 2]),
    ],
    ids=["words tell more", "meaning tells more", "no word matched", "nothing is near", "all alike in meaning"],
)
def test_scores_add_up_by_how_much_they_tell_apart(
    words: dict[int, float], meaning: dict[int, float], order: list[int]
) -> None:
    assert best(blend(words, meaning), 3) == order


def test_the_size_of_scores_does_not_matter() -> None:
    words, meaning = {1: 4.0, 2: 3.0, 3: 1.0}, {2: 0.9, 1: 0.5, 3: 0.4}
    scaled = blend({row: 1000 * score for row, score in words.items()}, meaning)
    assert scaled == pytest.approx(blend(words, meaning))


def test_a_passage_among_irrelevant_ones_falls_behind_those_among_relevant_ones() -> None:
    scores = {2: 1.0, 3: 0.9, 5: 1.05, 4: 0.0}
    assert best(scores, 1) == [5]
    assert best(vouched(scores, CORPUS, 0.4), 3) == [2, 3, 5]


@pytest.mark.parametrize("scores", [{}, {1: 2.0}, {1: 2.0, 9: 1.0}])
def test_where_nobody_can_vouch_scores_stay(scores: dict[int, float]) -> None:
    assert vouched(scores, CORPUS, 0.4) == scores


@pytest.mark.parametrize(("strays", "learned"), [(30, True), (0, False)], ids=["the first stands out", "none does"])
def test_what_the_best_passages_hold_is_searched_for_where_they_stand_out(strays: int, learned: bool) -> None:
    question = unit(1, -0.05, 0)
    words = {2: 9.0} | {100 + number: 0.1 for number in range(strays)}
    assert 3 not in blend(words, nearest(question))
    assert (3 in hybrid(question, words, nearest(question), nearest, vectors)) == learned


def test_nothing_to_find_gives_nothing() -> None:
    assert hybrid(TOPIC, {}, {}, lambda _: {}, lambda _: {}) == {}
