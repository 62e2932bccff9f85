"""The default recipe on a task small enough to fit in seconds, with the real embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant import classifier, scope
from assistant.dataset import DataError, Labelled
from assistant.evaluation import classification
from retrieval.embedder import SentenceEmbedder, Vectors

KINDS = {
    "card": "my card has not come|when will my card arrive|the card you sent is late|I wait for my new card|"
    "is my debit card on its way|where is the card I ordered|card delivery takes how long|has my card been posted",
    "refund": "I want my money back|when do I get the refund|the refund is missing|please refund my purchase|"
    "my refund has not shown up|how long does a refund take|give me back what I paid|refund status please",
    "pin": "I forgot my PIN|change my PIN please|how do I reset the PIN|my PIN is blocked|"
    "where can I see my PIN|set a new PIN|the machine refuses my PIN|unlock my PIN",
}
ROWS = [Labelled(text, label) for label, texts in KINDS.items() for text in texts.split("|")]
STRANGERS = [
    Labelled(text, "whatever")
    for text in "who won the match|play some jazz|will it rain|tell me a joke|how tall is Everest|book a flight to Rome|"
    "translate this into Greek|what is the capital of Peru".split("|")
]
NEW = [
    Labelled("has the new card been sent yet", "card"),
    Labelled("I have not seen my refund", "refund"),
    Labelled("help, I do not remember my PIN", "pin"),
]


class Counting:
    """An embedding that counts the texts it computes."""

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self.inner, self.seen = embedder, 0

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.seen += len(texts)
        return self.inner.embed(texts)


class Oracle:
    """A tuned encoder that knows the answer; what it learned from is kept."""

    labels = sorted(KINDS)

    def __init__(self) -> None:
        self.learned: list[Labelled] = []
        self.judged: list[Labelled] = []

    def tune(self, rows: Sequence[Labelled], dev: Sequence[Labelled]) -> Oracle:
        self.learned, self.judged = list(rows), list(dev)
        return self

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        known = {row.text: row.label for row in [*ROWS, *NEW]}
        return np.array([[9.0 if known[text] == label else 0.0 for label in self.labels] for text in texts])


def test_new_texts_get_their_label_with_probabilities_that_sum_to_one(embedder: SentenceEmbedder) -> None:
    fitted = classifier.fit(ROWS, embedder.embed)
    assert [label for label, _ in fitted.predict([row.text for row in NEW])] == [row.label for row in NEW]
    odds = fitted.probabilities([row.text for row in NEW])
    assert odds.shape == (3, 3) and odds.sum(axis=1) == pytest.approx(1.0)


def test_the_same_rows_and_seed_give_the_same_probabilities(embedder: SentenceEmbedder) -> None:
    asked = [row.text for row in NEW]
    one, two = (classifier.fit(ROWS, embedder.embed, seed=3).probabilities(asked) for _ in range(2))
    assert np.array_equal(one, two)


def test_one_label_is_nothing_to_tell_apart(embedder: SentenceEmbedder) -> None:
    with pytest.raises(DataError, match="expected at least two labels to tell apart, found only card"):
        classifier.fit(ROWS[:8], embedder.embed)


def test_a_class_with_a_single_row_is_learned(embedder: SentenceEmbedder) -> None:
    fitted = classifier.fit([*ROWS[:16], ROWS[-1]], embedder.embed)
    assert set(fitted.labels) == set(KINDS)


@pytest.mark.parametrize("given", [True, False])
def test_a_tuned_encoder_is_judged_on_rows_it_did_not_learn_from(embedder: SentenceEmbedder, given: bool) -> None:
    oracle = Oracle()
    fitted = classifier.fit(ROWS, embedder.embed, dev=NEW if given else (), tune=oracle.tune)
    assert oracle.judged and not set(oracle.learned) & set(oracle.judged)
    assert {row.label for row in oracle.judged} == set(KINDS)
    assert (oracle.judged == NEW) is given
    assert fitted.tuned_share > 0
    assert [label for label, _ in fitted.predict([row.text for row in NEW])] == [row.label for row in NEW]


def test_strangers_are_told_apart_and_each_text_is_embedded_once(embedder: SentenceEmbedder) -> None:
    counting = Counting(embedder)
    fitted = scope.fit(ROWS, STRANGERS, counting)
    assert counting.seen == len(ROWS) + len(STRANGERS)
    assert fitted.labels([row.text for row in NEW]) == [row.label for row in NEW]
    assert fitted.labels(["who sang that song", "what is the weather in Paris"]) == [scope.STRANGER] * 2


def test_metrics_of_a_known_case() -> None:
    found = [("a", 0.95), ("a", 0.95), ("b", 0.55), ("b", 0.55)]
    measured = classification.metrics(found, ["a", "a", "b", "a"])
    assert measured["accuracy"] == 0.75
    assert measured["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-4)
    assert measured["weighted_f1"] == pytest.approx(0.8 * 0.75 + 2 / 3 * 0.25, abs=1e-4)
    assert measured["ece"] == pytest.approx(0.05, abs=1e-4)  # half are 95 % sure and always right, half 55 % and half
    assert measured["coverage_at_95_precision"] == 0.75  # the surest three are right


def test_nothing_is_covered_when_the_surest_is_wrong() -> None:
    assert classification.metrics([("a", 0.9), ("a", 0.8)], ["b", "a"])["coverage_at_95_precision"] == 0.0


def test_an_encoder_is_worth_tuning_where_classes_have_many_rows() -> None:
    many = [Labelled(f"{label} {number}", label) for label in "ab" for number in range(classifier.TUNE_FROM)]
    assert classifier.worth_tuning(many) and not classifier.worth_tuning(many[1:])
