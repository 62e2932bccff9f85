"""Fine-tunes a head on a file of labelled texts and writes it with a card. Decides nothing about serving it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import softmax

from assistant import classifier
from assistant.classifier import Tune, Tuned
from assistant.dataset import DataError, Labelled, read
from assistant.evaluation import classification
from assistant.head import Predicted, temperature
from retrieval.embedder import SentenceEmbedder
from retrieval.encoder import CARD, Shape
from retrieval.finetune import Progress, Recipe, finetune

Task = Literal["intents", "sentiment", "router"]
SEARCHED = ((1e-4, 16), (3e-4, 16), (6e-4, 32))  # learning rate, batch
SEARCH_EPOCHS = 1
FEW = 5_000  # rows under which all layers are tuned …
FEW_SEEN = 16_000  # … and how many rows are then seen in all epochs together, between 4 and 12 of them
PRECISIONS = (0.9, 0.95, 0.99)  # for which the card names the probability to act from
DIAGRAM = "reliability.png"


def tuner(embedder: SentenceEmbedder, seed: int = 0, progress: Progress = lambda *_: None) -> Tune:
    """What fine-tunes an encoder inside the default recipe."""

    def tune(rows: Sequence[Labelled], dev: Sequence[Labelled]) -> Tuned:
        recipe = recipe_for(len(rows), int(embedder.transformer.config.num_hidden_layers), seed)
        return finetune(embedder, _pairs(rows), _pairs(dev), recipe, progress=progress)[0]

    return tune


def recipe_for(rows: int, layers: int, seed: int = 0) -> Recipe:
    """How to tune on so many rows: few of them leave time for all ``layers``, and need more epochs; see NOTES.md."""
    if rows >= FEW:
        return Recipe(seed=seed)
    return Recipe(Shape(layers), epochs=min(12, max(4, FEW_SEEN // rows)), learning_rate=1.5e-4, seed=seed)


def train_head(
    embedder: SentenceEmbedder,
    task: Task,
    data: Path,
    dev: Path | None,
    to: Path,
    recipe: Recipe,
    *,
    search: bool = False,
    attribution: str | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Train, calibrate on the rows that were held out, and write weights, curves, reliability diagram and card.

    Args:
        embedder: the shared encoder, which stays as it is.
        task: what the labels are; for the card.
        data: what to learn from.
        dev: what to stop early and calibrate on; without it, a tenth of ``data``.
        to: the new folder.
        recipe: how.
        search: try learning rates and batch sizes for an epoch each, and go on with the best.
        attribution: whose data it is and under which licence; for the card.
        progress: told after each step.

    Returns:
        the card.

    Raises:
        DataError: a file does not fit, or ``to`` is there already.
        RetrievalError: the encoder cannot be tuned.
    """
    if (to / CARD).exists():
        raise DataError(f"{to} holds a finished head; choose another folder")
    rows, judged = (read(data), read(dev)) if dev else classifier.cut(read(data), recipe.seed)
    learn, judge = _pairs(rows), _pairs(judged)
    tried: list[dict[str, Any]] = []
    if search:
        recipe, tried = _search(embedder, learn, judge, recipe, progress)
    tuned, history = finetune(embedder, learn, judge, recipe, to / "tensorboard", progress)
    known = [row for row in judged if row.label in tuned.labels]
    if not known:
        raise DataError(f"{dev or data}: no row to choose on has a label that was learned")
    truth = np.array([tuned.labels.index(row.label) for row in known])
    scores = tuned.logits([row.text for row in known])
    heat = temperature(scores, truth)
    found = predictions(tuned.labels, softmax(scores / heat, axis=1))
    sure, right = np.array([p for _, p in found]), scores.argmax(1) == truth
    _diagram(to / DIAGRAM, classification.reliability(sure, right))
    card = {
        "task": task,
        "temperature": round(heat, 4),
        "data": {
            "sha256": _sha256(data),
            "rows": len(rows),
            "dev_sha256": _sha256(dev) if dev else None,
            "attribution": attribution,
        },
        "recipe": asdict(recipe),
        "searched": tried,
        "epochs": [asdict(epoch) for epoch in history],
        "on_dev": classification.metrics(found, [row.label for row in known]) | {"n": len(known)},
        "sure_from": {str(aim): classification.sure_from(sure, right, aim) for aim in PRECISIONS},
        "reliability": classification.reliability(sure, right),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    digest = tuned.save(to, card)
    return {"folder": str(to), "weights": digest, **{key: card[key] for key in ("task", "on_dev", "epochs")}}


def predictions(labels: Sequence[str], odds: np.ndarray[Any, np.dtype[np.float64]]) -> list[Predicted]:
    """The likeliest label of each row of probabilities."""
    return [(labels[int(place)], float(row[place])) for row, place in zip(odds, odds.argmax(1), strict=True)]


def _search(
    embedder: SentenceEmbedder,
    learn: Sequence[tuple[str, str]],
    judge: Sequence[tuple[str, str]],
    recipe: Recipe,
    progress: Progress,
) -> tuple[Recipe, list[dict[str, Any]]]:
    tried: list[tuple[float, Recipe]] = []
    for rate, batch in SEARCHED:
        one = replace(recipe, learning_rate=rate, batch=batch, epochs=SEARCH_EPOCHS)
        last = finetune(embedder, learn, judge, one, progress=progress)[1][-1]
        tried.append((last.validation_loss or 0.0, one))
    best = min(tried, key=lambda pair: pair[0])[1]
    rows = [{"learning_rate": one.learning_rate, "batch": one.batch, "validation_loss": loss} for loss, one in tried]
    return replace(recipe, learning_rate=best.learning_rate, batch=best.batch), rows


def _diagram(path: Path, points: Sequence[tuple[float, float, int]]) -> None:
    from matplotlib.figure import Figure  # late: an extra that only training needs

    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot([said for said, _, _ in points], [true for _, true, _ in points], marker="o")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="On rows held out")
    figure.savefig(path, dpi=100, bbox_inches="tight")


def _pairs(rows: Sequence[Labelled]) -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in rows]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
