"""Yardsticks for the speed of an encoder: one core only, and a network of BERT-base's size beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from transformers import BertConfig, BertModel


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def bert_sized(tokens: int) -> Callable[[], object]:
    """One pass of an encoder of BERT-base's shape over ``tokens`` tokens; its weights are random, and cost the same."""
    model: Any = BertModel(BertConfig())
    model.eval()
    ids = torch.randint(1000, 20_000, (1, tokens))

    @torch.no_grad()
    def once() -> object:
        return model(input_ids=ids)

    return once
