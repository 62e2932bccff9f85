"""Fine-tunes the upper layers of the shared encoder to tell classes apart: cross-entropy, AdamW, FGM, early stopping.

The frozen layers run once for each text, before the first epoch. FGM (Miyato et al., 2017) adds to what they yield the
small step that raises the loss most, and learns from that, too.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils.rnn import pad_sequence

from retrieval.embedder import RetrievalError, SentenceEmbedder
from retrieval.encoder import Branch, Shape, States, Trunk, TunedEncoder

Progress = Callable[[str, int, int], None]  # what, steps done, steps in all
Rows = Sequence[tuple[str, str]]  # text, label


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to tune."""

    shape: Shape = field(default_factory=Shape)
    epochs: int = 4
    batch: int = 16
    accumulate: int = 1  # batches per step of the optimizer
    learning_rate: float = 3e-4
    class_rate: float = 5e-3  # … of the classes' directions
    decay: float = 0.01
    warmup: float = 0.1  # share of the steps
    clip: float = 1.0
    smoothing: float = 0.0  # of the labels
    adversarial: float = 0.0  # FGM: length of the step, as a share of a text's own; 0 switches it off
    patience: int = 2  # epochs without improvement before it stops
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the data came to; no validation figures without validation rows."""

    number: int
    loss: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


def finetune(
    embedder: SentenceEmbedder,
    rows: Rows,
    dev: Rows,
    recipe: Recipe,
    log: Path | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[TunedEncoder, list[Epoch]]:
    """Tune on ``rows``; with ``dev`` the best epoch is kept, without it the last.

    Args:
        embedder: whose model is tuned, in a copy.
        rows: what to learn from.
        dev: what the best epoch is chosen on; may be empty.
        recipe: how.
        log: where TensorBoard's curves are written; None writes none.
        progress: told after each step.

    Raises:
        RetrievalError: fewer than two classes, or an encoder that cannot be tuned.
    """
    labels = sorted({label for _, label in rows})
    if len(labels) < 2:
        raise RetrievalError(f"expected at least two labels to tell apart, found {labels}")
    torch.manual_seed(recipe.seed)
    trunk = Trunk(embedder, recipe.shape.layers)
    run = _Run(trunk, Branch(trunk, labels, recipe.shape), recipe, rows, [row for row in dev if row[1] in labels])
    history = run.whole(log, progress)
    return TunedEncoder(trunk, run.branch), history


@dataclass(frozen=True, slots=True)
class _Text:
    """One text after the frozen layers, unpadded and in half precision, since all of them are kept."""

    hidden: Tensor  # [tokens, d]
    target: int


class _Run:
    def __init__(self, trunk: Trunk, branch: Branch, recipe: Recipe, rows: Rows, dev: Rows) -> None:
        self.branch, self.recipe = branch, recipe
        self.rows, self.dev = list(_through(trunk, branch, rows)), list(_through(trunk, branch, dev))
        self.steps = recipe.epochs * math.ceil(math.ceil(len(rows) / recipe.batch) / recipe.accumulate)
        self.step, self.began = 0, time.monotonic()
        self.half = bool(
            torch.cpu.get_capabilities().get("avx512_bf16")
        )  # where the CPU multiplies it: 1.7 times faster
        self._start_at_means()
        classes = [branch.classes, branch.bias]
        inner = [value for value in branch.trained().values() if all(value is not one for one in classes)]
        self.optimizer = torch.optim.AdamW([
            {"params": inner, "lr": recipe.learning_rate, "weight_decay": recipe.decay},
            {"params": classes, "lr": recipe.class_rate, "weight_decay": 0.0},
        ])  # fmt: skip
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.inner = inner

    def whole(self, log: Path | None, progress: Progress) -> list[Epoch]:
        history: list[Epoch] = []
        kept = self._weights()
        for number in range(self.recipe.epochs):
            loss = self._epoch(number, progress)
            checked, accuracy = self._validate() if self.dev else (None, None)
            history.append(Epoch(number + 1, loss, checked, accuracy, round(time.monotonic() - self.began, 1)))
            if not self.dev or _best(history) == number:
                kept = self._weights()
            elif number - _best(history) >= self.recipe.patience:
                break
        self.branch.load_state_dict(kept, strict=False)
        if log:
            _write(log, history, self.recipe)
        return history

    @torch.no_grad()
    def _start_at_means(self) -> None:
        """A class begins in the direction of its texts' mean, where the frozen embedding would put it."""
        self.branch.eval()
        sums = torch.zeros_like(self.branch.classes)
        for texts in self._ordered(self.rows):
            targets = torch.tensor([text.target for text in texts])
            sums.index_add_(0, targets, self.branch.embed(_padded(texts)))
        self.branch.classes.copy_(normalize(sums, dim=1))

    def _epoch(self, number: int, progress: Progress) -> float:
        self.branch.train()
        batches = self._shuffled(number)
        total = 0.0
        for start in range(0, len(batches), self.recipe.accumulate):
            group = batches[start : start + self.recipe.accumulate]
            count = sum(len(batch) for batch in group)
            total += sum(self._backward(batch, count) for batch in group) * count
            nn.utils.clip_grad_norm_(self.inner, self.recipe.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            self.step += 1
            progress(f"epoch {number + 1}", self.step, self.steps)
        return total / len(self.rows)

    def _backward(self, batch: list[_Text], count: int) -> float:
        """Add the gradients of a batch, as its share of ``count`` texts; its share of their mean loss."""
        states, target = _padded(batch), torch.tensor([text.target for text in batch])
        share = len(batch) / count
        states.hidden.requires_grad_(self.recipe.adversarial > 0)
        loss = self._loss(states, target) * share
        torch.autograd.backward(loss)
        if self.recipe.adversarial > 0:
            near = States(_worse(states.hidden, self.recipe.adversarial), states.mask)
            torch.autograd.backward(self._loss(near, target) * share)
        return float(loss.detach())

    def _loss(self, states: States, target: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits = self.branch(states)
        return cross_entropy(logits.float(), target, label_smoothing=self.recipe.smoothing)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.branch.eval()
        loss, right = 0.0, 0
        for texts in self._ordered(self.dev):
            target = torch.tensor([text.target for text in texts])
            logits = self.branch(_padded(texts))
            loss += float(cross_entropy(logits, target, reduction="sum"))
            right += int((logits.argmax(1) == target).sum())
        return loss / len(self.dev), right / len(self.dev)

    def _rate(self, step: int) -> float:
        warm = max(1.0, self.recipe.warmup * self.steps)
        return min(1.0, (step + 1) / warm) * max(0.0, 1 - step / max(1, self.steps))

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.branch.trained().items()}

    def _ordered(self, texts: list[_Text]) -> list[list[_Text]]:
        ordered = sorted(texts, key=lambda text: len(text.hidden))
        return [ordered[start : start + 32] for start in range(0, len(ordered), 32)]

    def _shuffled(self, number: int) -> list[list[_Text]]:
        """Batches of texts of about one length, in any order."""
        chance = random.Random(f"{self.recipe.seed}-{number}")  # noqa: S311 - an order
        texts, size = list(self.rows), self.recipe.batch
        chance.shuffle(texts)
        batches = []
        for start in range(0, len(texts), size * 16):
            pool = sorted(texts[start : start + size * 16], key=lambda text: len(text.hidden))
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        chance.shuffle(batches)
        return batches


def _through(trunk: Trunk, branch: Branch, rows: Rows) -> Iterator[_Text]:
    places = {label: number for number, label in enumerate(branch.labels)}
    ordered = sorted(rows, key=lambda row: len(row[0]))
    for start in range(0, len(ordered), 32):
        some = ordered[start : start + 32]
        states = trunk([text for text, _ in some])
        for hidden, mask, (_, label) in zip(states.hidden, states.mask, some, strict=True):
            yield _Text(hidden[: int(mask.sum())].to(torch.bfloat16), places[label])


def _padded(texts: Sequence[_Text]) -> States:
    hidden = pad_sequence([text.hidden.float() for text in texts], batch_first=True)
    lengths = torch.tensor([len(text.hidden) for text in texts])
    return States(hidden, (torch.arange(hidden.shape[1])[None] < lengths[:, None]).long())


def _worse(hidden: Tensor, share: float) -> Tensor:
    """``hidden`` moved along its gradient, each text by ``share`` of a token's usual length."""
    slope = hidden.grad
    if slope is None:
        raise RetrievalError("no gradient reached the frozen layers' output; this encoder cannot be tuned by FGM")
    length = slope.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-12)
    usual = hidden.detach().norm(dim=2).mean(1)[:, None, None]
    moved: Tensor = (hidden + share * usual * slope / length).detach()
    return moved


def _best(history: Sequence[Epoch]) -> int:
    """The epoch that was right most often, and of those the surest: a temperature mends what overfits the loss."""
    return min(
        range(len(history)),
        key=lambda n: (-(history[n].validation_accuracy or 0.0), history[n].validation_loss or 0.0),
    )


def _write(log: Path, history: Sequence[Epoch], recipe: Recipe) -> None:
    from torch.utils.tensorboard import SummaryWriter  # late: an extra that only training needs

    with SummaryWriter(str(log)) as writer:
        writer.add_text("recipe", str(asdict(recipe)))
        for epoch in history:
            writer.add_scalar("train/loss", epoch.loss, epoch.number)
            curves: dict[str, Any] = {"loss": epoch.validation_loss, "accuracy": epoch.validation_accuracy}
            for name, value in curves.items():
                if value is not None:
                    writer.add_scalar(f"validation/{name}", value, epoch.number)
