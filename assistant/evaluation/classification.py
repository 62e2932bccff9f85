"""How well a classifier with probabilities does: right, calibrated, and of use when it may keep silent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from assistant.head import Predicted

BINS = 15  # of equal width, for the calibration error


def metrics(found: Sequence[Predicted], truth: Sequence[str]) -> dict[str, float]:
    """Accuracy, F1 over classes alike and by frequency, calibration error, and coverage at 95 % precision."""
    said = [label for label, _ in found]
    sure = np.array([probability for _, probability in found])
    right = np.array([label == wanted for label, wanted in zip(said, truth, strict=True)])
    return {
        "accuracy": _round(right.mean()),
        "macro_f1": _round(f1_score(truth, said, average="macro", labels=sorted(set(truth)), zero_division=0.0)),
        "weighted_f1": _round(f1_score(truth, said, average="weighted", zero_division=0.0)),
        "ece": _round(calibration_error(sure, right)),
        "coverage_at_95_precision": _round(coverage(sure, right, 0.95)),
    }


def reliability(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """For each filled bin of confidence: mean confidence, accuracy, count. The points of a reliability diagram."""
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return [
        (float(sure[place == one].mean()), float(right[place == one].mean()), int((place == one).sum()))
        for one in range(BINS)
        if (place == one).any()
    ]


def calibration_error(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, on average over the texts."""
    return sum(abs(said - true) * count for said, true, count in reliability(sure, right)) / len(sure)


def coverage(sure: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> float:
    """The largest share, surest first, that can be answered with at least this precision."""
    return _kept(sure, right, precision) / len(sure)


def sure_from(sure: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> float | None:
    """The least confidence from which answers are at least this precise; None where none are."""
    kept = _kept(sure, right, precision)
    return float(np.sort(sure)[-kept]) if kept else None


def _kept(sure: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> int:
    """How many, surest first, can be answered with at least this precision."""
    kept = right[np.argsort(-sure, kind="stable")]
    precise = np.cumsum(kept) / np.arange(1, len(kept) + 1) >= precision
    return int(np.flatnonzero(precise)[-1]) + 1 if precise.any() else 0


def _round(value: float) -> float:
    return round(float(value), 4)
