"""Reads a PEFT folder into the joined weights that the decoder's lanes hold. Refuses whatever is not plain LoRA."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from adapters.base import Base
from adapters.decoder import GROUPS, Weights
from adapters.stack import Pair
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
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True, slots=True)
class _Target:
    """One linear layer that an adapter changes."""

    name: str
    shape: tuple[int, int]  # of the base layer: out, in
    rank: int
    scale: float


def weights_of(adapter: Adapter, base: Base, rank: int) -> Weights:
    """An adapter's weights, joined by group and scaled, in the number type of the base.

    Args:
        adapter: whose files are read.
        base: what it changes.
        rank: the largest that is let pass.

    Raises:
        AdapterError: changed since it was verified, no plain LoRA, not finite, of too large a rank, or made for other
            layers.
    """
    config, tensors = _open(adapter)
    found = {(match["module"], match["side"]): one for key, one in tensors.items() if (match := _KEY.fullmatch(key))}
    targets = {target.name: target for target in _targets(config, base.model)}
    wanted = {(name, side) for name in targets for side in "AB"}
    served = {name for members in _members(base).values() for name, _ in members}
    strangers = sorted({name for name in targets if name not in served} | {n for n, _ in wanted ^ found.keys()})
    strangers += sorted(key for key in tensors if not _KEY.fullmatch(key))
    if strangers or not targets:
        raise AdapterError(
            f"adapter {adapter.name!r}: {len(strangers)} tensors have no counterpart, the first "
            f"{strangers[0] if strangers else 'all'!r}; its {CONFIG} and {WEIGHTS} must name the same linear layers of "
            "this base model: train it again"
        )
    widest = max(targets.values(), key=lambda target: target.rank)
    if widest.rank > rank:
        raise AdapterError(
            f"adapter {adapter.name!r} has rank {widest.rank} at {widest.name}, at most {rank} is served: all that "
            "speak would be computed as wide as the widest; train it with a lower rank, or raise ASSISTANT_ADAPTER_RANK"
        )
    for target in targets.values():
        _check(adapter, target, found[target.name, "A"], found[target.name, "B"])
    return {
        place: _join([targets.get(name) for name, _ in members], [out for _, out in members], found, base)
        for place, members in _members(base).items()
        if any(name in targets for name, _ in members)
    }


def _members(base: Base) -> dict[tuple[int, str], list[tuple[str, int]]]:
    """Names and widths of the layers in each group."""
    model: Any = base.model
    return {
        (number, group): [
            (f"model.layers.{number}.{at}.{name}", getattr(getattr(layer, at), name).out_features) for name in names
        ]
        for number, layer in enumerate(model.model.layers)
        for group, (at, names) in GROUPS.items()
    }


def _targets(config: LoraConfig, model: nn.Module) -> Iterator[_Target]:
    everything = config.target_modules == "all-linear"
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or (everything and name.endswith("lm_head")):
            continue
        if everything or check_target_module_exists(config, name):
            rank = _pattern(config.rank_pattern, name, config.r)
            alpha = _pattern(config.alpha_pattern, name, config.lora_alpha)
            scale = alpha / (rank**0.5 if config.use_rslora else rank)
            yield _Target(name, (module.out_features, module.in_features), int(rank), scale)


def _pattern(patterns: dict[str, Any] | None, name: str, otherwise: float) -> float:
    patterns = patterns or {}
    return float(patterns.get(get_pattern_key(list(patterns), name), otherwise))


def _check(adapter: Adapter, target: _Target, down: Tensor, up: Tensor) -> None:
    expected = ((target.rank, target.shape[1]), (target.shape[0], target.rank))
    if (tuple(down.shape), tuple(up.shape)) != expected:
        raise AdapterError(
            f"adapter {adapter.name!r} does not fit the base model: {target.name} has tensors of shape "
            f"{tuple(down.shape)} and {tuple(up.shape)}, expected {expected[0]} and {expected[1]}; train it again"
        )
    if not bool(down.isfinite().all() and up.isfinite().all()):
        raise AdapterError(f"adapter {adapter.name!r}: {target.name} holds numbers that are not finite; train it again")


def _join(targets: list[_Target | None], outs: list[int], found: dict[tuple[str, str], Tensor], base: Base) -> Pair:
    downs, ups, start = [], [], 0
    for target, out in zip(targets, outs, strict=True):
        if target is not None:
            up = torch.zeros(target.rank, sum(outs))
            up[:, start : start + out] = found[target.name, "B"].float().T * target.scale
            downs.append(found[target.name, "A"])
            ups.append(up)
        start += out
    kind, where = base.model.dtype, base.model.device
    return Pair(torch.cat(downs).to(where, kind), torch.cat(ups).to(where, kind))


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
