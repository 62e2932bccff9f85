"""How a financial text sounds: bearish, neutral or bullish, by a fine-tuned head. It says nothing about prices."""

from __future__ import annotations

import json
import logging
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from assistant import answer
from assistant.answer import Draft
from assistant.classifier import Tuned
from retrieval.embedder import RetrievalError, SentenceEmbedder
from retrieval.encoder import CARD, load

SHIPPED = Path(__file__).parent / "heads" / "market"
TOOL = "text_tone"
ASK = "Which text shall I read? Please send the headline or sentence itself."
_CAVEAT = " This is how the words sound to a trained classifier, and not a forecast or advice."
SAID = "“{text}” sounds {label} ({percent:.0%} sure).{words}" + _CAVEAT
UNSURE = "“{text}” could sound {label} or {other}: I am only {percent:.0%} sure of {label}.{words}" + _CAVEAT
PRECISION = "0.9"  # on held-out texts, from which a label is named without its rival
MOST = 40  # words that are left out one by one to see which of them count
NAMED = 3
SHOWN = 120  # characters of the text that are repeated
LEAST = 0.1  # probability that a word must bring to be named
_QUOTED = re.compile(r"[\"“”„«](.{8,}?)[\"“”»]|(?<!\w)['‘](.{8,}?)['’](?!\w)", re.DOTALL)
_AFTER = re.compile(r":\s+(\S.{7,})$", re.DOTALL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tone:
    """A head with its temperature; thread-safe, since nothing changes."""

    head: Tuned
    heat: float
    sure_from: float = 0.7  # probability from which a label is named without its rival
    digest: str = ""  # SHA-256 of its weights

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[n, labels], calibrated."""
        return np.asarray(softmax(self.head.logits(texts) / self.heat, axis=1))


def find(embedder: SentenceEmbedder, *folders: Path) -> Tone | None:
    """The first head that is there and fits the embedding model that is loaded; one that does not fit is reported."""
    for folder in folders:
        try:
            if (folder / CARD).exists():
                card = json.loads((folder / CARD).read_text(encoding="utf-8"))
                heat, sure = float(card["temperature"]), float(card["sure_from"][PRECISION])
                return Tone(load(folder, embedder), heat, sure, str(card["weights"]))
        except (OSError, KeyError, TypeError, ValueError, RetrievalError) as error:
            _log.warning("the head in %s is not used: %s", folder, error)
    return None


def split(text: str) -> tuple[str, str]:
    """What is asked about a text, and the text: what stands in quotation marks or after a colon; "" without one."""
    found = _QUOTED.search(text) or _AFTER.search(text)
    if not found:
        return text, ""
    inner = next(group for group in found.groups() if group)
    return " ".join(f"{text[: found.start()]} {text[found.end() :]}".split()), inner.strip()


def reply(tone: Tone, text: str) -> Draft:
    """Say how ``text`` sounds, how sure that is, and which words weigh most; ask for the text where there is none."""
    if not text:
        return answer.said("clarify", "tool", ASK, tool=TOOL)
    odds = tone.probabilities([text])[0]
    first, second = (int(place) for place in np.argsort(-odds)[:2])
    labels, sure = tone.head.labels, float(odds[first])
    named = weighty(tone, text, first)
    words = f" What counts most: {', '.join(named)}." if named else ""
    said = (SAID if sure >= tone.sure_from else UNSURE).format(
        text=textwrap.shorten(text, SHOWN, placeholder=" …"),
        label=labels[first],
        other=labels[second],
        percent=sure,
        words=words,
    )
    return answer.said("answered", "tool", said, tool=TOOL)


def weighty(tone: Tone, text: str, label: int) -> tuple[str, ...]:
    """The words without which the label would be least likely, most telling first (occlusion)."""
    words = text.split()[:MOST]
    if len(words) < 2:
        return ()
    odds = tone.probabilities([text, *(" ".join(words[:at] + words[at + 1 :]) for at in range(len(words)))])[:, label]
    drops = odds[0] - odds[1:]
    order = np.argsort(-drops, kind="stable")[:NAMED]
    return tuple(words[at].strip(".,;:!?\"'()") for at in order if drops[at] >= LEAST)
