"""Linear heads: calibrated, deterministic."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.head import fit
from retrieval.embedder import Vectors


def cloud(seed: int = 0, size: int = 60, classes: int = 3, noise: float = 0.3) -> tuple[Vectors, list[str]]:
    """Unit vectors around one direction for each class."""
    chance = np.random.default_rng(seed)
    labels = [f"class{number % classes}" for number in range(size)]
    rows = np.eye(8)[[number % classes for number in range(size)]] + noise * chance.standard_normal((size, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
def test_probabilities_are_sorted_and_sum_to_one(classes: int) -> None:
    vectors, labels = cloud(classes=classes)
    head = fit(vectors, labels)
    for vector in vectors[:20]:
        found = head.probabilities(vector)
        assert sorted(label for label, _ in found) == sorted(set(labels))
        assert sum(p for _, p in found) == pytest.approx(1.0)
        assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_likeliest_label_is_mostly_the_right_one(classes: int) -> None:
    head = fit(*cloud(classes=classes))
    vectors, labels = cloud(seed=1, size=300, classes=classes)
    right = [head.probabilities(vector)[0][0] == label for vector, label in zip(vectors, labels, strict=True)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(("classes", "noise"), [(2, 1.2), (3, 1.0)])
def test_confidence_is_about_as_high_as_accuracy_on_new_data(classes: int, noise: float) -> None:
    head = fit(*cloud(size=400, classes=classes, noise=noise))
    vectors, labels = cloud(seed=1, size=1000, classes=classes, noise=noise)
    best = [head.probabilities(vector)[0] for vector in vectors]
    accuracy = np.mean([label == truth for (label, _), truth in zip(best, labels, strict=True)])
    assert 0.5 < accuracy < 0.97  # else the comparison says nothing
    assert np.mean([p for _, p in best]) == pytest.approx(accuracy, abs=0.06)


def test_a_single_class_is_always_that_one() -> None:
    vectors, _ = cloud()
    head = fit(vectors, ["only"] * len(vectors))
    assert head.probabilities(vectors[0]) == [("only", 1.0)]


def test_a_class_too_small_for_folds_is_learned_without_calibration() -> None:
    vectors, labels = cloud(size=61, classes=3)
    labels[-1] = "rare"
    assert {label for label, _ in fit(vectors, labels).probabilities(vectors[0])} == {*labels}


def test_the_same_data_gives_the_same_head() -> None:
    one, two = fit(*cloud()), fit(*cloud())
    assert one.labels == two.labels
    assert np.array_equal(one.weights, two.weights) and np.array_equal(one.bias, two.bias)
