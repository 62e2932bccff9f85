"""The real base model, and small adapters made for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from adapters.base import Base, load
from adapters.passport import Passport, write
from adapters.store import Adapter, digest_of, verify
from assistant import models

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


def passport_of(folder: Path, base: Base) -> Passport:
    """True papers for whatever lies in the folder."""
    return Passport(
        weights=digest_of(folder),
        base=base.digest,
        template=base.template_digest,
        data="0" * 64,
        counts={"train": 1},
        recipe={},
        seed=0,
        rank=4,
        targets=("q_proj", "down_proj"),
        before={},
        after={},
        created="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture(scope="session")
def tiny(base: Base) -> Base:
    """A random model of two small layers with the real tokenizer: a step takes about a millisecond."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(base.tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, initializer_range=0.1,
        pad_token_id=2, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).requires_grad_(False).train(False)
    return Base(model, base.tokenizer, "c" * 64, base.template_digest, base.folder)


@pytest.fixture(scope="session")
def tiny_adapters(tiny: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    """Five adapters for the tiny model, of different ranks, layers and targets."""
    folder = tmp_path_factory.mktemp("tiny")
    targets = [
        ("q_proj", "down_proj"),
        ("k_proj", "v_proj", "up_proj"),
        ("o_proj", "gate_proj"),
        ("q_proj",),
        ("v_proj",),
    ]
    made = []
    for number, names in enumerate(targets):
        torch.manual_seed(number)
        layers, rank, tensors = ([0, 1], [1])[number % 2], 2 + number, {}
        for name, module in tiny.model.named_modules():
            if name.endswith(names) and any(f"layers.{layer}." in name for layer in layers):
                wide, narrow = module.weight.shape[1], module.weight.shape[0]
                tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, wide) * 0.3
                tensors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(narrow, rank) * 0.3
        home = folder / str(number)
        home.mkdir()
        save_file(tensors, home / "adapter_model.safetensors")
        LoraConfig(r=rank, lora_alpha=8, target_modules=list(names), layers_to_transform=layers).save_pretrained(
            str(home)
        )
        write(home, passport_of(home, tiny))
        made.append(verify(home, tiny))
    return made


@pytest.fixture
def adapter(base: Base, make_adapter: MakeAdapter, tmp_path: Path) -> Adapter:
    return verify(make_adapter(tmp_path / "one"), base)
