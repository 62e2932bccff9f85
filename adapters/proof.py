"""What an adapter must prove before it speaks: that it has an effect, and that it leaves all others alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.base import Base
from adapters.chat import Message
from adapters.decoder import Decoder, Piece
from adapters.store import Adapter, AdapterError

PROBES = ("What can you help me with?", "Answer from the passage only. Passage: the fee is 12 EUR. What is the fee?")
STEPS = 3  # prompt and two single tokens: both shapes of a step
EFFECT = 0.01  # least change of a logit on the probes; an adapter without effect changes none by any amount
# Largest change of a logit between alone and in a mixed batch: products of other sizes round differently. Measured:
# 5e-5 in fp32; 0 in bf16 at these sizes, .4 between other sizes. A shipped adapter moves the probes' logits by 6 to 7
ISOLATION = {torch.float32: 2e-3, torch.bfloat16: 1.0}

Steps = Generator[None, None, list["Trace"]]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks in a trial: the base, or an adapter through its lane."""

    digest: str | None
    lane: int | None
    row: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What a speaker said to the probes."""

    logits: list[Tensor]  # fp32 [vocabulary], by probe and step
    tokens: list[int]  # that were fed after each


def speak(decoder: Decoder, base: Base, speakers: Sequence[Speaker], follow: Sequence[Trace] | None = None) -> Steps:
    """Let speakers answer the probes in one batch, a step at each yield.

    Args:
        decoder: what computes.
        base: what the probes are encoded for.
        speakers: who answers.
        follow: for each, whose tokens to feed instead of the likeliest: so that a near-tie cannot part the ways.
    """
    found = [Trace([], []) for _ in speakers]
    for probe in PROBES:
        prompt = base.prompt([Message("user", probe)])
        fed, start = [prompt for _ in speakers], 0
        for _ in range(STEPS):
            pieces = [Piece(tokens, one.row, start, one.lane) for one, tokens in zip(speakers, fed, strict=True)]
            start += len(fed[0])
            fed = []
            for number, logits in enumerate(decoder.step(pieces)):
                place = len(found[number].logits)
                token = follow[number].tokens[place] if follow else int(logits[-1].argmax())
                found[number].logits.append(logits[-1])
                found[number].tokens.append(token)
                fed.append([token])
            yield
    return found


def effect(adapter: Adapter, base: Trace, adapted: Trace) -> None:
    """Raises AdapterError unless the adapter moves the logits, to finite numbers."""
    if not all(bool(logits.isfinite().all()) for logits in adapted.logits):
        raise AdapterError(f"adapter {adapter.name!r} gives logits that are not finite; train it again, slower")
    first = range(0, len(base.logits), STEPS)  # later steps may follow different tokens
    moved = max(float((base.logits[i] - adapted.logits[i]).abs().max()) for i in first)
    if moved <= EFFECT:
        raise AdapterError(
            f"adapter {adapter.name!r} moves the logits by {moved:.2g}, expected more than {EFFECT:g}: "
            "it has no effect on this base model; train it again"
        )


def isolation(
    adapter: Adapter, speakers: Sequence[Speaker], alone: Sequence[Trace], mixed: Sequence[Trace], allowed: float
) -> None:
    """Raises AdapterError unless every speaker of a mixed batch says what it said alone, give or take ``allowed``."""
    for speaker, before, now in zip(speakers, alone, mixed, strict=True):
        moved = max(float((a - b).abs().max()) for a, b in zip(before.logits, now.logits, strict=True))
        if not moved <= allowed:
            who = "the base model" if speaker.digest is None else f"adapter {speaker.digest[:16]}"
            raise AdapterError(
                f"with adapter {adapter.name!r} loaded, {who} answers differently than before: its logits move by "
                f"{moved:.2g} in a mixed batch, at most {allowed:g} is rounding; it is not loaded, the others are as "
                "they were: train it again with plain LoRA"
            )
