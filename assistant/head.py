"""Linear heads on unit vectors, with calibrated probabilities. Fitted in a moment, deterministic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from retrieval.embedder import Vectors

SEED = 0
FOLDS = 4
Predicted = tuple[str, float]  # label, calibrated probability


@dataclass(frozen=True, slots=True)
class Head:
    """A calibrated linear classifier on unit vectors."""

    labels: tuple[str, ...]
    weights: NDArray[np.float64]  # [classes, d], temperature folded in
    bias: NDArray[np.float64]  # [classes]

    @property
    def digest(self) -> str:
        """SHA-256 of weights and bias."""
        return hashlib.sha256(self.weights.tobytes() + self.bias.tobytes()).hexdigest()

    def probabilities(self, vector: Vectors) -> list[Predicted]:
        """Labels with their probabilities, likeliest first."""
        values = softmax(self.weights @ vector + self.bias)
        return [(self.labels[i], float(values[i])) for i in np.argsort(-values)]


def fit(vectors: Vectors, labels: Sequence[str], *, strength: float = 20.0) -> Head:
    """Fit a head; its temperature is chosen on folds it was not trained on.

    Args:
        vectors: [n, d], unit rows.
        labels: n labels; with a single class the head always says that one.
        strength: inverse L2 regularisation.
    """
    classes = sorted(set(labels))
    if len(classes) == 1:
        return Head((classes[0],), np.zeros((1, vectors.shape[1])), np.zeros(1))
    model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    vectors = np.asarray(vectors, dtype=np.float64)  # in single precision the solver gives up early on many rows
    target = np.array([classes.index(label) for label in labels])
    model.fit(vectors, target)
    scale = 1.0 / _held_out_temperature(model, vectors, target)
    weights, bias = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row for two classes
        weights, bias = np.vstack([-weights[0] / 2, weights[0] / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return Head(tuple(classes), weights * scale, bias * scale)


def temperature(scores: NDArray[np.float64], target: NDArray[np.int_]) -> float:
    """By what to divide scores, [n, classes], so that their softmax fits the targets best."""

    def loss(log_temperature: float) -> float:
        logs = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float(logs[np.arange(len(target)), target].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


def _held_out_temperature(model: LogisticRegression, vectors: Vectors, target: NDArray[np.int_]) -> float:
    if np.bincount(target).min() < FOLDS:
        return 1.0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, vectors, target, cv=folds, method="decision_function")
    if scores.ndim == 1:
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    return temperature(scores, target)
