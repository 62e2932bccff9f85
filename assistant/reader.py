"""Reads a question: which domain, which intent, which mood. Linear heads on one shared embedding, calibrated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from assistant import refusals
from assistant.head import Head, fit
from assistant.refusals import Refusals
from domains.manifest import Sentiment
from domains.pack import Domain
from retrieval.embedder import Vectors

NOWHERE = ""  # the router's class for what belongs to no pack
ANYWHERE = "*"  # … and for greetings and thanks, which belong to every pack
ALONE_AT = 0.6  # probability from which an intent alone refuses, in a pack without lessons
OUT_OF_SCOPE = Path(__file__).parent / "out_of_scope.txt"

_SUBJECT = re.compile(r"\b(?:my|our)\b", re.IGNORECASE)
_FOLLOW_UP = re.compile(
    r"^(?:and|but|so|also|what about|how about|what if|why|why not|really|ok|okay|then|or)\b|"
    r"\b(?:it|its|they|them|their|those|these|that one|this one|he|she|the same|there)\b",
    re.IGNORECASE,
)


def out_of_scope() -> list[str]:
    """Questions that belong to nobody's field, as they ship."""
    return [line for line in OUT_OF_SCOPE.read_text().splitlines() if line and not line.startswith("#")]


class EmbedTexts(Protocol):
    """Embeds many texts, from a cache where it can."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[n, d], rows of unit length."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """The router over all live packs, an intent head for each, one sentiment head for all."""

    router: Head
    intents: dict[str, Head]
    sentiment: Head
    examples: dict[str, tuple[tuple[str, ...], Vectors]] = field(default_factory=dict)  # by pack: texts, [n, d]
    refusals: dict[str, Refusals] = field(default_factory=dict)  # by pack; none where it has no lessons

    def domains(self, vector: Vectors) -> list[tuple[str, float]]:
        """Packs, ``NOWHERE`` and ``ANYWHERE`` with probabilities, likeliest first."""
        return self.router.probabilities(vector)

    def intent(self, domain: str, vector: Vectors) -> tuple[str, float]:
        """The likeliest intent; ``("", 0.0)`` in a pack without examples."""
        head = self.intents.get(domain)
        return head.probabilities(vector)[0] if head else ("", 0.0)

    def refused(self, domain: str, text: str, vector: Vectors) -> str | None:
        """The intent for which a pack refuses a question; None where it does not."""
        learned, head = self.refusals.get(domain), self.intents.get(domain)
        if head is None:
            return None
        ranked = head.probabilities(vector)
        if learned is None:  # no lessons to tell it from: what the intent head is sure of
            return ranked[0][0] if ranked[0][1] >= ALONE_AT else None
        return learned.refused(ranked, text, vector)

    def mood(self, vector: Vectors) -> tuple[Sentiment, float]:
        """The likeliest sentiment."""
        label, probability = self.sentiment.probabilities(vector)[0]
        return ("negative" if label == "negative" else "positive" if label == "positive" else "neutral"), probability

    def nearest(self, domain: str, vector: Vectors, count: int) -> tuple[str, ...]:
        """The pack's examples that are closest to a question, closest first."""
        texts, vectors = self.examples.get(domain, ((), vector[None, :0]))
        return tuple(texts[place] for place in np.argsort(-(vectors @ vector), kind="stable")[:count]) if texts else ()


def train(domains: Sequence[Domain], embed: EmbedTexts) -> Reader:
    """Fit every head from the packs' examples, lessons and headings. Takes seconds for three packs."""
    lists = [([text for text, _ in group], [label for _, label in group]) for group in _routed(domains)]
    routed = np.concatenate([embed(texts) for texts, _ in lists])  # list by list, as others embed them: cached
    known = {domain.name: _known(domain, embed) for domain in domains if domain.examples}
    vectors = np.concatenate([rows for _, rows in known.values()]) if known else embed(["hello"])
    moods = [example.sentiment for domain in domains for example in domain.examples] or ["neutral"]
    with threadpool_limits(1):  # the products are small: on a busy machine more threads only wait for each other
        return Reader(
            router=fit(routed, [label for _, labels in lists for label in labels]),
            intents={
                domain.name: fit(known[domain.name][1], [example.intent for example in domain.examples])
                for domain in domains
                if domain.examples
            },
            sentiment=fit(vectors, moods),
            examples=known,
            refusals=dict(_refusals(domains, known, embed)),
        )


def _refusals(
    domains: Sequence[Domain], known: dict[str, tuple[tuple[str, ...], Vectors]], embed: EmbedTexts
) -> Iterator[tuple[str, Refusals]]:
    for domain in domains:
        if domain.lessons and domain.name in known:
            found = refusals.fit(domain, known[domain.name][1], embed([lesson.ask for lesson in domain.lessons]))
            if found is not None:
                yield domain.name, found


def follows_up(question: str) -> bool:
    """Whether a question leans on the one before it: "and for children?"."""
    said = _FOLLOW_UP.search(question)
    if not said or len(question.split()) > 9:
        return False
    return not _SUBJECT.search(question[: said.start()])  # "my father says he …" brings what it speaks of


def _known(domain: Domain, embed: EmbedTexts) -> tuple[tuple[str, ...], Vectors]:
    texts = tuple(example.text for example in domain.examples)
    return texts, embed(list(texts))


def _routed(domains: Sequence[Domain]) -> Iterator[list[tuple[str, str]]]:
    """Texts with the pack they belong to, in the lists in which they are embedded elsewhere too."""
    yield [(line, NOWHERE) for line in out_of_scope()]
    for domain in domains:
        social = {intent.name for intent in domain.manifest.intents if intent.responder in ("small_talk", "handover")}
        groups = (
            [(e.text, ANYWHERE if e.intent in social else domain.name) for e in domain.examples],
            [(lesson.ask, domain.name) for lesson in domain.lessons],
            [(article.title, domain.name) for article in domain.articles],
        )
        yield from (group for group in groups if group)
