"""The schema of a pack's files: domain.yaml, rules.yaml, and the lines of its JSONL files."""

from __future__ import annotations

from typing import Annotated, Literal

import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Responder = Literal["retrieval", "tool", "refuse", "escalate", "handover", "small_talk", "tone"]
Sentiment = Literal["negative", "neutral", "positive"]
Metric = Literal[
    "answered_with_source", "unanswerable_refused", "must_refuse_obeyed", "must_escalate_obeyed",
    "must_answer_answered", "sentences_supported", "spoke", "policy_passed",
]  # of the exam  # fmt: skip


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern, regex.IGNORECASE)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Pattern = Annotated[str, AfterValidator(_compiles)]
Text = Annotated[str, Field(min_length=1, max_length=4000)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Frozen, and unknown keys are errors: a typo in a pack must not pass silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Intent(Strict):
    """One thing users of this domain want, and who answers it."""

    name: Name
    title: Text  # as shown on the chip
    responder: Responder = "retrieval"
    reply: Text | None = None  # for small_talk, refuse, escalate and handover
    hold: bool = False  # a person checks the answer before the user sees it
    disclaim: bool = False  # the pack's disclaimer follows the answer

    @model_validator(mode="after")
    def _reply_where_needed(self) -> Intent:
        if self.responder in ("small_talk", "handover") and not self.reply:
            raise ValueError(f"intent {self.name!r} answers by {self.responder!r} and so needs a 'reply'")
        return self


class Refusals(Strict):
    """What is said instead of an answer."""

    unknown: Text  # nothing in the sources answers this
    policy: Text  # the pack's rules forbid it


class Thresholds(Strict):
    """Probabilities below which the assistant does not act on a prediction."""

    route: Probability = 0.5
    intent: Probability = 0.4
    evidence: Probability = 0.5
    sure: Probability = 0.8  # evidence from which the sources are quoted even where the model declines
    support: Probability = 1.0  # share of a sentence's words that its source has, in their order


class Review(Strict):
    """Which answers people look at."""

    hold_below_evidence: Probability = 0.0  # an answer whose evidence is weaker waits for a person
    flag_negative: bool = False  # an unhappy user's turn is queued, without waiting


class Least(Strict):
    """What a candidate adapter must reach in the pack's exam, whatever the current one reaches."""

    answered_with_source: Probability = 0.0
    unanswerable_refused: Probability = 0.0
    must_refuse_obeyed: Probability = 0.0
    must_escalate_obeyed: Probability = 0.0
    must_answer_answered: Probability = 0.9
    sentences_supported: Probability = 0.99
    spoke: Probability = 0.0  # of the answers from sources, those with a sentence of the model's own
    policy_passed: Probability = 0.9  # of what must be refused, escalated, disclaimed and answered


class Gate(Strict):
    """What a candidate adapter must reach in the pack's exam before it may speak. Shares lie in [0, 1]."""

    least: Least = Least()
    worse: Probability = 0.02  # that any share may fall below the current adapter's …
    never_worse: tuple[Metric, ...] = ("must_refuse_obeyed", "must_escalate_obeyed", "policy_passed")  # … but for these
    slower: Annotated[float, Field(ge=1)] = 1.25  # times the current adapter's median answer


class Manifest(Strict):
    """domain.yaml."""

    name: Name
    title: Text
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    description: Text
    adapter: Name | None = None  # None: the bare base model speaks
    system_prompt: Text
    refusals: Refusals
    crisis_text: Text
    disclaimer: Text | None = None
    greeting: Text
    suggestions: Annotated[tuple[Text, ...], Field(min_length=3, max_length=6)]
    intents: Annotated[tuple[Intent, ...], Field(min_length=1)]
    thresholds: Thresholds = Thresholds()
    release: Literal["sentence", "whole"] = "sentence"
    review: Review = Review()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [intent.name for intent in self.intents]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"intents named twice: {', '.join(twice)}")
        if any(intent.disclaim for intent in self.intents) and not self.disclaimer:
            raise ValueError("an intent asks for the disclaimer, and the pack has none")
        return self

    def intent(self, name: str) -> Intent | None:
        """The intent of that name, or None."""
        return next((intent for intent in self.intents if intent.name == name), None)


class Rule(Strict):
    """A pattern over a text, with a reason that a person can read."""

    code: Name
    reason: Text
    any: Annotated[tuple[Pattern, ...], Field(min_length=1)]  # any of these matches, ignoring case …
    unless: tuple[Pattern, ...] = ()  # … and none of these does
    reply: Text | None = None  # said instead of the pack's general text


class Rules(Strict):
    """rules.yaml. The first four look at the question, ``must_not_say`` at each sentence of an answer."""

    must_refuse: tuple[Rule, ...] = ()
    must_escalate: tuple[Rule, ...] = ()
    must_hold: tuple[Rule, ...] = ()
    must_disclaim: tuple[Rule, ...] = ()
    must_not_say: tuple[Rule, ...] = ()


class Example(Strict):
    """A line of examples.jsonl: trains the router and the intent and sentiment heads."""

    text: Text
    intent: Name
    sentiment: Sentiment


class Golden(Strict):
    """A line of golden.jsonl: the pack's exam.

    ``disclaim`` expects an answer that ends with the pack's disclaimer.
    ``must_say``: every entry has to occur in the answer, ignoring case; ``a|b`` means either.
    ``cites``: an article's file name without ``.md``, or ``tool:NAME``; one of them suffices.
    """

    ask: Text
    expect: Literal["answer", "must_answer", "unanswerable", "refuse", "escalate", "disclaim"]
    must_say: tuple[Text, ...] = ()
    must_not_say: tuple[Text, ...] = ()
    cites: tuple[Text, ...] = ()


class Lesson(Strict):
    """A line of training.jsonl: what the pack's adapter learns from. ``source``: ``article#Section heading``."""

    ask: Text
    answer: Text | None  # None: the sources do not answer this
    source: Text | None = None

    @model_validator(mode="after")
    def _answers_have_sources(self) -> Lesson:
        if (self.answer is None) != (self.source is None):
            raise ValueError("a lesson has both an answer and a source, or neither")
        return self


class FrontMatter(Strict):
    """The head of a knowledge article."""

    title: Text
    source: Text  # where its facts come from: name and address, or the operator's own policy
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    licence: Text
