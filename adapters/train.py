"""Trains one LoRA adapter on chats and gives it a passport. Decides nothing about serving it."""

from __future__ import annotations

import json
import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.helpers import disable_input_dtype_casting
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from adapters import checkpoint
from adapters import examples as data
from adapters.base import Base
from adapters.chat import Message
from adapters.passport import PASSPORT, Passport, write
from adapters.store import WEIGHTS, digest_of

Progress = Callable[[str, int, int], None]  # what, steps done, steps in all
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CHECKPOINT = ".checkpoint"


class TrainError(Exception):
    """A training that cannot start. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The defaults fit 20 minutes on two cores for about 1,500 examples of 500 tokens."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = LINEAR
    layers: int | None = None  # only the upper so many; None: all
    epochs: int = 3
    batch: int = 4
    accumulate: int = 2  # batches per step of the optimizer
    learning_rate: float = 5e-4
    warmup: float = 0.05  # share of the training
    clip: float = 1.0  # norm of the gradient
    longest: int = 1024  # tokens; longer examples are dropped and counted
    validation: float = 0.1  # share of the examples
    patience: int = 1  # evaluations without improvement before it stops
    max_minutes: float = 20.0
    seed: int = 0


@dataclass(slots=True)
class _State:
    """Where a training stands; what a checkpoint keeps."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    stale: int = 0
    done: bool = False


class _Dropout(nn.Module):
    """Dropout with one mask for all tokens of an example: a mask per token takes 40 % of a step on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        keep = torch.empty(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device).bernoulli_(1 - self.share)
        return x * (keep / (1 - self.share))


def train(
    base: Base, chats: Sequence[Sequence[Message]], out: Path, recipe: Recipe, progress: Progress = lambda *_: None
) -> Passport:
    """Train on the last assistant message of each chat and write the adapter into ``out``.

    A run that was killed goes on from its last evaluation when called again with the same data and recipe.
    ``base`` must be one that no engine serves; its own weights come back untouched.

    Raises:
        TrainError: ``out`` is finished already, too few usable examples, or ``base`` carries adapters.
    """
    if (out / PASSPORT).exists():
        raise TrainError(f"{out} holds a finished adapter; choose another folder")
    if any(isinstance(module, LoraLayer) for module in base.model.modules()):
        raise TrainError("the base model carries adapters already; load one of its own for training")
    usable = data.encode(base, chats, recipe.longest)
    if len(usable) < 2:
        raise TrainError(
            f"{len(usable)} of {len(chats)} chats can be used, expected at least 2; "
            f"they must end with the assistant and have at most {recipe.longest} tokens"
        )
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = _with_lora(base, recipe)
    try:
        return _Run(base, model, chats, usable, out, recipe, progress).whole()
    finally:
        model.unload()
        base.model.train(False)


def _with_lora(base: Base, recipe: Recipe) -> Any:
    depth = int(base.model.config.num_hidden_layers)
    upper = None if recipe.layers is None else list(range(depth - recipe.layers, depth))
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        layers_to_transform=upper,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")  # peft 0.21 on transformers 5.23
        model = get_peft_model(base.model, config)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.lora_dropout["default"] = _Dropout(recipe.dropout)
    return model


class _Run:
    """One training, from the first evaluation to the passport."""

    def __init__(
        self,
        base: Base,
        model: Any,
        chats: Sequence[Sequence[Message]],
        usable: list[data.Example],
        out: Path,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # late: an extra that only training needs

        self.base, self.model, self.out, self.recipe, self.progress = base, model, out, recipe, progress
        self.data, self.dropped = data.digest(chats), len(chats) - len(usable)
        self.train, self.held_out = data.split(usable, recipe.validation, recipe.seed)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=recipe.learning_rate, weight_decay=0.0)
        self.steps = recipe.epochs * math.ceil(math.ceil(len(self.train) / recipe.batch) / recipe.accumulate)
        self.state, self.best = _State(), self._lora()
        self.log = SummaryWriter(str(out / "tensorboard"))

    def whole(self) -> Passport:
        """Evaluate, train until nothing improves or time is up, keep the best, write the passport last."""
        with disable_input_dtype_casting(self.model), self.log:
            before = self._evaluate()
            self._resume()
            began = time.monotonic() - self.state.seconds
            while not self.state.done:
                self._epoch(began)
                self._keep_best(self._evaluate(), began)
                self._save_checkpoint()
            self._load(self.best)
            after = self._evaluate()
        return self._finish(before, after)

    def _epoch(self, began: float) -> None:
        order = random.Random(f"{self.recipe.seed}-{self.state.epoch}").getrandbits(32)  # noqa: S311 - an order
        torch.manual_seed(order)
        self.model.train()
        cut = self._batches(self.train, order)
        for start in range(0, len(cut), self.recipe.accumulate):
            if self._spent(began) >= 1.0:
                break
            self._step(cut[start : start + self.recipe.accumulate], began)
        self.state.epoch += 1

    def _step(self, group: list[data.Batch], began: float) -> None:
        for settings in self.optimizer.param_groups:
            settings["lr"] = self.recipe.learning_rate * self._schedule(began)
        tokens = sum(len(batch.targets) for batch in group)
        total = 0.0
        for batch in group:
            loss = nn.functional.cross_entropy(self._logits(batch), batch.targets, reduction="sum") / tokens
            torch.autograd.backward(loss)
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.weights, self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.log.add_scalar("train/loss", total, self.state.step)
        self.log.add_scalar("train/learning_rate", self.optimizer.param_groups[0]["lr"], self.state.step)
        self.progress(f"training, loss {total:.3f}", self.state.step, self.steps)

    def _logits(self, batch: data.Batch) -> Tensor:
        """fp32 [answer tokens, vocabulary]: the vocabulary's product is made for the answer's tokens only."""
        model: Any = self.base.model
        with self._precision():
            hidden = model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
            logits: Tensor = model.get_output_embeddings()(hidden[batch.where])
        return logits.float()

    def _precision(self) -> AbstractContextManager[Any]:
        kind = self.base.model.dtype
        return nullcontext() if kind == torch.float32 else torch.autocast(self.base.model.device.type, dtype=kind)

    def _schedule(self, began: float) -> float:
        """Linear warm-up, then a cosine that ends with the steps or with the time, whichever is nearer."""
        done = max(self.state.step / self.steps, self._spent(began))
        warm = min(1.0, (self.state.step + 1) / max(1.0, self.recipe.warmup * self.steps))
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _spent(self, began: float) -> float:
        return (time.monotonic() - began) / (60 * self.recipe.max_minutes)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Per answer token, over the held-out examples: loss, and share predicted exactly."""
        self.model.eval()
        loss, right, tokens = 0.0, 0, 0
        for batch in self._batches(self.held_out, 0):
            logits = self._logits(batch)
            loss += float(nn.functional.cross_entropy(logits, batch.targets, reduction="sum"))
            right += int((logits.argmax(-1) == batch.targets).sum())
            tokens += len(batch.targets)
        return {"validation_loss": loss / tokens, "token_accuracy": right / tokens}

    def _batches(self, rows: list[data.Example], seed: int) -> list[data.Batch]:
        pad = int(self.base.tokenizer.pad_token_id or 0)
        return data.batches(rows, self.recipe.batch, seed, pad, self.base.model.device)

    def _keep_best(self, found: dict[str, float], began: float) -> None:
        state, loss = self.state, found["validation_loss"]
        if loss < state.best:
            state.best, state.stale, self.best = loss, 0, self._lora()
        else:
            state.stale += 1
        state.seconds = time.monotonic() - began
        over = state.epoch >= self.recipe.epochs or self._spent(began) >= 1.0
        state.done = over or state.stale >= self.recipe.patience
        for name, value in found.items():
            self.log.add_scalar(f"validation/{name}", value, state.step)

    def _lora(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in get_peft_model_state_dict(self.model).items()}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        set_peft_model_state_dict(self.model, dict(tensors))

    def _identity(self) -> dict[str, Any]:
        return {"base": self.base.digest, "data": self.data, "recipe": asdict(self.recipe)}

    def _save_checkpoint(self) -> None:
        moments = {
            f"{number}.{key}": value
            for number, weight in enumerate(self.weights)
            for key, value in self.optimizer.state[weight].items()
        }
        note = {"state": asdict(self.state), "of": self._identity()}
        groups = {"now": self._lora(), "best": self.best, "moments": moments}
        checkpoint.save(self.out / CHECKPOINT, note, groups)

    def _resume(self) -> None:
        kept = checkpoint.load(self.out / CHECKPOINT)
        if kept is None or kept[0].get("of") != json.loads(json.dumps(self._identity())):
            return  # none, or another training's: start afresh
        note, groups = kept
        self.state, self.best = _State(**note["state"]), groups["best"]
        self._load(groups["now"])
        for key, value in groups.get("moments", {}).items():
            number, _, name = key.partition(".")
            self.optimizer.state[self.weights[int(number)]][name] = value

    def _finish(self, before: dict[str, float], after: dict[str, float]) -> Passport:
        halves = {name: value.to(torch.float16).contiguous().cpu() for name, value in self._lora().items()}
        save_file(halves, self.out / WEIGHTS, metadata={"format": "pt"})
        (self.out / WEIGHTS).chmod(0o644)  # safetensors makes it readable for this user only
        config = self.model.peft_config["default"]
        config.inference_mode = True
        config.base_model_name_or_path = self.base.folder.name  # peft puts this machine's path there
        config.save_pretrained(str(self.out))
        passport = Passport(
            weights=digest_of(self.out),
            base=self.base.digest,
            template=self.base.template_digest,
            data=self.data,
            counts={"train": len(self.train), "validation": len(self.held_out), "dropped": self.dropped},
            recipe={**asdict(self.recipe), "targets": list(self.recipe.targets)},
            seed=self.recipe.seed,
            rank=self.recipe.rank,
            targets=self.recipe.targets,
            before=before,
            after=after,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        (self.out / "README.md").write_text(_card(self.out.name, self.base, passport), encoding="utf-8")
        (self.out / CHECKPOINT).unlink(missing_ok=True)
        # written last: a folder without a passport is a training that did not finish
        write(self.out, passport)
        return passport


def _card(name: str, base: Base, passport: Passport) -> str:
    counts = ", ".join(f"{number} {use}" for use, number in passport.counts.items())
    rows = "\n".join(f"| {key} | {passport.before[key]:.3f} | {passport.after[key]:.3f} |" for key in passport.after)
    return f"""---
base_model: {base.folder.name}
library_name: peft
tags: [lora]
---
# {name}

LoRA adapter, rank {passport.rank}, on {", ".join(passport.targets)}. It fits one base model only,
sha256 `{passport.base}`; `{PASSPORT}` holds all digests and the recipe.

Examples: {counts}; sha256 `{passport.data}`. Seed {passport.seed}. Trained {passport.created}.

| on held-out examples | before | after |
|---|---|---|
{rows}

It answers from passages put before it, and is no source of knowledge by itself. Speak it only behind the checks of the
assistant that it was trained for.
"""
