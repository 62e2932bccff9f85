"""Draws how a training went. Needs matplotlib, which comes with the extra ``train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CURVES = "curves.png"
Point = tuple[float, float]  # step, loss per answer token


def draw(path: Path, training: Sequence[Point], validation: Sequence[Point]) -> None:
    """Losses over steps as a picture."""
    from matplotlib.figure import Figure  # late: an extra that only training needs

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    if training:
        axes.plot(*zip(*training, strict=True), label="training", linewidth=1, alpha=0.7)
    if validation:
        axes.plot(*zip(*validation, strict=True), label="held out", marker="o")
    axes.set(xlabel="step", ylabel="loss per answer token", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Software": None})
