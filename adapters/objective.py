"""What a training wants: to say what was said (supervised), or to prefer one answer over another (DPO)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from adapters import examples as data

Logits = Callable[[data.Batch], Tensor]  # fp32 [answer tokens, vocabulary]
Metrics = dict[str, float]


class Objective(Protocol):
    """A loss over examples, and what is measured on those held out. Losses are sums over ``units``."""

    def prepare(self, rows: Sequence[Any], pad: int, device: torch.device, logits: Logits) -> list[Any]:
        """The examples with what must be known before anything is learned."""
        ...

    def batches(self, rows: Sequence[Any], size: int, seed: int, pad: int, device: torch.device) -> list[data.Batch]:
        """All examples once, in the order of the seed."""
        ...

    def units(self, batch: data.Batch) -> int:
        """What the loss is divided by."""
        ...

    def loss(self, logits: Tensor, batch: data.Batch) -> Tensor:
        """Summed over units."""
        ...

    def measure(self, logits: Tensor, batch: data.Batch) -> Metrics:
        """Sums over units; ``validation_loss`` among them."""
        ...


@dataclass(frozen=True, slots=True)
class Imitate:
    """Cross-entropy on the answers' tokens."""

    smoothing: float = 0.0

    def prepare(
        self,
        rows: Sequence[Any],
        pad: int,  # noqa: ARG002 - the Protocol's
        device: torch.device,  # noqa: ARG002
        logits: Logits,  # noqa: ARG002
    ) -> list[Any]:
        """Nothing need be known."""
        return list(rows)

    def batches(self, rows: Sequence[Any], size: int, seed: int, pad: int, device: torch.device) -> list[data.Batch]:
        """Those of like length together."""
        return data.batches(rows, size, seed, pad, device)

    def units(self, batch: data.Batch) -> int:
        """Answer tokens."""
        return len(batch.targets)

    def loss(self, logits: Tensor, batch: data.Batch) -> Tensor:
        """With smoothed targets."""
        return functional.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=self.smoothing)

    def measure(self, logits: Tensor, batch: data.Batch) -> Metrics:
        """Loss, and tokens predicted exactly."""
        loss = functional.cross_entropy(logits, batch.targets, reduction="sum")
        return {
            "validation_loss": float(loss),
            "token_accuracy": float((logits.argmax(-1) == batch.targets).sum()),
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a better and a worse answer."""

    chosen: data.Example
    rejected: data.Example
    reference: float = 0.0  # log-odds of chosen over rejected before the training

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def keys(self) -> data.Keys:
        """Those of the better answer: many pairs may have the same worse one."""
        return self.chosen.keys


@dataclass(frozen=True, slots=True)
class Prefer:
    """Direct preference optimisation: raise the better answer's odds over what they were (Rafailov et al. 2023)."""

    beta: float = 0.1  # how dearly a step away from the beginning is paid for

    def prepare(self, rows: Sequence[Any], pad: int, device: torch.device, logits: Logits) -> list[Any]:
        """Pairs with the odds that the model gives them before it learns."""
        found = []
        for row in rows:
            batch = data.batch([row.chosen, row.rejected], pad, device)
            with torch.no_grad():
                found.append(replace(row, reference=float(_margins(logits(batch), batch)[0])))
        return found

    def batches(self, rows: Sequence[Any], size: int, seed: int, pad: int, device: torch.device) -> list[data.Batch]:
        """Better and worse answer beside each other."""
        order = list(rows)
        random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
        cut = [order[start : start + size] for start in range(0, len(order), size)]
        made = []
        for pairs in cut:
            batch = data.batch([one for pair in pairs for one in (pair.chosen, pair.rejected)], pad, device)
            references = torch.tensor([pair.reference for pair in pairs], device=device)
            made.append(replace(batch, references=references))
        return made

    def units(self, batch: data.Batch) -> int:
        """Pairs."""
        return len(batch.ids) // 2

    def loss(self, logits: Tensor, batch: data.Batch) -> Tensor:
        """Summed over pairs."""
        return -functional.logsigmoid(self.beta * self._gain(logits, batch)).sum()

    def measure(self, logits: Tensor, batch: data.Batch) -> Metrics:
        """Loss; pairs whose better answer is likelier; pairs for which it gained."""
        margins = _margins(logits, batch)
        return {
            "validation_loss": float(self.loss(logits, batch)),
            "preferred": float((margins > 0).sum()),
            "gained": float((self._gain(logits, batch) > 0).sum()),
        }

    def _gain(self, logits: Tensor, batch: data.Batch) -> Tensor:
        margins = _margins(logits, batch)
        return margins if batch.references is None else margins - batch.references


def _margins(logits: Tensor, batch: data.Batch) -> Tensor:
    """Log-probability of each better answer less that of the worse one, [pairs]."""
    each = -functional.cross_entropy(logits, batch.targets, reduction="none")
    whole = torch.zeros(len(batch.ids), device=each.device).index_add(0, batch.where[0], each)
    return whole[0::2] - whole[1::2]
