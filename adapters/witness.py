"""What an adapter must be heard to say on another machine: computed here from its own bytes, and held against it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import PeftModel

from adapters.base import Base
from adapters.chat import Message
from adapters.proof import PROBES
from adapters.store import AdapterError
from adapters.wire import Said

TRIALS = (
    (Message("user", PROBES[0]),),
    (Message("system", "Use only the passage. Be brief."), Message("user", PROBES[1])),
)
WORDS = 4  # of each answer
KEPT = 500  # likeliest words at each place whose odds are remembered; all others have at most the last one's
# Mean difference of log-probabilities, over the words that the server finds likeliest. Measured: .07 between fp32 and
# bf16 of one speaker, .1 at most between two engines; .44 at least between two of the shipped adapters
SAME = 0.25
BASE = "the base model"  # its name beside those of adapters
Testimony = tuple[Said, ...]  # by trial


def testify(base: Base, folder: Path | None) -> Testimony:
    """What transformers and peft compute for the base, or for the adapter in ``folder``."""
    with _speaking(base, folder) as model:
        return tuple(_answer(base, model, trial) for trial in TRIALS)


def distance(heard: Testimony, expected: Testimony) -> float:
    """Between what a server says and what was expected, while both say the same words; 0 is the same."""
    places = [
        fmean(abs(logprob - there.get(word, min(there.values()))) for word, logprob in here.items())
        for one, other in zip(heard, expected, strict=True)
        for here, there in _comparable(one, other)
    ]
    return fmean(places) if places else math.inf


def judge(who: str, heard: Testimony, own: Testimony, others: Mapping[str, Testimony]) -> None:
    """Raise AdapterError unless what was heard is what ``who`` says, and clearly not what somebody else says.

    Two adapters that differ by less than ``SAME`` may pass for each other; neither passes for the base model.

    Args:
        who: for the message.
        heard: from the server.
        own: what it should be.
        others: who else it could be, by name.
    """
    found = distance(heard, own)
    apart = {name: distance(heard, one) for name, one in others.items()} or {"anybody else": math.inf}
    name, nearest = min(apart.items(), key=lambda pair: pair[1])
    if found <= SAME and found < 2 * nearest and 2 * found < apart.get(BASE, math.inf):
        return
    what = "as nobody known: it has other weights, applies them otherwise, or has another chat template"
    if nearest < found and nearest <= SAME:
        what = f"as {name} does"
    elif found <= SAME:
        what = f"so that it cannot be told from {BASE}"
    raise AdapterError(
        f"asked for {who}, the server answers the probes {what}; its log-probabilities are off by {found:.3f} from "
        f"what was computed here (at most {SAME:g}), and by {nearest:.3f} from {name}; nobody is served by it"
    )


def _comparable(one: Said, other: Said) -> Iterator[tuple[Mapping[str, float], Mapping[str, float]]]:
    """The places up to which both said the same words, and the next."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one.words, other.words, strict=False)))
    return zip(one.odds[: same + 1], other.odds, strict=False)


@contextmanager
def _speaking(base: Base, folder: Path | None) -> Iterator[Any]:
    if folder is None:
        yield base.model
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(base.model, str(folder))
    try:
        yield model.train(False)
    finally:
        model.unload()


@torch.inference_mode()
def _answer(base: Base, model: Any, trial: Sequence[Message]) -> Said:
    ids, words, odds = base.prompt(trial), [], []
    for _ in range(WORDS):
        logits = model(input_ids=torch.tensor([ids], device=base.model.device)).logits[0, -1].float()
        found = logits.log_softmax(-1).topk(KEPT)
        texts = [str(base.tokenizer.decode([int(token)])) for token in found.indices]
        likely: dict[str, float] = {}
        for text, logprob in zip(texts, found.values.tolist(), strict=True):
            likely.setdefault(text, logprob)  # of several tokens that read alike, the likeliest
        words.append(texts[0])
        odds.append(likely)
        ids = [*ids, int(found.indices[0])]
        if int(found.indices[0]) in base.eos:
            break
    return Said(tuple(words), tuple(odds))
