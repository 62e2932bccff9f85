"""Trains a judge: cross-entropy on every answer that is known of a text or a pair of texts, AdamW, linear decay."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retrieval.cross_encoder import differences, half, outputs, save
from retrieval.cross_training import Progress, descend
from retrieval.embedder import SentenceEmbedder
from retrieval.judge import Judge

POOL = 32  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A text, the one it is held against if it is a pair, and the answers; None where an answer is not known."""

    text: str
    other: str | None
    answers: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train."""

    epochs: int = 3
    batch: int = 16
    learning_rate: float = 2e-4
    top_rate: float = 1e-3  # … of the layer on top
    decay: float = 0.01
    warmup: float = 0.06  # share of the steps
    clip: float = 1.0
    longest: int = 96  # tokens
    rank: int = 64  # of the matrices' differences that are kept
    seed: int = 0


def fit(
    embedder: SentenceEmbedder,
    draw: Callable[[int], Sequence[Example]],
    recipe: Recipe,
    to: Path,
    asks: Sequence[str],
    card: Mapping[str, Any],
    progress: Progress = lambda *_: None,
) -> Judge:
    """Train as ``train`` does, write differences and card to ``to``, and open what was written.

    Args:
        embedder: as for ``train``, like ``draw``, ``recipe`` and ``progress``.
        to: safetensors file; its card stands beside it.
        asks: names of the answers, in their order.
        card: what else the card says.
    """
    changed = train(embedder, draw, recipe, progress)
    about = {"asks": list(asks), "longest": recipe.longest, "recipe": asdict(recipe)}
    save(changed, embedder, to, about | dict(card))
    return Judge(embedder, to)


def train(
    embedder: SentenceEmbedder,
    draw: Callable[[int], Sequence[Example]],
    recipe: Recipe,
    progress: Progress = lambda *_: None,
) -> dict[str, Tensor]:
    """Train on what ``draw`` gives for each epoch, the first being 0; the differences that make the model.

    Args:
        embedder: whose model is copied; its token embeddings stay as they are.
        draw: examples of an epoch, as many each time, all with as many answers.
        recipe: how.
        progress: told after each step.
    """
    torch.manual_seed(recipe.seed)
    drawn = draw(0)
    model: Any = copy.deepcopy(embedder.transformer).train()
    for value in model.embeddings.parameters():
        value.requires_grad_(False)
    top = nn.Linear(int(model.config.hidden_size), len(drawn[0].answers))
    inner = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": inner, "lr": recipe.learning_rate}, {"params": top.parameters(), "lr": recipe.top_rate}],
        weight_decay=recipe.decay,
    )
    steps = recipe.epochs * math.ceil(len(drawn) / recipe.batch)
    warm = max(1.0, recipe.warmup * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * max(0.0, 1 - step / steps)
    )
    step, fast = 0, half()
    for epoch in range(recipe.epochs):
        for batch in _batches(drawn if epoch == 0 else draw(epoch), recipe.batch, f"{recipe.seed}-{epoch}"):
            second = None if batch[0].other is None else [one.other or "" for one in batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                found = outputs(model, top, embedder.tokenizer, [one.text for one in batch], second, recipe.longest)
            descend(loss(found, batch), inner, recipe.clip, optimizer, schedule)
            step += 1
            progress(f"epoch {epoch + 1}", step, steps)
    return differences(embedder.transformer.state_dict(), model.state_dict(), top, recipe.rank)


def loss(found: Tensor, batch: Sequence[Example]) -> Tensor:
    """Mean cross-entropy over the known answers; ``found``: log-odds, [len(batch), answers]."""
    known = torch.tensor([[answer is not None for answer in one.answers] for one in batch])
    wanted = torch.tensor([[float(bool(answer)) for answer in one.answers] for one in batch])
    each = binary_cross_entropy_with_logits(found, wanted, reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def _batches(examples: Sequence[Example], size: int, seed: str) -> Iterator[list[Example]]:
    """Batches of examples of about one length, in any order."""
    chance = random.Random(seed)  # noqa: S311 - an order
    left = list(examples)
    chance.shuffle(left)
    for start in range(0, len(left), size * POOL):
        pool = sorted(left[start : start + size * POOL], key=lambda one: len(one.text) + len(one.other or ""))
        batches = [pool[first : first + size] for first in range(0, len(pool), size)]
        chance.shuffle(batches)
        yield from batches
