"""Whether a sentence gives another figure than a fact that the pack's owners wrote down: a document may be out of date.

Only what is plain counts: the sentence begins with the fact's subject and nothing else, its predicate follows, and a
figure of the same unit stands there, but not the fact's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from assistant.words import normalise, quantities, stem, stop_words
from domains.api import Finding
from domains.pack import Fact

CONTRADICTED = "fact.contradicted"
_MEASURE = re.compile(
    r"(?P<currency>[$€£])?\s?(?P<figure>\d(?:[\d.,]*\d)?)(?:\s?(?P<unit>%|°[CF]|[^\W\d_]+(?:/[^\W\d_]+)?))?"
)
_SPELT = re.compile(r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_SHORT = re.compile(r"[A-Z]{2,}$")
_CURRENCIES = {"$": "usd", "€": "eur", "£": "gbp", "euro": "eur", "dollar": "usd", "pound": "gbp"}
_BESIDE = frozenset(["work", "busi", "calendar"])  # between a figure and its unit: "5 working days"
Measure = tuple[str, str]  # a figure in its canonical form, and its unit


@dataclass(frozen=True, slots=True)
class _Check:
    subject: frozenset[str]
    predicate: frozenset[str]
    measures: frozenset[Measure]
    fact: Fact

    def about(self, words: Sequence[str]) -> bool:
        """Whether the words of a sentence, in their order, say this of the subject and of nothing narrower."""
        if not self.subject | self.predicate <= set(words):
            return False
        return set(words[: min(map(words.index, self.predicate))]) == self.subject


def contradictions(sentence: str, facts: tuple[Fact, ...]) -> Iterator[Finding]:
    """The facts that a sentence contradicts, each with a reason that a person can read."""
    said = measures(sentence)
    if not said:
        return
    words = _words(sentence)
    for check in _checks(facts):
        if check.about(words) and _differs(said, check.measures):
            fact = check.fact
            reason = f"the pack's fact is: {fact.subject} {fact.predicate} {fact.object} ({fact.source})"
            yield Finding(CONTRADICTED, "block", "output", reason)


def measures(text: str) -> frozenset[Measure]:
    """Figures with their units; ``€4.95`` and ``4.95 euros`` are one."""
    plain = _SPELT.sub(lambda match: min(quantities(match[0])), normalise(text))
    return frozenset(_read(match, plain) for match in _MEASURE.finditer(plain))


def _words(text: str) -> list[str]:
    """Stems in order, with figures, and with the short names of countries that are stop words when they are small."""
    words = (word for word in _WORD.findall(normalise(text)) if word.lower() not in stop_words() or _SHORT.match(word))
    return [stem(word.lower()) for word in words]


def _read(match: re.Match[str], plain: str) -> Measure:
    unit = stem((match["unit"] or "").lower())
    if unit in _BESIDE:
        following = re.match(r"\s[^\W\d_]+", plain[match.end() :])
        unit = f"{unit} {stem(following[0].strip().lower())}" if following else unit
    figure = min(quantities(match["figure"]), default=match["figure"])
    return figure, _CURRENCIES.get(match["currency"] or unit, unit)


def _differs(said: frozenset[Measure], expected: frozenset[Measure]) -> bool:
    units = {unit for _, unit in expected}
    alike = {one for one in said if one[1] in units}
    return bool(alike) and not alike & expected


@lru_cache(maxsize=64)  # packs
def _checks(facts: tuple[Fact, ...]) -> tuple[_Check, ...]:
    found = []
    for fact in facts:
        expected = frozenset(one for one in measures(fact.object) if one[1])
        subject = frozenset(_words(fact.subject))
        predicate = frozenset(_words(fact.predicate)) - subject
        if expected and subject and predicate:
            found.append(_Check(subject, predicate, expected, fact))
    return tuple(found)
