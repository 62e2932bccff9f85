"""How to train an adapter: every choice in one place. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adapters.methods import Method

Schedule = Literal["cosine", "linear", "constant"]
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainError(Exception):
    """A training that cannot start. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The defaults fit 20 minutes on two cores for about 1,500 examples of 500 tokens."""

    method: Method = "lora"
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = LINEAR
    layers: int | None = None  # only the upper so many; None: all
    epochs: int = 3
    batch: int = 4
    accumulate: int = 2  # batches per step of the optimizer
    learning_rate: float = 5e-4
    schedule: Schedule = "cosine"  # after the warm-up, down to nothing; constant stays
    warmup: float = 0.05  # share of the training
    weight_decay: float = 0.0
    label_smoothing: float = 0.0  # share of the target spread over the whole vocabulary
    adversarial: float = 0.0  # norm of FGM's push on the embeddings of an example; 0 trains without it
    clip: float = 1.0  # norm of the gradient
    longest: int = 1024  # tokens; longer examples are dropped and counted
    validation: float = 0.1  # share of the examples
    patience: int = 1  # epochs without improvement before it stops
    max_minutes: float = 20.0
    seed: int = 0
