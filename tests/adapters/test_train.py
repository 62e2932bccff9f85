from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from adapters import examples
from adapters.base import Base, load
from adapters.chat import Message
from adapters.engine import TorchEngine
from adapters.store import verify
from adapters.train import Recipe, TrainError, train

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
