"""Decides whether a sentence is backed by a span of a passage: words, quantities, names and negation.

This is the exact part of the gate; it knows no synonyms, so what it accepts stays close to its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from assistant.words import content, negated, quantities
from retrieval.passage import Passage, sentences

UNITS = content(
    "second minute hour day week month year euro dollar pound cent eur usd gbp percent gram kilogram milligram "
    "microgram litre millilitre mg kg mcg ml mmol metre kilometre centimetre millimetre cm mm km mile inch degree unit"
)
_NAME = re.compile(r"(?<=[^.!?:\n] )\b[A-Z][\w-]*[\w]\b|\b[A-Z]{2,}\w*\b")


@dataclass(frozen=True, slots=True)
class Support:
    """The span of a passage that backs a sentence best."""

    passage: Passage
    start: int  # in the passage's text, code points
    end: int  # exclusive
    score: float  # share of the sentence's content words found there, [0, 1]; 0 when a quantity or negation differs


def support(sentence: str, passages: Sequence[Passage]) -> Support | None:
    """The best span for ``sentence``, or None where nothing backs it at all.

    Spans are single sentences and pairs of neighbours, a pair only where all its quantities are said. Title and
    section of a passage count as its words, but not as its quantities. A word that the span lacks and another sentence
    has was swapped in from there ("film" for "book"), and then the span backs nothing.
    """
    claim = _Claim(sentence)
    known = set().union(*(content(f"{passage.heading} {passage.text}") for passage in passages))
    best: Support | None = None
    for passage in passages:
        single = len(sentences(passage.text))
        for place, (start, end) in enumerate(spans(passage.text)):
            quote = passage.text[start:end]
            if place >= single and claim.figures and claim.figures != quantities(quote):
                continue  # the number of one neighbour must not pass with the words of the other
            score = claim.score(quote, passage.heading, known)
            if score > (best.score if best else 0.0):
                best = Support(passage, start, end, score)
    return best


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Single sentences first, then neighbours together, so that of two equals the shorter quote wins."""
    single = sentences(text)
    yield from single
    for (start, _), (_, end) in pairwise(single):
        yield start, end


class _Claim:
    """What a sentence says, taken apart once for all the spans it is held against."""

    def __init__(self, sentence: str) -> None:
        self.words = content(sentence)
        self.figures = quantities(sentence)
        self.names = {name.lower() for name in _NAME.findall(sentence)}
        self.negative = negated(sentence)

    def score(self, quote: str, heading: str, known: set[str]) -> float:
        """Share of the words that ``quote`` has; 0 where a figure, unit, name, negation or known word differs."""
        if not self.words and not self.figures:
            return 0.0
        own, above = content(quote), content(heading)
        if not self.figures <= quantities(quote) or self.negative != negated(quote) or self.words & UNITS - own:
            return 0.0
        if any(name not in f"{heading} {quote}".lower() for name in self.names):
            return 0.0
        if self.words and (not self.words & own or (self.words - own - above) & known):
            return 0.0
        return (len(self.words & own) + 0.8 * len(self.words & above - own)) / len(self.words) if self.words else 1.0
