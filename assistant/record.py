"""The nouns of one chat turn: everything a person needs to see why an answer was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from domains.api import Finding
from domains.manifest import Sentiment
from retrieval.passage import Hit

LONGEST = 8_000  # characters of a question
Author = Literal["policy", "tool", "quote", "model", "human"]
Stale = Literal["", "changed", "gone"]  # since it was quoted; "": it stands, or nobody looked
Outcome = Literal["answered", "unknown", "clarify", "refused", "escalated", "handover"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a question was understood. Probabilities are calibrated."""

    domain: str | None  # None: out of scope, or not sure which
    domain_probability: float
    chosen: bool  # the user picked the domain
    candidates: tuple[str, ...]  # domains it could be about, likeliest first
    intent: str
    intent_probability: float
    sentiment: Sentiment
    sentiment_probability: float


@dataclass(frozen=True, slots=True)
class Citation:
    """Which span of which passage supports a sentence of an answer."""

    sentence: int  # position in the answer, from 0
    number: int  # as shown: [1]
    passage_id: str
    heading: str
    source: str
    start: int  # of the quote in the passage's text, in code points
    end: int
    quote: str
    sha256: str  # of the passage's text when it was quoted
    text: str  # the whole passage, so that the quote can be seen in its place
    access: str = ""  # the group that may read it; empty: everybody
    page: int | None = None  # on which the passage begins
    domain: str = ""  # whose passage it is, so that it can be checked again
    stale: Stale = ""  # set where a stored turn is shown, and never stored


@dataclass(frozen=True, slots=True)
class Related:
    """A fact of a pack's knowledge graph that stands near a question."""

    subject: str
    predicate: str
    object: str
    article: str  # id
    title: str  # of the article
    source: str  # where the article is from


@dataclass(frozen=True, slots=True)
class Influence:
    """A word of the question, and how much it spoke for a label (below zero: against it), in logits."""

    word: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a prediction was made."""

    of: str  # "domain", "intent" or "sentiment"
    label: str
    words: tuple[Influence, ...]  # strongest first
    nearest: tuple[str, ...] = ()  # the pack's examples that are closest to the question


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished turn. Immutable; a reviewer's answer makes a new one by ``replace``."""

    question: str  # as written; masked before it is stored
    answer: str
    outcome: Outcome
    author: Author
    reading: Reading
    hits: tuple[Hit, ...] = ()
    evidence: float | None = None  # calibrated probability that the passages answer the question
    sentences: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    dropped: tuple[str, ...] = ()  # sentences the model wrote and no source supports
    findings: tuple[Finding, ...] = ()
    tool: str | None = None
    adapter: str | None = None  # digest; of who wrote the answer
    voice: str | None = None  # digest; of who speaks in this conversation, also where the answer needed no adapter
    index: str | None = None  # generation
    timings: dict[str, float] = field(default_factory=dict)  # seconds since the question arrived
    reasons: tuple[str, ...] = ()  # why a person should look at it
    held: bool = False  # the user waits for a person
    explanations: tuple[Explanation, ...] = ()
    facts: tuple[Related, ...] = ()  # of the pack's graph, near the question and its passages
    rests_on: tuple[str, ...] = ()  # groups whose documents led to an answer that cites nothing: a person's edit


@dataclass(frozen=True, slots=True)
class Step:
    """What the assistant is doing, for the waiting user."""

    text: str


@dataclass(frozen=True, slots=True)
class Understood:
    """The reading is known; sent before any sentence."""

    reading: Reading


@dataclass(frozen=True, slots=True)
class Sentence:
    """A checked sentence that may be shown."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a turn. ``turn_id`` is set once it is stored."""

    turn: Turn
    turn_id: int | None = None


Event = Step | Understood | Sentence | Done
