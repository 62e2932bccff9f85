"""A question as filters and search see it: normalised, undisguised, embedded once, weighed by the detectors."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant import deadline, disguise
from assistant.detectors import Detectors, Signals
from assistant.reader import follows_up
from assistant.record import LONGEST
from assistant.words import normalise
from domains.api import Exchange
from retrieval.embedder import Embedder, Vectors

LONG = 70  # words from which a text is also weighed in pieces; the guard reads 96 tokens
WINDOW = 30  # words of a piece; among 60 a cry for help is still lost
STEP = 20  # … from the begin of one to that of the next: what one cuts in two stands whole in another
BATCH = 16  # pieces that are weighed within the time of one filter
_WORD = re.compile(r"\w{1,16}")  # a longer one counts as several, so that a text without spaces is cut as well


@dataclass(frozen=True, slots=True)
class Heard:
    """What a user said."""

    text: str  # normalised
    readings: tuple[str, ...]  # the text undisguised, what parts of it say when decoded, then the same of ``context``
    hidden: str | None  # how it hides what it says; None where it does not
    context: str  # as it is searched for
    vector: Vectors  # of ``context``
    alone: Vectors  # of the text itself, whatever the talk was about before
    signals: Signals | None  # None: the detectors failed; such a text counts as unscreened


def hear(question: str, history: Sequence[Exchange], embedder: Embedder, detectors: Detectors) -> Heard:
    """Take a question in; everything that later steps embed or decode of it is done here, once."""
    text = normalise(question)
    context = in_context(text, history)
    asked = tuple(dict.fromkeys((text, context)))  # the caller may have written the question before, too
    plain = [disguise.plain(one) for one in asked]
    readings = tuple(dict.fromkeys(said for one in plain for said in (one, *disguise.readings(one))))
    weighed = (*readings, *windows(plain[-1]))
    wanted = list(dict.fromkeys((context, *weighed)))
    vectors = embedder.embed(wanted)
    rows = vectors[[wanted.index(piece) for piece in weighed]]
    return Heard(
        text,
        readings,
        next(filter(None, map(disguise.hidden, asked)), None),
        context,
        vectors[0],
        rows[0],
        _weighed(detectors, embedder, weighed, rows),
    )


def windows(text: str) -> list[str]:
    """A long text in overlapping pieces, each weighed by itself: one cry for help is lost among 500 words."""
    starts = [match.start() for match in _WORD.finditer(text[:LONGEST])]
    if len(starts) <= LONG:
        return []
    ends = [*starts[1:], len(text)]
    firsts = range(0, len(starts) - (WINDOW - STEP), STEP)
    return [text[starts[first] : ends[min(first + WINDOW, len(starts)) - 1]].strip() for first in firsts]


def in_context(text: str, history: Sequence[Exchange]) -> str:
    """The question as it is searched for: a follow-up carries the question before it along."""
    if history and follows_up(text):
        return f"{history[-1].question} {text}"
    return text


def _weighed(detectors: Detectors, embedder: Embedder, readings: Sequence[str], vectors: Vectors) -> Signals | None:
    seconds = deadline.SECONDS * math.ceil(len(readings) / BATCH)
    try:
        return deadline.within(lambda: detectors.weigh(readings, vectors, embedder.fingerprint), seconds)
    except Exception:  # noqa: BLE001 - whatever broke, None stops the turn: unscreened must never pass for clean
        return None
