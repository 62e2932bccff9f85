"""Keys and values of the requests that speak now, and of prefixes that many requests share. Computes nothing."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

PrefixKey = tuple[str | None, tuple[int, ...]]  # adapter digest (never a name), tokens


class Cache:
    """A row per request, allocated once. The operating system gives a row its memory when it is first written."""

    def __init__(
        self, layers: int, rows: int, context: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.context = context
        # zeros: what is masked away is still multiplied by 0, and must be finite
        self._held = [tuple(_zeros((rows, context, width), dtype, device) for _ in "kv") for _ in range(layers)]

    def layer(self, number: int) -> tuple[Tensor, ...]:
        """Keys and values of a layer, [rows, context, width] each."""
        return self._held[number]

    def places(self, rows: Sequence[int], positions: Tensor) -> Tensor:
        """Where tokens lie when rows are laid end to end."""
        return torch.tensor(rows, device=positions.device) * self.context + positions

    def write(self, number: int, where: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values, [tokens, width] each, at ``places``."""
        for held, new in zip(self._held[number], (keys, values), strict=True):
            held.flatten(0, 1).index_copy_(0, where, new)

    def save(self, row: int, length: int) -> Tensor:
        """A copy of a row's beginning, [layers, 2, length, width]."""
        return torch.stack([torch.stack([one[row, :length] for one in pair]) for pair in self._held])

    def restore(self, row: int, saved: Tensor) -> None:
        """Put a saved beginning into a row."""
        for pair, kept in zip(self._held, saved, strict=True):
            for one, part in zip(pair, kept, strict=True):
                one[row, : len(part)] = part

    def clear(self, row: int) -> None:
        """Overwrite a row whose numbers are not finite; ordinary leftovers are masked and stay."""
        for pair in self._held:
            for one in pair:
                one[row].zero_()


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take no memory before they are written: torch writes them at once, numpy asks the system for them."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


class Prefixes:
    """Beginnings of prompts, computed once for each adapter; the least used go when the memory is full."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes that may be held."""
        self.limit, self.bytes, self.hits, self.misses = limit, 0, 0, 0
        self._held: OrderedDict[PrefixKey, Tensor] = OrderedDict()

    def get(self, key: PrefixKey) -> Tensor | None:
        """What ``Cache.save`` gave for this very beginning, or None."""
        found = self._held.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._held.move_to_end(key)
        return found

    def has(self, key: PrefixKey) -> bool:
        """Whether a beginning is held; counts as no use."""
        return key in self._held

    def put(self, key: PrefixKey, saved: Tensor) -> None:
        """Keep a beginning, unless it alone is larger than all the memory."""
        if key in self._held or saved.nbytes > self.limit:
            return
        self._held[key] = saved
        self.bytes += saved.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._held.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self.bytes = 0

    def forget(self, adapter: str) -> None:
        """Drop everything that an adapter computed."""
        for key in [key for key in self._held if key[0] == adapter]:
            self.bytes -= self._held.pop(key).nbytes
