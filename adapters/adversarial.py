"""Adversarial training on the embeddings (fast gradient method): learn the same answer from a slightly worse input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def watched(embedding: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the embedded inputs of each pass through the model, with their gradients."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, out: Tensor) -> Tensor:
        leaf = out.detach().requires_grad_()
        kept.append(leaf)
        return leaf

    handle = embedding.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def pushed(embedding: nn.Module, push: Tensor) -> Iterator[None]:
    """Add a push to the embedded inputs."""
    handle = embedding.register_forward_hook(lambda _, __, out: out + push.to(out.dtype))
    try:
        yield
    finally:
        handle.remove()


def learn_twice(embedding: nn.Module, norm: float, loss: Callable[[], Tensor]) -> float:
    """Backward of the loss, and of the loss where each input was pushed by ``norm`` to where it grows fastest.

    Returns:
        the loss of the input as it is.
    """
    with watched(embedding) as inputs:
        plain = loss()
        torch.autograd.backward(plain)
    gradient = inputs[-1].grad
    if gradient is not None:
        size = gradient.float().flatten(1).norm(dim=1).clamp_min(1e-12)
        push = norm * gradient.float() / size[:, None, None]
        with pushed(embedding, push):
            torch.autograd.backward(loss())
    return float(plain.detach())
