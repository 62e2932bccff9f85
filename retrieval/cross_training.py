"""Trains a cross-encoder: among the texts that a search found, which one answers the question, if any does.

The loss is listwise, with "none of them" as one more choice of fixed score 0, so that the scores also say whether there
is an answer at all.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.cross_encoder import CrossEncoder, differences, forward, half
from retrieval.embedder import SentenceEmbedder

Progress = Callable[[str, int, int], None]  # what, steps done, steps in all


@dataclass(frozen=True, slots=True)
class Case:
    """A question, the texts to choose from, and the places of those that answer it; none where nothing does."""

    question: str
    texts: tuple[str, ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The defaults are what the shipped one was trained with."""

    epochs: int = 2
    batch: int = 8  # questions
    learning_rate: float = 1e-4
    head_rate: float = 1e-3  # … of the layer on top
    decay: float = 0.01
    dropout: float = 0.05
    warmup: int = 100  # steps
    most: int = 100_000  # steps, so that what is known already need not be gone through again
    clip: float = 1.0
    rank: int = 32  # of the matrices' differences that are kept
    seed: int = 0


def train(
    embedder: SentenceEmbedder,
    cases: Callable[[int], Sequence[Case]],
    recipe: Recipe,
    progress: Progress = lambda *_: None,
    start: CrossEncoder | None = None,
) -> dict[str, Tensor]:
    """Train on what ``cases`` gives for each epoch, the first being 0; the differences that make the model.

    Args:
        embedder: whose model is copied; its token embeddings stay as they are.
        cases: drawn anew for every epoch, as many each time.
        recipe: how.
        progress: told after each step.
        start: what to go on from; None starts from the embedding model.
    """
    torch.manual_seed(recipe.seed)
    model: Any = copy.deepcopy(start.model if start else embedder.transformer).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
    for value in model.embeddings.parameters():
        value.requires_grad_(False)
    score = copy.deepcopy(start.top) if start else nn.Linear(int(model.config.hidden_size), 1)
    if not start:
        nn.init.normal_(score.weight, std=0.02)
    inner = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": inner, "lr": recipe.learning_rate}, {"params": score.parameters(), "lr": recipe.head_rate}],
        weight_decay=recipe.decay,
    )
    drawn = cases(0)
    steps = min(recipe.epochs * (len(drawn) // recipe.batch), recipe.most)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / recipe.warmup) * max(0.02, 1 - step / max(1, steps))
    )
    step, fast = 0, half()
    for epoch in range(recipe.epochs):
        order = list(drawn if epoch == 0 else cases(epoch))
        random.Random(f"{recipe.seed}-{epoch}").shuffle(order)  # noqa: S311 - an order
        for first in range(0, min(len(order) // recipe.batch, steps - step) * recipe.batch, recipe.batch):
            batch = order[first : first + recipe.batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                found = forward(
                    model, score, embedder.tokenizer,
                    [case.question for case in batch for _ in case.texts],
                    [text for case in batch for text in case.texts],
                )  # fmt: skip
            descend(loss(found, batch), inner, recipe.clip, optimizer, schedule)
            step += 1
            progress(f"epoch {epoch + 1}", step, steps)
    return differences(embedder.transformer.state_dict(), model.state_dict(), score, recipe.rank)


def descend(
    loss: Tensor,
    values: Sequence[nn.Parameter],
    clip: float,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """One step of the optimizer down the slope of ``loss``, the gradients of ``values`` being cut to ``clip``."""
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(values, clip)
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()


def loss(found: Tensor, batch: Sequence[Case]) -> Tensor:
    """Mean negative log-probability of a right choice; ``found``: the scores of all texts of ``batch``, in order."""
    total, at = found.new_zeros(()), 0
    for case in batch:
        choices = torch.cat([found[at : at + len(case.texts)], found.new_zeros(1)]).log_softmax(0)
        total = total - (choices[list(case.right)].logsumexp(0) if case.right else choices[-1])
        at += len(case.texts)
    return total / len(batch)
