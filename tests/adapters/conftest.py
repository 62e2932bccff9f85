"""The real base model, and small adapters made for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from adapters.base import Base, load
from adapters.passport import write
from adapters.store import Adapter, verify
from assistant import models
from tests.adapters.tiny import passport_of, tiny_adapter, tiny_base

MakeAdapter = Callable[..., Path]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    torch.set_num_threads(1)
    given = os.environ.get("ASSISTANT_MODELS")
    home = Path(given) if given else tmp_path_factory.mktemp("models")
    models.pull(home, lambda *_: None, [models.CHAT])
    return load(home / models.CHAT.name, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def make_adapter(base: Base) -> MakeAdapter:
    """Writes a random adapter; scale 0 makes one without effect."""

    def make(folder: Path, seed: int = 0, scale: float = 1.0, layers: tuple[int, ...] = (3, 20)) -> Path:
        torch.manual_seed(seed)
        shapes = {"q_proj": (576, 576), "down_proj": (1536, 576)}
        owner = {"q_proj": "self_attn", "down_proj": "mlp"}
        tensors = {}
        for layer in layers:
            for name, (wide, narrow) in shapes.items():
                key = f"base_model.model.model.layers.{layer}.{owner[name]}.{name}"
                tensors[f"{key}.lora_A.weight"] = torch.randn(4, wide, dtype=torch.float16) * 0.05
                tensors[f"{key}.lora_B.weight"] = torch.randn(narrow, 4, dtype=torch.float16) * scale
        folder.mkdir(parents=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = LoraConfig(r=4, lora_alpha=8, target_modules=list(shapes), layers_to_transform=list(layers))
        config.save_pretrained(str(folder))
        write(folder, passport_of(folder, base))
        return folder

    return make


@pytest.fixture(scope="session")
def tiny(base: Base) -> Base:
    return tiny_base(base)


@pytest.fixture(scope="session")
def tiny_adapters(tiny: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    folder = tmp_path_factory.mktemp("tiny")
    return [tiny_adapter(tiny, folder / str(number), number) for number in range(5)]


@pytest.fixture
def adapter(base: Base, make_adapter: MakeAdapter, tmp_path: Path) -> Adapter:
    return verify(make_adapter(tmp_path / "one"), base)
