"""Answers from the sources: search, weigh the evidence, let the model speak, show only what a quote supports."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from adapters.chat import ChatModel, Message, Sampling
from assistant import evidence, grounding, places, prompt, ranking, safety
from assistant.clock import Clock
from assistant.grounding import Support
from assistant.packs import Pack
from assistant.ranking import Candidate
from assistant.record import Author, Citation, Event, Outcome, Sentence, Step
from assistant.words import content, quantities
from domains.api import Finding
from retrieval.embedder import Vectors
from retrieval.passage import Hit, sentences
from retrieval.tables import Scope

ENOUGH = 0.85  # probability that the sentences shown hold the answer, from which no more are added
MOST = 3  # sentences of an answer
BEGINS = -2.0  # log-odds from which the first sentence of an article begins what it says on how something is done
UNFIT = -4.0  # log-odds under which the cross-encoder thinks a sentence no part of an answer
STAYS = 0.5  # probability that must be left once sentences about other countries are gone
RELEVANT = 0.08  # probability that a sentence of the sources needs for the model to be let through with it
_STEPS = re.compile(
    r"\bhow (?:do|can|should|would|must) (?:i|you|we|one)\b|\bhow to\b|\bsteps\b|\bfirst aid\b|"
    r"\bwhat (?:should|do|must|can) (?:i|you|we|one) do\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is about to become a turn."""

    outcome: Outcome
    author: Author
    sentences: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    dropped: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    hits: tuple[Hit, ...] = ()
    evidence: float | None = None
    tool: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The answer as one string."""
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search brought, and how likely it answers the question."""

    hits: tuple[Hit, ...]
    ranked: tuple[Candidate, ...]  # their sentences, likeliest answer first
    evidence: float  # probability that they answer the question
    findings: tuple[Finding, ...] = ()


def said(outcome: Outcome, author: Author, text: str, *findings: Finding, tool: str | None = None) -> Draft:
    """A draft that no model wrote."""
    return Draft(outcome, author, (text,), findings=findings, tool=tool)


def search(pack: Pack, text: str, vector: Vectors, groups: frozenset[str] = frozenset()) -> Found:
    """Search what everybody and ``groups`` may read; passages that give orders to the model are left out, reported."""
    hits, near = pack.learned.find(pack.index, text, vector, Scope(groups))
    honest = tuple(hit for hit in hits if not safety.is_order(hit.passage.text))
    planted = tuple(
        Finding("injection.passage", "review", "passage", hit.passage.id) for hit in hits if hit not in honest
    )
    ranked = tuple(ranking.shipped().rank(text, honest, pack.index, pack.reading))
    ranked, fit = _of_the_place(ranked, text)
    read = [one.read for one in ranked if one.read is not None]
    weight = 0.0
    if ranked and fit:
        row = evidence.features(text, honest, pack.index, near.unanswered, read, ranked[0].text)
        weight = pack.learned.gate.probability(row)
    return Found(honest, ranked, weight, planted)


def from_sources(
    model: ChatModel, sampling: Sampling, pack: Pack, found: Found, text: str, clock: Clock
) -> Generator[Event, None, Draft]:
    """Let the pack's adapter answer from the likeliest sentences; quote what it leaves out, or where it fails.

    Yields each sentence once its support is known, and returns the whole draft.
    """
    yield Step(f"Reading {len(found.hits)} passages")
    gate = Gate(pack, found, steps=_STEPS.search(text) is not None)
    messages = prompt.grounded(pack.domain.manifest.system_prompt, text, found.ranked[: prompt.SHOWN])
    reasons: tuple[str, ...] = ()
    declined = False
    try:
        with closing(_stream(model, messages, pack, sampling)) as pieces:
            for sentence in split(pieces):
                clock.mark("first_words")
                declined = not gate.kept and sentence.upper().startswith(prompt.NO_ANSWER)
                if declined or len(gate.kept) == MOST:
                    break
                yield from gate.offer(sentence, clock)
    except Exception as error:  # noqa: BLE001 - an engine may fail in any way; the user still gets what the sources say
        reasons = (f"the model failed: {type(error).__name__}",)
    spoke = bool(gate.kept)
    if not declined or found.evidence >= pack.domain.manifest.thresholds.sure:
        yield from gate.quote(clock)
    return Draft(
        outcome="answered" if gate.kept else "unknown",
        author="model" if spoke else "quote" if gate.kept else "policy",
        sentences=tuple(gate.kept),
        citations=tuple(gate.citations),
        dropped=tuple(gate.dropped),
        findings=found.findings + tuple(gate.findings),
        hits=found.hits,
        evidence=found.evidence,
        reasons=reasons,
    )


class Gate:
    """Lets a sentence through only with a quote that supports it, and remembers what it did."""

    def __init__(self, pack: Pack, found: Found, *, steps: bool = False) -> None:
        """``steps``: it is asked how something is done, so more of the best sentence's article is part of it."""
        self.pack = pack
        self.found = found
        self.steps = steps
        self.kept: list[str] = []
        self.dropped: list[str] = []
        self.citations: list[Citation] = []
        self.findings: list[Finding] = []
        self._passages = list(dict.fromkeys(one.hit.passage for one in found.ranked[: prompt.SHOWN]))
        self._numbers: dict[str, int] = {}

    def offer(self, sentence: str, clock: Clock) -> Iterator[Sentence]:
        """Yield the sentence if a source supports it, if it is to the point, new, and breaks no rule."""
        sentence = self._without_title(sentence)
        backed = grounding.support(sentence, self._passages)
        threshold = self.pack.domain.manifest.thresholds.support
        if backed is None or backed.score < threshold or self._relevance(backed) < RELEVANT:
            self.dropped.append(sentence)
        else:
            yield from self._show(sentence, backed, clock)

    def _without_title(self, sentence: str) -> str:
        """The sentence without a passage's title before it: the model copies how sources are put before it."""
        title, _, rest = sentence.partition(": ")
        words = content(title)
        copied = bool(words) and rest[:1].isupper() and any(words <= content(one.title) for one in self._passages)
        return rest if copied else sentence

    def quote(self, clock: Clock) -> Iterator[Sentence]:
        """Yield the likeliest sentences of the sources until enough of the answer has probably been said."""
        for one in self._to_quote():
            if len(self.kept) >= MOST or (not self.steps and sum(map(self._said, self.found.ranked)) >= ENOUGH):
                return
            if not self._said(one):
                yield from self._show(one.text, Support(one.hit.passage, one.start, one.end, 1.0), clock)

    def _to_quote(self) -> Sequence[Candidate]:
        ranked = self.found.ranked[:MOST]
        if not self.steps or not ranked:
            return ranked
        best, first = ranked[0], self.pack.index.first_sentences()
        same = [one for one in self.found.ranked if one.hit.passage.document == best.hit.passage.document]
        likely = sorted((one for one in same if one is best or (one.read or 0.0) > 0.0), key=lambda one: one.row(first))
        if len(likely) >= MOST:  # a description of what to do begins where its article does
            begins = min(row for name, row in first.items() if name.partition("#")[0] == best.hit.passage.document)
            opening = [
                one for one in same if one is not best and one.row(first) == begins and BEGINS < (one.read or 0.0) <= 0
            ]
            likely = [*opening, *likely]
            return likely if best in likely[:MOST] else [*likely[: MOST - 1], best]
        around = [
            one
            for one in same
            if one.hit.passage.id == best.hit.passage.id and one is not best and (one.read or 0.0) > UNFIT
        ]
        return [best, *sorted(around, key=lambda one: (one.start < best.start, one.start))]

    def _relevance(self, backed: Support) -> float:
        return sum(
            one.probability for one in self.found.ranked if _within(one, backed.passage.id, backed.start, backed.end)
        )

    def _said(self, one: Candidate) -> float:
        """The candidate's probability if its words have been cited, else 0."""
        cited = any(_within(one, shown.passage_id, shown.start, shown.end) for shown in self.citations)
        return one.probability if cited else 0.0

    def _show(self, sentence: str, backed: Support, clock: Clock) -> Iterator[Sentence]:
        if self._said_already(sentence):
            return
        found = safety.screen_output(sentence, [passage.text for passage in self._passages], self.pack.domain)
        self.findings += found
        if safety.blocked(found):
            self.dropped.append(sentence)
            return
        citation = self._cite(backed)
        self.kept.append(sentence)
        self.citations.append(citation)
        clock.mark("first_sentence")
        yield Sentence(sentence, (citation,))

    def _said_already(self, sentence: str) -> bool:
        words, figures = content(sentence), quantities(sentence)
        return any(words <= content(earlier) and figures <= quantities(earlier) for earlier in self.kept)

    def _cite(self, backed: Support) -> Citation:
        passage = backed.passage
        return Citation(
            sentence=len(self.kept),
            number=self._numbers.setdefault(passage.id, len(self._numbers) + 1),
            passage_id=passage.id,
            heading=passage.heading,
            source=passage.source,
            start=backed.start,
            end=backed.end,
            quote=passage.text[backed.start : backed.end],
            sha256=passage.sha256,
            text=passage.text,
            access=passage.access,
            page=passage.page,
            domain=self.pack.domain.name,
        )


def _of_the_place(ranked: tuple[Candidate, ...], text: str) -> tuple[tuple[Candidate, ...], bool]:
    """The sentences without those about another country than the question's, and whether the likeliest were others."""
    asked = places.named(text)
    if not asked:
        return ranked, True
    kept = tuple(one for one in ranked if not places.elsewhere(asked, _where(one)))
    return kept, sum(one.probability for one in kept) >= STAYS


def _where(one: Candidate) -> frozenset[str]:
    """The places that a sentence speaks of: those it names, else those of the headings above it."""
    return places.named(one.text) or places.named(one.hit.passage.heading)


def _within(one: Candidate, passage_id: str, start: int, end: int) -> bool:
    return one.hit.passage.id == passage_id and start <= one.start and one.end <= end


def split(pieces: Iterator[str]) -> Iterator[str]:
    """Whole sentences from a stream of pieces, each as soon as the next one has begun."""
    buffer = ""
    for piece in pieces:
        buffer += piece
        spans = sentences(buffer)
        for start, end in spans[:-1]:
            yield buffer[start:end]
        if len(spans) > 1:
            buffer = buffer[spans[-1][0] :]
    for start, end in sentences(buffer):
        yield buffer[start:end]


def _stream(
    model: ChatModel, messages: Sequence[Message], pack: Pack, sampling: Sampling
) -> Generator[str, None, None]:
    yield from model.stream(messages, adapter=pack.adapter.digest if pack.adapter else None, sampling=sampling)
