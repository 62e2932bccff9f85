"""The ways to adapt a base model that can be trained here, and which of them the engine serves."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from adapters.store import CONFIG, WEIGHTS, Adapter, AdapterError

Method = Literal["lora", "rslora", "dora"]
METHODS: tuple[Method, ...] = get_args(Method)
SERVED: tuple[Method, ...] = ("lora", "rslora")  # DoRA scales the base weights themselves: no lane can hold that


def config(method: Method, rank: int, alpha: int, targets: tuple[str, ...], layers: list[int] | None) -> LoraConfig:
    """What peft makes layers from."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets),
        layers_to_transform=layers,
        use_rslora=method == "rslora",
        use_dora=method == "dora",
        task_type="CAUSAL_LM",
    )


def choices_of(adapter: Adapter) -> dict[str, Any]:
    """Method, rank, alpha, targets and layers that an adapter was trained with, under the names of ``Recipe``.

    Raises:
        AdapterError: its config is not like one that is written here.
    """
    try:
        made = json.loads((adapter.folder / CONFIG).read_text(encoding="utf-8"))
        layers, targets = made["layers_to_transform"], made["target_modules"]
        if not isinstance(targets, list):
            raise TypeError(f"target_modules must be a list, found {targets!r:.40}")
        return {
            "method": "dora" if made["use_dora"] else "rslora" if made["use_rslora"] else "lora",
            "rank": int(made["r"]),
            "alpha": int(made["lora_alpha"]),
            "targets": tuple(sorted(targets)),
            "layers": None if layers is None else len(layers),  # the upper ones, or its tensors will not fit
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"adapter {adapter.name!r} cannot be begun with: {CONFIG}: {error!r}; "
            "expected one that 'assistant train' wrote"
        ) from error


def begin_with(model: Any, start: Adapter) -> None:
    """Fill a model's fresh adapter with the weights of another one.

    Raises:
        AdapterError: the tensors differ in name or shape, or in how they are scaled.
    """
    wanted = {name: tuple(one.shape) for name, one in get_peft_model_state_dict(model).items()}
    tensors = load_file(start.folder / WEIGHTS)
    found = {name: tuple(one.shape) for name, one in tensors.items()}
    if wanted != found:
        odd = sorted(set(wanted.items()) ^ set(found.items()))[0]
        raise AdapterError(
            f"adapter {start.name!r} {start.digest} cannot be begun with: {len(found)} tensors were found and "
            f"{len(wanted)} expected, the first that differs is {odd[0]!r} {odd[1]}; train with its method, rank, "
            "layers and targets"
        )
    made, now = choices_of(start), model.peft_config["default"]
    if (made["alpha"], made["method"] == "rslora") != (now.lora_alpha, now.use_rslora):
        raise AdapterError(
            f"adapter {start.name!r} {start.digest} cannot be begun with: it was trained by {made['method']} with "
            f"alpha {made['alpha']}, and its weights mean something else under another scale; train with that"
        )
    set_peft_model_state_dict(model, tensors)


class Dropout(nn.Module):
    """Dropout with one mask for all tokens of an example: a mask per token takes 40 % of a step on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """[rows, tokens, width]."""
        if not self.training or self.share == 0:
            return x
        keep = torch.empty(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device).bernoulli_(1 - self.share)
        dropped: Tensor = x * (keep / (1 - self.share))
        return dropped
