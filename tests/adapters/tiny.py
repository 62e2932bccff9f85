"""A random model of two small layers with the real tokenizer, and adapters for it: a step takes about a millisecond."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from adapters.base import Base
from adapters.passport import Passport, write
from adapters.store import Adapter, digest_of, verify

TARGETS = [("q_proj", "down_proj"), ("k_proj", "v_proj", "up_proj"), ("o_proj", "gate_proj"), ("q_proj",), ("v_proj",)]


def tiny_base(real: Base) -> Base:
    """It falls into loops soon, so that drafts are right now and then."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(real.tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, initializer_range=0.1,
        pad_token_id=2, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).requires_grad_(False).train(False)
    return Base(model, real.tokenizer, "c" * 64, real.template_digest, real.folder)


def tiny_adapter(tiny: Base, folder: Path, number: int) -> Adapter:
    """Rank, layers and targets follow from the number."""
    torch.manual_seed(number)
    names, layers, rank = TARGETS[number], ([0, 1], [1])[number % 2], 2 + number
    tensors = {}
    for name, module in tiny.model.named_modules():
        if (
            isinstance(module, nn.Linear)
            and name.endswith(names)
            and any(f"layers.{layer}." in name for layer in layers)
        ):
            tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, module.in_features) * 0.3
            tensors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(module.out_features, rank) * 0.3
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = LoraConfig(r=rank, lora_alpha=8, target_modules=list(names), layers_to_transform=layers)
    config.save_pretrained(str(folder))
    write(folder, passport_of(folder, tiny))
    return verify(folder, tiny)


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
