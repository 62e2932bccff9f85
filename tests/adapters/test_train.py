from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapters import adversarial, examples
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
