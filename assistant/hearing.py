"""A question as filters and search see it: normalised, undisguised, embedded once, weighed by the detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant import disguise
from assistant.deadline import within
from assistant.detectors import Detectors, Signals
from assistant.reader import follows_up
from assistant.words import normalise
from domains.api import Exchange
from retrieval.embedder import Embedder, Vectors
from retrieval.passage import sentences

LONG = 90  # words from which a text is also weighed in pieces
WINDOW = 60  # words of a piece
MOST = 12  # pieces


@dataclass(frozen=True, slots=True)
class Heard:
    """What a user said."""

    text: str  # normalised
    readings: tuple[str, ...]  # the text undisguised, then what parts of it say when decoded
    hidden: str | None  # how it hides what it says; None where it does not
    context: str  # as it is searched for
    vector: Vectors  # of ``context``
    alone: Vectors  # of the text itself, whatever the talk was about before
    signals: Signals | None  # None: the detectors failed; such a text counts as unscreened


def hear(question: str, history: Sequence[Exchange], embedder: Embedder, detectors: Detectors) -> Heard:
    """Take a question in; everything that later steps embed or decode of it is done here, once."""
    text = normalise(question)
    context = in_context(text, history)
    plain = disguise.plain(text)
    readings = (plain, *disguise.readings(plain))
    weighed = (*readings, *windows(plain))
    wanted = list(dict.fromkeys((context, *weighed)))
    vectors = embedder.embed(wanted)
    rows = vectors[[wanted.index(piece) for piece in weighed]]
    return Heard(
        text,
        readings,
        disguise.hidden(text),
        context,
        vectors[0],
        rows[0],
        _weighed(detectors, embedder, weighed, rows),
    )


def windows(text: str) -> list[str]:
    """A long text in pieces of whole sentences, each weighed by itself: one cry for help is lost among 500 words."""
    if len(text.split()) <= LONG:
        return []
    pieces, words = [""], 0
    for start, end in sentences(text):
        sentence = text[start:end]
        if words and words + len(sentence.split()) > WINDOW:
            pieces.append("")
            words = 0
        pieces[-1] += f" {sentence}" if pieces[-1] else sentence
        words += len(sentence.split())
    return pieces[:MOST]


def in_context(text: str, history: Sequence[Exchange]) -> str:
    """The question as it is searched for: a follow-up carries the question before it along."""
    if history and follows_up(text):
        return f"{history[-1].question} {text}"
    return text


def _weighed(detectors: Detectors, embedder: Embedder, readings: Sequence[str], vectors: Vectors) -> Signals | None:
    try:
        return within(lambda: detectors.weigh(readings, vectors, embedder.fingerprint))
    except Exception:  # noqa: BLE001 - whatever broke, None stops the turn: unscreened must never pass for clean
        return None
