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
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.helpers import disable_input_dtype_casting
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from adapters import adversarial, card, checkpoint, methods
from adapters import examples as data
from adapters.base import Base
from adapters.chat import Message
from adapters.curves import CURVES, draw
from adapters.objective import Imitate, Objective, Pair, Prefer
from adapters.passport import PASSPORT, Passport, write
from adapters.recipe import Recipe, TrainError
from adapters.store import WEIGHTS, Adapter, digest_of

Triple = tuple[Sequence[Message], str, str]  # prompt, the better answer, the worse one
Progress = Callable[[str, int, int], None]  # what, steps done, steps in all
CHECKPOINT = ".checkpoint"
SAVES, EVALUATIONS = 10, 2  # of each in an epoch
FEWEST = 50  # steps between two of them
SAVE_AFTER = 60.0  # seconds, where that is sooner


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a training began with."""

    data: str  # digest of the chats
    dropped: int  # chats that could not be used
    start: str | None  # digest of the adapter that it began with


def train(
    base: Base,
    chats: Sequence[Sequence[Message]],
    out: Path,
    recipe: Recipe,
    progress: Progress = lambda *_: None,
    start: Adapter | None = None,
    keys: Sequence[data.Keys] | None = None,
) -> Passport:
    """Train on the last assistant message of each chat and write the adapter into ``out``.

    A run that was killed goes on from its last checkpoint, about a minute back, when called again with the same data
    and recipe; time and patience may differ. It ends with the weights of a run that was not, unless time ended its
    schedule. ``base`` must be one that no engine serves; its own weights come back untouched.

    Args:
        base: what the adapter changes.
        chats: what to learn.
        out: folder of the adapter.
        recipe: how to train.
        progress: told each step.
        start: another adapter to begin with, of the same method, rank, alpha, layers and targets.
        keys: a set for each chat; those with one in common are held out together or not at all. None: see
            ``adapters.examples.keys_of``.

    Raises:
        AdapterError: ``start`` has other tensors than the recipe makes.
        TrainError: ``out`` is finished already or holds another training's checkpoint, the extra ``train`` is missing,
            too few usable examples, or ``base`` carries adapters.
    """
    usable = data.encode(base, chats, recipe.longest, keys)
    origin = _Origin(data.digest(chats), len(chats) - len(usable), start.digest if start else None)
    return _conduct(base, usable, origin, Imitate(recipe.label_smoothing), out, recipe, progress, start)


def prefer(
    base: Base,
    triples: Sequence[Triple],
    out: Path,
    recipe: Recipe,
    beta: float = 0.1,
    progress: Progress = lambda *_: None,
    start: Adapter | None = None,
) -> Passport:
    """Train by direct preference optimisation; see ``train``. Losses and odds are per pair of answers."""
    encoded = [
        (data.encode(base, [[*prompt, Message("assistant", answer)] for answer in (good, bad)], recipe.longest))
        for prompt, good, bad in triples
    ]
    pairs = [Pair(both[0], both[1]) for both in encoded if len(both) == 2]
    chats = [[*prompt, Message("assistant", answer)] for prompt, *both in triples for answer in both]
    origin = _Origin(data.digest(chats), len(triples) - len(pairs), start.digest if start else None)
    return _conduct(base, pairs, origin, Prefer(beta), out, recipe, progress, start)


def check(out: Path) -> None:
    """Raises TrainError where no training can end well: ``out`` is finished, or the extra ``train`` is missing."""
    if (out / PASSPORT).exists():
        raise TrainError(f"{out} holds a finished adapter; choose another folder")
    if missing := [name for name in ("tensorboard", "matplotlib") if find_spec(name) is None]:
        raise TrainError(
            f"{' and '.join(missing)}, which training needs, cannot be found; pip install 'domain-assistant[train]'"
        )


def _conduct(
    base: Base,
    usable: Sequence[Any],
    origin: _Origin,
    objective: Objective,
    out: Path,
    recipe: Recipe,
    progress: Progress,
    start: Adapter | None,
) -> Passport:
    check(out)
    if any(isinstance(module, LoraLayer) for module in base.model.modules()):
        raise TrainError("the base model carries adapters already; load one of its own for training")
    if len(usable) < 2:
        raise TrainError(
            f"{len(usable)} of {len(usable) + origin.dropped} chats can be used, expected at least 2; "
            f"they must end with the assistant and have at most {recipe.longest} tokens"
        )
    examples = data.split(usable, recipe.validation, recipe.seed)
    kept = checkpoint.load(out / CHECKPOINT, _identity(base, origin, objective, recipe))
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = _with_lora(base, recipe)
    try:
        if start is not None:
            methods.begin_with(model, start)
        return _Run(base, model, origin, objective, examples, out, recipe, progress).whole(kept)
    finally:
        model.unload()
        base.model.train(False)


def _with_lora(base: Base, recipe: Recipe) -> Any:
    depth = int(base.model.config.num_hidden_layers)
    upper = None if recipe.layers is None else list(range(depth - recipe.layers, depth))
    config = methods.config(recipe.method, recipe.rank, recipe.alpha, recipe.targets, upper)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")  # peft 0.21 on transformers 5.23
        model = get_peft_model(base.model, config)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.lora_dropout["default"] = methods.Dropout(recipe.dropout)
    return model


def _identity(base: Base, origin: _Origin, objective: Objective, recipe: Recipe) -> dict[str, Any]:
    """What the steps of a training depend on, as JSON has it. When it ends is not among it, as far as no step knows."""
    free = {"max_minutes", "patience"}
    if recipe.schedule == "constant" and recipe.warmup == 0:
        free.add("epochs")
    made = {"base": base.digest, "data": origin.data, "start": origin.start, "objective": repr(objective)}
    made |= {key: value for key, value in asdict(recipe).items() if key not in free}
    known: dict[str, Any] = json.loads(json.dumps(made))
    return known


class _Run:
    """One training, from the first evaluation to the passport."""

    def __init__(
        self,
        base: Base,
        model: Any,
        origin: _Origin,
        objective: Objective,
        examples: tuple[list[Any], list[Any]],
        out: Path,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # late: an extra that only training needs

        self.base, self.model, self.out, self.recipe, self.progress = base, model, out, recipe, progress
        self.origin, self.objective = origin, objective
        self.train, self.held_out = (self._prepared(rows) for rows in examples)
        self.embedding: nn.Module = base.model.get_input_embeddings()
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        decay = recipe.weight_decay
        self.optimizer = torch.optim.AdamW(self.weights, lr=recipe.learning_rate, weight_decay=decay)
        self.epoch = math.ceil(math.ceil(len(self.train) / recipe.batch) / recipe.accumulate)  # steps
        self.steps = recipe.epochs * self.epoch
        self.state, self.best = checkpoint.State(), self._lora()
        self.saved = time.monotonic()
        self.log = SummaryWriter(str(out / "tensorboard"))

    def whole(self, kept: tuple[checkpoint.State, checkpoint.Groups] | None) -> Passport:
        """Evaluate, train until nothing improves or time is up, keep the best, write the passport last."""
        with disable_input_dtype_casting(self.model), self.log:
            before = self._evaluate()
            if kept is not None:
                self._resume(*kept)
            began = time.monotonic() - self.state.seconds
            while not self._over(began):
                self._epoch(began)
            if not self.state.validation or self.state.validation[-1][0] < self.state.step:
                self._keep_best()  # time was up within an epoch
            self._load(self.best)
            after = self._evaluate()
        return self._finish(before, after)

    def _over(self, began: float) -> bool:
        state, recipe = self.state, self.recipe
        stale = state.position == 0 and state.epoch - state.improved >= recipe.patience
        return stale or state.epoch >= recipe.epochs or self._spent(began) >= 1.0

    def _epoch(self, began: float) -> None:
        """From where the epoch stands to its end, or until time is up."""
        state = self.state
        batches = self._batches(self.train, self._seed())
        while state.position < self.epoch and self._spent(began) < 1.0:
            start = state.position * self.recipe.accumulate
            self._step(batches[start : start + self.recipe.accumulate], began)
            state.position += 1
            if state.position == self.epoch:
                self._keep_best()
                state.epoch, state.position = state.epoch + 1, 0
                self._save(began)
                return
            if self._due(EVALUATIONS):
                self._keep_best()
            if self._due(SAVES) or time.monotonic() - self.saved >= SAVE_AFTER:
                self._save(began)

    def _due(self, times: int) -> bool:
        return self.state.position % max(FEWEST, math.ceil(self.epoch / times)) == 0

    def _seed(self, *place: int) -> int:
        """One for the epoch, or for a place in it: it depends on no run's past, so a checkpoint need not keep it."""
        known = "-".join(map(str, (self.recipe.seed, self.state.epoch, *place)))
        return random.Random(known).getrandbits(32)  # noqa: S311 - an order

    def _step(self, group: list[data.Batch], began: float) -> None:
        for settings in self.optimizer.param_groups:
            settings["lr"] = self.recipe.learning_rate * self._schedule(began)
        torch.manual_seed(self._seed(self.state.position))
        self.model.train()
        units = sum(map(self.objective.units, group))
        total = 0.0
        for batch in group:
            loss = partial(self._loss, batch, units)
            if self.recipe.adversarial:
                total += adversarial.learn_twice(self.embedding, self.recipe.adversarial, loss)
            else:
                plain = loss()
                torch.autograd.backward(plain)
                total += float(plain.detach())
        nn.utils.clip_grad_norm_(self.weights, self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.state.training.append((self.state.step, total))
        self.log.add_scalar("train/loss", total, self.state.step)
        self.log.add_scalar("train/learning_rate", self.optimizer.param_groups[0]["lr"], self.state.step)
        self.progress(f"training, loss {total:.3f}", self.state.step, self.steps)

    def _loss(self, batch: data.Batch, units: int) -> Tensor:
        return self.objective.loss(self._logits(batch), batch) / units

    def _prepared(self, rows: list[Any]) -> list[Any]:
        self.model.eval()
        with disable_input_dtype_casting(self.model):
            return self.objective.prepare(rows, self._pad, self.base.model.device, self._logits)

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
        """Linear warm-up, then the schedule, which ends with the steps or with the time, whichever is nearer."""
        done = min(1.0, max(self.state.step / self.steps, self._spent(began)))
        warm = min(1.0, (self.state.step + 1) / max(1.0, self.recipe.warmup * self.steps))
        falls = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return warm * falls[self.recipe.schedule]

    def _spent(self, began: float) -> float:
        return (time.monotonic() - began) / (60 * self.recipe.max_minutes)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Over the held-out examples, per unit of the objective."""
        self.model.eval()
        sums: dict[str, float] = {}
        units = 0
        for batch in self._batches(self.held_out, 0):
            for name, value in self.objective.measure(self._logits(batch), batch).items():
                sums[name] = sums.get(name, 0.0) + value
            units += self.objective.units(batch)
        return {name: value / units for name, value in sums.items()}

    @property
    def _pad(self) -> int:
        return int(self.base.tokenizer.pad_token_id or 0)

    def _batches(self, rows: list[Any], seed: int) -> list[data.Batch]:
        return self.objective.batches(rows, self.recipe.batch, seed, self._pad, self.base.model.device)

    def _keep_best(self) -> None:
        state, found = self.state, self._evaluate()
        loss = found["validation_loss"]
        if loss < state.best:
            state.best, state.improved, self.best = loss, state.epoch + 1, self._lora()
        state.validation.append((state.step, loss))
        for name, value in found.items():
            self.log.add_scalar(f"validation/{name}", value, state.step)

    def _lora(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in get_peft_model_state_dict(self.model).items()}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        set_peft_model_state_dict(self.model, dict(tensors))

    def _save(self, began: float) -> None:
        self.saved = time.monotonic()
        self.state.seconds = self.saved - began
        moments = {
            f"{number}.{key}": value
            for number, weight in enumerate(self.weights)
            for key, value in self.optimizer.state[weight].items()
        }
        groups = {"now": self._lora(), "best": self.best, "moments": moments}
        of = _identity(self.base, self.origin, self.objective, self.recipe)
        checkpoint.save(self.out / CHECKPOINT, self.state, of, groups)

    def _resume(self, state: checkpoint.State, groups: checkpoint.Groups) -> None:
        self.state, self.best = state, groups["best"]
        self._load(groups["now"])
        for key, value in groups.get("moments", {}).items():
            number, _, name = key.partition(".")
            weight = self.weights[int(number)]
            self.optimizer.state[weight][name] = value if name == "step" else value.to(weight.device)

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
            data=self.origin.data,
            counts={"train": len(self.train), "validation": len(self.held_out), "dropped": self.origin.dropped},
            recipe={
                **asdict(self.recipe),
                "targets": list(self.recipe.targets),
                "start": self.origin.start,
                "objective": repr(self.objective),
            },
            seed=self.recipe.seed,
            rank=self.recipe.rank,
            targets=self.recipe.targets,
            before=before,
            after=after,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        draw(self.out / CURVES, self.state.training, self.state.validation)
        (self.out / "README.md").write_text(card.write(self.out.name, self.base, passport), encoding="utf-8")
        (self.out / CHECKPOINT).unlink(missing_ok=True)
        # written last: a folder without a passport is a training that did not finish
        write(self.out, passport)
        return passport
