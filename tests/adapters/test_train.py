from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapters import adversarial, examples, methods
from adapters.base import Base, load
from adapters.chat import Message
from adapters.engine import TorchEngine
from adapters.recipe import Recipe, TrainError
from adapters.store import AdapterError, verify
from adapters.train import prefer, train
from tests.adapters.tiny import tiny_base

CHATS = [[Message("user", f"Say the code of {n}."), Message("assistant", f"Code {n}7 [1]")] for n in range(10, 18)]
QUICK = Recipe(epochs=2, batch=2, accumulate=1, layers=2, validation=0.25, learning_rate=2e-3, patience=9)


@pytest.fixture(scope="module")
def own(base: Base) -> Base:
    """A base that no engine serves."""
    return load(base.folder, dtype="float32", device="cpu")


class KilledError(Exception):
    pass


def test_training_lowers_the_loss_and_its_adapter_is_served(own: Base, base: Base, tmp_path: Path) -> None:
    before = [weight.clone() for weight in list(own.model.parameters())[:3]]
    passport = train(own, CHATS, tmp_path / "codes", QUICK)
    assert passport.after["validation_loss"] < passport.before["validation_loss"]
    assert passport.counts == {"train": 6, "validation": 2, "dropped": 0}
    assert all(torch.equal(a, b) for a, b in zip(before, own.model.parameters(), strict=False))
    written = {path.name for path in (tmp_path / "codes").iterdir()}
    assert written >= {"adapter_model.safetensors", "adapter_config.json", "README.md", "passport.json"}
    engine = TorchEngine(base)
    adapter = verify(tmp_path / "codes", base)
    engine.load(adapter)
    engine.unload(adapter.digest)


def test_a_killed_training_resumes_to_the_same_weights(own: Base, tmp_path: Path) -> None:
    def kill(_: str, step: int, __: int) -> None:
        if step == 5:
            raise KilledError

    straight = train(own, CHATS, tmp_path / "straight", QUICK)
    with pytest.raises(KilledError):
        train(own, CHATS, tmp_path / "killed", QUICK, kill)
    assert not (tmp_path / "killed" / "passport.json").exists()
    steps: list[int] = []
    resumed = train(own, CHATS, tmp_path / "killed", QUICK, lambda _, step, __: steps.append(step))
    assert steps[0] == 4
    assert resumed.after["validation_loss"] == pytest.approx(straight.after["validation_loss"], abs=1e-3)


@pytest.mark.parametrize(
    "chats", [[], CHATS[:1], [[Message("user", "x")]] * 5, [[Message("user", "x " * 2000), *CHATS[0][1:]]] * 5]
)
def test_too_little_to_learn_from_is_refused(own: Base, tmp_path: Path, chats: Sequence[Sequence[Message]]) -> None:
    with pytest.raises(TrainError, match="can be used"):
        train(own, chats, tmp_path / "none", QUICK)


def test_a_finished_adapter_is_not_overwritten(own: Base, tmp_path: Path) -> None:
    (tmp_path / "passport.json").write_text("{}")
    with pytest.raises(TrainError, match="finished adapter"):
        train(own, CHATS, tmp_path, QUICK)


def test_only_answer_tokens_are_targets(own: Base) -> None:
    rows = examples.encode(own, CHATS[:2], 100)
    (batch,) = examples.batches(rows, 2, 0, 2, torch.device("cpu"))
    learned = batch.ids[batch.where[0], batch.where[1] + 1]
    assert torch.equal(learned, batch.targets)
    assert len(batch.targets) == sum(len(row.answer) for row in rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "rslora", "schedule": "linear", "weight_decay": 0.01},
        {"adversarial": 0.5, "label_smoothing": 0.1, "schedule": "constant"},
        {"method": "dora"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_methods_and_options_learn_and_only_plain_lora_is_served(
    tiny: Base, tmp_path: Path, changes: dict[str, Any]
) -> None:
    own = tiny_base(tiny)
    recipe = replace(QUICK, epochs=6, learning_rate=2e-2, **changes)
    passport = train(own, CHATS, tmp_path / "codes", recipe)
    assert passport.after["validation_loss"] < passport.before["validation_loss"]
    assert {key: passport.recipe[key] for key in changes} == changes
    assert (tmp_path / "codes" / "curves.png").read_bytes().startswith(b"\x89PNG")
    adapter, engine = verify(tmp_path / "codes", own), TorchEngine(own)
    if changes.get("method") == "dora":
        with pytest.raises(AdapterError, match="'use_dora' to True; only plain LoRA is served"):
            engine.load(adapter)
    else:
        engine.load(adapter)
        assert engine.adapters() == [adapter]


def test_a_training_begins_with_another_adapter(tiny: Base, tmp_path: Path) -> None:
    own = tiny_base(tiny)
    recipe = replace(QUICK, epochs=6, learning_rate=2e-2)
    first = train(own, CHATS, tmp_path / "first", recipe)
    start = verify(tmp_path / "first", own)
    second = train(own, CHATS, tmp_path / "second", replace(recipe, epochs=1), start=start)
    assert second.before["validation_loss"] == pytest.approx(first.after["validation_loss"], abs=0.01)
    assert second.recipe["start"] == start.digest
    with pytest.raises(AdapterError, match="cannot be begun with"):
        train(own, CHATS, tmp_path / "third", replace(recipe, rank=4), start=start)


def test_a_push_goes_where_the_loss_grows() -> None:
    embedding = nn.Embedding(5, 3)
    ids, target = torch.tensor([[0, 1], [2, 3]]), torch.ones(2, 2, 3)
    losses: list[float] = []

    def loss() -> torch.Tensor:
        found: torch.Tensor = (embedding(ids) - target).pow(2).sum()
        losses.append(float(found.detach()))
        return found

    assert adversarial.learn_twice(embedding, 0.1, loss) == losses[0]
    assert losses[1] > losses[0]
    assert torch.equal(embedding(ids), embedding.weight[ids])


def test_preferences_raise_the_better_answer_over_the_worse(tiny: Base, tmp_path: Path) -> None:
    own = tiny_base(tiny)
    triples = [([Message("user", f"Say the code of {n}.")], f"Code {n}7", "I will not say it.") for n in range(10, 26)]
    recipe = replace(QUICK, epochs=8, learning_rate=2e-2, accumulate=2)
    passport = prefer(own, triples, tmp_path / "polite", recipe)
    assert passport.before["gained"] == 0 and passport.before["validation_loss"] == pytest.approx(0.693, abs=0.001)
    assert passport.after["gained"] > 0.9
    assert passport.after["validation_loss"] < 0.6
    engine = TorchEngine(own)
    engine.load(verify(tmp_path / "polite", own))


def test_examples_of_one_answer_are_held_out_together(tiny: Base, tmp_path: Path) -> None:
    answers = [f"The code of shelf {n // 2} is {n // 2}7." for n in range(8)]
    chats = [[Message("user", f"Which code is {n}?"), Message("assistant", text)] for n, text in enumerate(answers)]
    passport = train(tiny_base(tiny), chats, tmp_path / "codes", replace(QUICK, validation=0.125))
    assert passport.counts == {"train": 6, "validation": 2, "dropped": 0}


# what a process of its own runs and kills itself in: a training, with the step given
KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from adapters.base import load
from adapters.train import train
from tests.adapters.test_train import LONG, MANY
from tests.adapters.tiny import tiny_base

torch.set_num_threads(1)
def kill(_, step, __):
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
train(tiny_base(load(sys.argv[1], dtype="float32", device="cpu")), MANY, Path(sys.argv[2]), LONG, kill)
"""
MANY = [[Message("user", f"Say the code of {n}."), Message("assistant", f"Code {n}7 [1]")] for n in range(200)]
# so much time that the schedule follows the steps alone
LONG = replace(QUICK, epochs=2, learning_rate=2e-2, dropout=0.1, validation=0.1, max_minutes=1e9)


def test_a_training_that_is_killed_within_an_epoch_ends_with_the_same_weights(tiny: Base, tmp_path: Path) -> None:
    own, killed = tiny_base(tiny), tmp_path / "killed"
    straight = train(own, MANY, tmp_path / "straight", LONG)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(own.folder), str(killed), "143"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    steps: list[int] = []
    resumed = train(own, MANY, killed, replace(LONG, max_minutes=1e8), lambda _, step, __: steps.append(step))
    assert steps[0] == 141  # 50 steps into the second epoch of 90
    assert resumed.weights == straight.weights and resumed.after == straight.after


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [
        ({"max_minutes": 5.0}, True),
        ({"patience": 1}, True),
        ({"epochs": 3}, False),
        ({"rank": 4}, False),
    ],
    ids=str,
)
def test_only_the_same_training_goes_on(tiny: Base, tmp_path: Path, changes: dict[str, Any], goes_on: bool) -> None:
    def kill(_: str, step: int, __: int) -> None:
        if step == 5:
            raise KilledError

    own = tiny_base(tiny)
    with pytest.raises(KilledError):
        train(own, CHATS, tmp_path, QUICK, kill)
    kept = (tmp_path / ".checkpoint").read_bytes()
    steps: list[int] = []
    recipe = replace(QUICK, **changes)
    if goes_on:
        train(own, CHATS, tmp_path, recipe, lambda _, step, __: steps.append(step))
        assert steps[0] == 4
        return
    (name, now), *_ = changes.items()
    said = f"{name} {getattr(QUICK, name)} there and {now} here; choose another folder"
    with pytest.raises(TrainError, match=said):
        train(own, CHATS, tmp_path, recipe, lambda _, step, __: steps.append(step))
    assert not steps and (tmp_path / ".checkpoint").read_bytes() == kept


def test_where_the_schedule_does_not_know_them_more_epochs_go_on(tiny: Base, tmp_path: Path) -> None:
    def kill(_: str, step: int, __: int) -> None:
        if step == 5:
            raise KilledError

    own, recipe = tiny_base(tiny), replace(QUICK, schedule="constant", warmup=0.0)
    with pytest.raises(KilledError):
        train(own, CHATS, tmp_path, recipe, kill)
    steps: list[int] = []
    train(own, CHATS, tmp_path, replace(recipe, epochs=3), lambda _, step, __: steps.append(step))
    assert steps == [4, 5, 6, 7, 8, 9]


def test_a_missing_extra_is_named_before_anything_is_done(
    tiny: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    with pytest.raises(TrainError, match=r"tensorboard, which .* pip install 'domain-assistant\[train\]'"):
        train(tiny_base(tiny), CHATS, tmp_path / "codes", QUICK)
    assert not (tmp_path / "codes").exists()


def test_an_adapter_says_how_it_was_trained(tiny: Base, tmp_path: Path) -> None:
    own = tiny_base(tiny)
    recipe = replace(QUICK, method="rslora", rank=4, alpha=12, layers=1)
    train(own, CHATS, tmp_path / "first", recipe)
    start = verify(tmp_path / "first", own)
    made = methods.choices_of(start)
    assert made | {"targets": set(made["targets"])} == {
        "method": "rslora", "rank": 4, "alpha": 12, "layers": 1, "targets": set(recipe.targets),
    }  # fmt: skip
    triples = [([Message("user", f"Say the code of {n}.")], f"Code {n}7", "I will not say it.") for n in range(10, 18)]
    preferred = prefer(own, triples, tmp_path / "second", replace(QUICK, **made), start=start)
    assert preferred.recipe["start"] == start.digest
    with pytest.raises(AdapterError, match="was trained by rslora with alpha 12"):
        prefer(own, triples, tmp_path / "third", replace(QUICK, **made | {"alpha": 8}), start=start)
