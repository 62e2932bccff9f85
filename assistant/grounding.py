"""Decides whether a sentence is backed by a span of a passage: words in their order, quantities, names, conditions.

This is the exact part of the gate; it knows no synonyms, so what it accepts stays close to its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from assistant.chinese import apart
from assistant.words import bounds, conditions, content, negations, obligations, quantities, terms
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
    section of a passage count as its words, but not as its quantities. A word that the span lacks, or has in another
    place, and that stands in the passages, was swapped in from there ("film" for "book"; "A with A" for "A with B"):
    then the span backs nothing.
    """
    claim = _Claim(sentence)
    known = set().union(*(content(f"{passage.heading} {passage.text}") for passage in passages))
    best: Support | None = None
    for passage in passages:
        single = len(sentences(passage.text))
        for place, (start, end) in enumerate(spans(passage.text)):
            quote = passage.text[start:end]
            if place >= single and claim.mixes(quote):
                continue
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
        self.terms = terms(sentence)
        self.figures = quantities(sentence)
        self.names = {name.lower() for name in _NAME.findall(apart(sentence))}
        self.negations = negations(sentence)
        self.bounds, self.conditions, self.obligations = bounds(sentence), conditions(sentence), obligations(sentence)

    def mixes(self, neighbours: str) -> bool:
        """Whether the number or the "must" of one neighbour could pass with the words of the other."""
        figures = bool(self.figures) and self.figures != quantities(neighbours)
        return figures or self.obligations != obligations(neighbours)

    def score(self, quote: str, heading: str, known: set[str]) -> float:
        """Share of the words that ``quote`` has in this order; 0 where anything exact differs or a known word moved."""
        if (not self.terms and not self.figures) or self._differs(quote, heading):
            return 0.0
        if not self.terms:
            return 1.0
        strangers = _out_of_order(self.terms, terms(quote))
        above = content(heading)
        if len(strangers) == len(self.terms) or any(word in known and word not in above for word in strangers):
            return 0.0
        lent = sum(word in above for word in strangers)
        return (len(self.terms) - len(strangers) + 0.8 * lent) / len(self.terms)

    def _differs(self, quote: str, heading: str) -> bool:
        """Whether a figure, its limit, a unit, a name, a negation, a condition or an obligation is not the quote's."""
        limits = {(word, figure) for word, figure in bounds(quote) if figure in self.figures}
        return (
            not self.figures <= quantities(quote)
            or self.negations != negations(quote)
            or bool(set(self.terms) & UNITS - content(quote))
            or self.bounds != limits
            or self.conditions != conditions(quote)
            or not self._as_strong(obligations(quote))
            or any(name not in f"{heading} {quote}".lower() for name in self.names)
        )

    def _as_strong(self, asked: set[str]) -> bool:
        """Nothing is demanded that the quote does not demand, and what it demands is not merely allowed."""
        return self.obligations - {"may"} <= asked and not ("may" in self.obligations - asked and asked)


def _out_of_order(said: Sequence[str], source: Sequence[str]) -> list[str]:
    """The words of ``said`` that are left when as many as possible are found in ``source`` in the same order."""
    matcher = SequenceMatcher(None, said, source, autojunk=False)
    kept = {place for block in matcher.get_matching_blocks() for place in range(block.a, block.a + block.size)}
    return [word for place, word in enumerate(said) if place not in kept]
