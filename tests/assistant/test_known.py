"""Known questions lead to what answered them, and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.known import LED_TO, NEAR, NOTHING, Known
from retrieval.passage import Document, Hit, passages

(PASSAGE,) = passages(
    Document("loans", "Loans", "## Period\nA book is kept for 21 days. A film is kept for 7 days.", "Rules")
)
HIT = Hit(PASSAGE, 1.0, 0.5, 0.0, 0.5, (0, 27), (0.5, 0.4))
KNOWN = Known(
    np.eye(4, dtype=np.float32),
    (("loans#period", 1), ("fees#late-fee", 0), None, ("loans#period", 1)),
)


def toward(*weights: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.array(weights, dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def test_a_question_is_led_to_what_answered_the_closest_known_ones_first() -> None:
    near = KNOWN.near(toward(0.6, 0.8, 0.0, 0.1))
    assert near.passages() == ["fees#late-fee", "loans#period"]
    assert near.places["loans#period", 1] == pytest.approx(0.6, abs=0.01)  # the closer of its two questions
    assert near.unanswered == 0.0


def test_a_question_like_none_that_is_known_is_led_nowhere() -> None:
    near = KNOWN.near(toward(0.1, 0.1, 1.0, 0.1))
    assert near.passages() == []
    assert near.unanswered > NEAR


def test_a_hit_is_marked_at_the_sentence_that_answers() -> None:
    assert KNOWN.near(toward(1.0, 0.0, 0.0, 0.0)).mark(HIT).known == (0.0, 1.0)
    assert NOTHING.mark(HIT).known == (0.0, 0.0)


def test_no_more_passages_are_brought_into_a_search_than_it_can_use() -> None:
    many = Known(np.ones((50, 1), np.float32), tuple((f"a#{number}", 0) for number in range(50)))
    assert len(many.near(np.ones(1, np.float32)).passages()) == LED_TO


def test_some_of_the_lessons_know_only_what_those_say() -> None:
    assert KNOWN.only([1, 2]).near(toward(1.0, 1.0, 0.0, 0.0)).passages() == ["fees#late-fee"]
    assert Known(np.zeros((0, 4), np.float32), ()).near(toward(1.0, 0.0, 0.0, 0.0)) == NOTHING
