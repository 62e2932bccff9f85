"""Keeps a training's state in one safetensors file, so that a kill costs one epoch at most. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Groups = dict[str, dict[str, Tensor]]


def save(path: Path, note: dict[str, Any], groups: Groups) -> None:
    """Write note and tensors as one file, replaced in one step: a kill leaves the old one or the new one."""
    flat = {f"{group}/{name}": value.contiguous() for group, held in groups.items() for name, value in held.items()}
    aside = path.with_name(path.name + ".new")
    save_file(flat, aside, metadata={"note": json.dumps(note)})
    aside.replace(path)


def load(path: Path) -> tuple[dict[str, Any], Groups] | None:
    """What was saved, or None if there is nothing or it cannot be read: then the training starts afresh."""
    if not path.exists():
        return None
    groups: Groups = {}
    try:
        with safe_open(path, framework="pt") as file:
            note: dict[str, Any] = json.loads((file.metadata() or {})["note"])
            for key in file.keys():  # noqa: SIM118 - no mapping, whatever it looks like
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return note, groups
