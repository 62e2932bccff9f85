"""Puts LoRA layers into the base model, takes them out, and says which of them speak. Merges nothing."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from adapters.base import Base
from adapters.store import CONFIG, WEIGHTS, Adapter, AdapterError, digest_of

# what is kept from adapter_config.json; whatever else changes the result must be at its default
_KEPT = (
    "r",
    "lora_alpha",
    "target_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
)
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_dropout",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
}


@dataclass(slots=True)
class Lora:
    """The LoRA layers of one base model."""

    base: Base
    _layers: list[Any] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _active: str | None = None

    def insert(self, adapter: Adapter) -> None:
        """Load an adapter beside the others, silent until used.

        Raises:
            AdapterError: changed since it was verified, no plain LoRA, or its tensors do not fit the base's layers.
        """
        config, tensors = _open(adapter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters: on purpose
            try:
                inject_adapter_in_model(config, self.base.model, adapter.digest)
                self._names.add(adapter.digest)
                self._find_layers()
                result: Any = set_peft_model_state_dict(self.base.model, tensors, adapter.digest)
            except (ValueError, RuntimeError, KeyError) as error:
                self.remove(adapter.digest)
                raise AdapterError(f"adapter {adapter.name!r} does not fit the base model: {error}") from error
        missing = [key for key in result.missing_keys if f".{adapter.digest}." in key]
        self._settle(adapter.digest)
        if strangers := [*result.unexpected_keys, *missing]:
            self.remove(adapter.digest)
            raise AdapterError(
                f"adapter {adapter.name!r}: {len(strangers)} tensors have no counterpart, the first {strangers[0]!r}; "
                f"its {CONFIG} and {WEIGHTS} belong to different models: train it again"
            )

    def remove(self, digest: str) -> None:
        """Take an adapter out. peft would wake up another one in its place, so all are silenced first."""
        self.use(None)
        for layer in self._layers:
            if digest in layer.lora_A:
                layer.delete_adapter(digest)
        self._names.discard(digest)
        self.base.model.peft_config.pop(digest, None)

    def use(self, digest: str | None) -> None:
        """Let one adapter speak, or the bare base.

        peft's own ``set_adapter`` takes 4 ms over 210 layers, turning adapters off and on 8 ms, a decode step about 37;
        this takes 0.01 ms. It sets what ``set_adapter`` sets, past ``nn.Module.__setattr__`` and without touching
        ``requires_grad``, which nobody asks for here. No active adapter means that a layer is its base layer.
        """
        if digest == self._active:
            return
        active = [] if digest is None else [digest]
        for layer in self._layers:
            layer.__dict__["_active_adapter"] = active
        self._active = digest

    def _find_layers(self) -> None:
        self._layers = [module for module in self.base.model.modules() if isinstance(module, LoraLayer)]
        self._active = "unknown"  # peft has just set its own
        self.use(None)

    def _settle(self, digest: str) -> None:
        """The base's number type, so that no step casts, and no gradients."""
        for layer in self._layers:
            for part in (layer.lora_A, layer.lora_B):
                if digest in part:
                    part[digest].to(self.base.model.dtype).requires_grad_(False)
            if digest in layer.lora_dropout:
                layer.lora_dropout[digest] = nn.Identity()


def _open(adapter: Adapter) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """Config and tensors, from the very bytes whose digest is checked again here."""
    if (found := digest_of(adapter.folder)) != adapter.digest:
        raise AdapterError(
            f"adapter {adapter.name!r} has digest {found} now, it was {adapter.digest} when it was verified; "
            "somebody changes it while it is loaded: copy it again"
        )
    try:
        content = json.loads((adapter.folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_tensors((adapter.folder / WEIGHTS).read_bytes())
        if content.get("peft_type") != "LORA":
            raise AdapterError(f"adapter {adapter.name!r} is of type {content.get('peft_type')!r}, expected 'LORA'")
        plain = LoraConfig(**{key: content[key] for key in _KEPT if key in content})
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise AdapterError(f"adapter {adapter.name!r}: {CONFIG} or {WEIGHTS} cannot be read: {error}") from error
    defaults = vars(plain)
    for key, value in content.items():
        if key not in _KEPT and key not in _HARMLESS and value and value != defaults.get(key):
            raise AdapterError(
                f"adapter {adapter.name!r}: {CONFIG} sets {key!r} to {value!r}; only plain LoRA is served, unset it"
            )
    return plain, tensors
