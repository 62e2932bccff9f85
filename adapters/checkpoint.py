"""Keeps where a training stands in one safetensors file, so that a kill costs minutes at most. No pickle."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adapters.recipe import TrainError

Groups = dict[str, dict[str, Tensor]]


@dataclass(slots=True)
class State:
    """Where a training stands."""

    epoch: int = 0  # done
    position: int = 0  # steps done in the epoch that is not
    step: int = 0  # steps done in all
    seconds: float = 0.0
    best: float = math.inf  # validation loss
    improved: int = 0  # epochs begun when the best was found
    training: list[tuple[float, float]] = field(default_factory=list)  # step, loss
    validation: list[tuple[float, float]] = field(default_factory=list)


def save(path: Path, state: State, of: dict[str, Any], groups: Groups) -> None:
    """Write state and tensors as one file, replaced in one step: a kill leaves the old one or the new one.

    Args:
        path: the file.
        state: where the training stands.
        of: what the steps made so far depend on, as JSON has it.
        groups: tensors by group and name.
    """
    flat = {f"{group}/{name}": value.contiguous() for group, held in groups.items() for name, value in held.items()}
    aside = path.with_name(path.name + ".new")
    save_file(flat, aside, metadata={"note": json.dumps({"state": asdict(state), "of": of})})
    aside.replace(path)


def load(path: Path, of: dict[str, Any]) -> tuple[State, Groups] | None:
    """What was saved, or None if there is nothing or it cannot be read: then the training starts afresh.

    Raises:
        TrainError: it is of another training; says what differs.
    """
    if not path.exists():
        return None
    groups: Groups = {}
    try:
        with safe_open(path, framework="pt") as file:
            note: dict[str, Any] = json.loads((file.metadata() or {})["note"])
            found: dict[str, Any] = note["of"]
            for key in file.keys():  # noqa: SIM118 - no mapping, whatever it looks like
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    if odd := [key for key in sorted(found.keys() | of.keys()) if found.get(key) != of.get(key)]:
        said = ", ".join(f"{key} {found.get(key)!r:.24} there and {of.get(key)!r:.24} here" for key in odd[:3])
        raise TrainError(
            f"{path.parent} holds the checkpoint of another training: {said}; choose another folder, or go on with "
            f"what it was begun with, or delete {path.name} there"
        )
    return State(**note["state"]), groups
