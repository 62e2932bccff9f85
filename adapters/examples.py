"""Turns chats into token ids for training, and those into batches. Trains nothing."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adapters.base import Base
from adapters.chat import Message

GROUP = 16  # batches that are sorted by length together: less padding, still shuffled


@dataclass(frozen=True, slots=True)
class Example:
    """One chat as token ids; only the answer is learned."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]  # ends with the end-of-turn token

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded on the right, so causal attention hides the padding and no mask is needed."""

    ids: Tensor  # [n, longest]
    targets: Tensor  # [answer tokens in all]
    where: tuple[Tensor, Tensor]  # row and position whose hidden state predicts each target
    references: Tensor | None = None  # [pairs] for preferences: log-odds before the training


def encode(base: Base, chats: Sequence[Sequence[Message]], longest: int) -> list[Example]:
    """Those of the chats that end with the assistant and have at most ``longest`` tokens."""
    examples = []
    for chat in chats:
        if not chat or chat[-1].role != "assistant":
            continue
        example = Example(tuple(base.prompt(chat[:-1])), tuple(base.answer(chat[-1].content)))
        if len(example) <= longest:
            examples.append(example)
    return examples


def digest(chats: Sequence[Sequence[Message]]) -> str:
    """SHA-256 over the chats as canonical JSON lines."""
    total = hashlib.sha256()
    for chat in chats:
        line = [[message.role, message.content] for message in chat]
        total.update(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return total.hexdigest()


def split(examples: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """Training and validation examples; the same seed gives the same split."""
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a split, no secret
    held_out = max(1, round(share * len(shuffled)))
    return shuffled[held_out:], shuffled[:held_out]


def batches(examples: Sequence[Example], size: int, seed: int, pad: int, device: torch.device) -> list[Batch]:
    """All examples once, in random order, those of like length together."""
    chance = random.Random(seed)  # noqa: S311 - an order, no secret
    order = list(examples)
    chance.shuffle(order)
    cut: list[list[Example]] = []
    for start in range(0, len(order), size * GROUP):
        near = sorted(order[start : start + size * GROUP], key=len)
        cut += [near[i : i + size] for i in range(0, len(near), size)]
    chance.shuffle(cut)
    return [batch(rows, pad, device) for rows in cut]


def batch(rows: Sequence[Example], pad: int, device: torch.device) -> Batch:
    """The examples as one batch, in their order."""
    longest = max(len(row) for row in rows)
    padded = [[*row.prompt, *row.answer] + [pad] * (longest - len(row)) for row in rows]
    number = [n for n, row in enumerate(rows) for _ in row.answer]
    position = [len(row.prompt) - 1 + i for row in rows for i in range(len(row.answer))]
    return Batch(
        ids=torch.tensor(padded, device=device),
        targets=torch.tensor([token for row in rows for token in row.answer], device=device),
        where=(torch.tensor(number, device=device), torch.tensor(position, device=device)),
    )
