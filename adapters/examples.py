"""Turns chats into token ids for training, and those into batches. Trains nothing."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from networkx.utils import UnionFind
from torch import Tensor

from adapters.base import Base
from adapters.chat import Message
from adapters.recipe import TrainError

Keys = frozenset[str]  # what an example has in common with others: its question, its answer, their source
LABEL = 3  # words: an answer this short is a label or a yes, which examples may share
GROUP = 16  # batches that are sorted by length together: less padding, still shuffled


@dataclass(frozen=True, slots=True)
class Example:
    """One chat as token ids; only the answer is learned."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]  # ends with the end-of-turn token
    keys: Keys = frozenset()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded on the right, so causal attention hides the padding and no mask is needed."""

    ids: Tensor  # [n, longest]
    targets: Tensor  # [answer tokens in all]
    where: tuple[Tensor, Tensor]  # row and position whose hidden state predicts each target
    references: Tensor | None = None  # [pairs] for preferences: log-odds before the training


def encode(
    base: Base, chats: Sequence[Sequence[Message]], longest: int, keys: Sequence[Keys] | None = None
) -> list[Example]:
    """Those of the chats that end with the assistant and have at most ``longest`` tokens; ``keys``: a set for each."""
    examples = []
    for chat, shared in zip(chats, keys or map(keys_of, chats), strict=True):
        if not chat or chat[-1].role != "assistant":
            continue
        example = Example(tuple(base.prompt(chat[:-1])), tuple(base.answer(chat[-1].content)), shared)
        if len(example) <= longest:
            examples.append(example)
    return examples


def keys_of(chat: Sequence[Message]) -> Keys:
    """Its questions and answers that are more than a label, and the chat itself."""
    said = (" ".join(message.content.split()) for message in chat if message.role != "system")
    return frozenset([digest([chat]), *(text for text in said if text.count(" ") >= LABEL)])


def digest(chats: Sequence[Sequence[Message]]) -> str:
    """SHA-256 over the chats as canonical JSON lines."""
    total = hashlib.sha256()
    for chat in chats:
        line = [[message.role, message.content] for message in chat]
        total.update(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return total.hexdigest()


def split(examples: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """Training and validation examples; the same seed gives the same split.

    Examples with a key in common, be it by way of others, are on the same side: what is held out was not taught in
    other words. A key of more than half of the examples is an instruction or a refusal, and binds none.

    Raises:
        TrainError: all examples hang together, so that none can be held out.
    """
    groups = _bound([example.keys for example in examples])
    if len(groups) < 2:
        raise TrainError(
            f"all {len(examples)} examples share questions or answers with each other, so that none can be held out; "
            "add examples on something else"
        )
    random.Random(seed).shuffle(groups)  # noqa: S311 - a split, no secret
    wanted = max(1, round(share * len(examples)))
    held_out: set[int] = set()
    for group in groups:
        if len(held_out) + len(group) <= wanted:
            held_out.update(group)
    smallest: list[int] = min(groups, key=len)
    held_out = held_out or set(smallest)
    sides: tuple[list[Any], list[Any]] = [], []
    for place, example in enumerate(examples):
        sides[place in held_out].append(example)
    return sides


def _bound(keys: Sequence[Keys]) -> list[list[int]]:
    """Places of the key sets that hang together."""
    counts = Counter(key for shared in keys for key in shared)
    groups, first = UnionFind(range(len(keys))), dict[str, int]()
    for place, shared in enumerate(keys):
        for key in shared:
            if 2 * counts[key] <= len(keys):
                groups.union(first.setdefault(key, place), place)
    return sorted(sorted(group) for group in groups.to_sets())  # a set's order differs from process to process


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
