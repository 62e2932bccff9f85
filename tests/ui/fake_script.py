"""The nouns of the fake App, and what it answers: scripted by the words of the question."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from assistant.record import Citation, Outcome, Reading, Turn
from domains.api import Finding
from domains.manifest import Intent, Manifest, Refusals, Rules
from domains.pack import Domain, Hooks
from retrieval.passage import Hit, Passage

State = Literal["running", "final", "held", "released", "edited", "rejected"]
REJECTED = "A person looked at this and could not confirm an answer."
QUOTES = (
    "Unused items can be returned within 30 days of delivery.",
    "A refund is paid within 5 working days of the return.",
)
PASSAGE = " ".join(QUOTES)
EVIL = '<img src=x onerror="window.pwned=1"> ${window.pwned=1} {{{value}}} <script>window.pwned=1</script>'


class ReviewError(Exception):
    """A decision that is not taken."""


ReviewError.__module__ = "assistant.reviews"  # where the real one lives: the page shows only our own errors


@dataclass(frozen=True)
class Conversation:
    id: int
    title: str
    updated: datetime


@dataclass(frozen=True)
class StoredTurn:
    id: int
    created: datetime
    turn: Turn
    state: State


@dataclass(frozen=True)
class Ticket:
    id: int
    turn_id: int
    domain: str
    created: datetime
    priority: int
    reasons: tuple[str, ...]
    state: str
    held: bool
    turn: Turn


@dataclass(frozen=True)
class Decision:
    id: int
    ticket_id: int
    reviewer: str
    action: str
    text: str
    note: str
    created: datetime
    digest: str
    previous: str


@dataclass(frozen=True)
class Problem:
    path: str
    reason: str


@dataclass(frozen=True)
class FakeGeneration:
    name: str


@dataclass(frozen=True)
class FakeIndex:
    generation: FakeGeneration


@dataclass(frozen=True)
class FakeAdapter:
    name: str
    digest: str


@dataclass(frozen=True)
class FakePack:
    domain: Domain
    index: FakeIndex
    adapter: FakeAdapter | None
    enabled: bool
    shipped: bool
    passages: int


@dataclass
class FakeSettings:
    host: str = "127.0.0.1"
    port: int = 0


def domain(name: str, title: str, description: str) -> Domain:
    manifest = Manifest(
        name=name,
        title=title,
        version="1.0.0",
        description=description,
        system_prompt="Answer from the sources.",
        refusals=Refusals(unknown="I don't know: my sources don't cover that.", policy="I can't help with that."),
        crisis_text="If you are in danger, call 112, 999 or 911 now. In the US you can call or text 988.",
        greeting=f"Ask me about {title.lower()}. I quote my sources.",
        suggestions=(
            f"How long can I return an item to {title}?",
            "When is my refund paid?",
            "How do I reach a person?",
        ),
        intents=(Intent(name="returns", title="Returns"), Intent(name="other", title="Other")),
    )
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Domain(Path("/packs") / name, digest, manifest, Rules(), (), (), (), (), (), Hooks())


def hit(text: str = PASSAGE, section: str = "How long you have") -> Hit:
    sha = hashlib.sha256(text.encode()).hexdigest()
    source = "Larkfield, Returns policy, https://larkfield.example/returns"
    passage = Passage("returns#how-long", "returns", "Returns", section, text, source, "2026-11-24", "Apache-2.0", sha)
    return Hit(passage, 0.032, 0.81, 7.4, 0.88, (0, len(text)))


def citation(sentence: int, number: int = 1, text: str = PASSAGE) -> Citation:
    quote = QUOTES[sentence]
    start = text.index(quote)
    found = hit(text).passage
    return Citation(
        sentence, number, found.id, found.heading, found.source, start, start + len(quote), quote, found.sha256, text
    )


def reading(name: str | None = "customer_service", *, chosen: bool = False, sentiment: str = "neutral") -> Reading:
    candidates = (name,) if name else ("customer_service", "medical")
    return Reading(name, 0.93 if name else 0.41, chosen, candidates, "returns" if name else "", 0.87, sentiment, 0.9)  # type: ignore[arg-type]


def turn(question: str, answer: str, outcome: Outcome = "answered", **changes: object) -> Turn:
    whole = Turn(
        question, answer, outcome, "policy", reading(), timings={"read": 0.02, "total": 0.61}, index="gen-0001"
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def answered(question: str) -> Turn:
    return turn(
        question, " ".join(QUOTES), author="model", hits=(hit(), hit("Gift cards cannot be returned.", "Exceptions")),
        evidence=0.94, sentences=QUOTES, citations=(citation(0), citation(1, 2)), dropped=("Returns are always free.",),
        adapter="5f" * 32,
    )  # fmt: skip


def script(question: str, chosen: str | None) -> Turn:
    """What the fake answers, by the words of the question."""
    text = question.lower()
    if "compensation" in text:
        return replace(answered(question), held=True, reasons=("held: the pack asks for a person on “Compensation”",))
    if "hurt" in text:
        reasons = ("a person may be in danger",)
        finding = Finding("crisis.self_harm", "block", "input", "a person may be in danger")
        crisis = domain("x1", "X", "X").manifest.crisis_text
        return turn(
            question, crisis, "escalated", reasons=reasons, findings=(finding,), reading=reading(sentiment="negative")
        )
    if "hack" in text:
        finding = Finding("rule.break_in", "block", "input", "asks to break into an account")
        return turn(
            question, "I can't help with that. I can help with your own orders.", "refused", findings=(finding,)
        )
    if "which" in text and not chosen:
        return turn(
            question, "I am not sure what this is about. Do you mean one of these?", "clarify", reading=reading(None)
        )
    if "order" in text:
        return turn(question, "Order LF-204815 left our warehouse yesterday.", author="tool", tool="order_status")
    if "evil" in text:
        return turn(question, EVIL, author="model", sentences=(EVIL,), hits=(hit(EVIL),), dropped=(EVIL,))
    if any(word in text for word in ("return", "refund", "slow", "which")):
        return answered(question)
    return turn(question, "I don't know: my sources don't cover that.", "unknown", hits=(hit(),), evidence=0.12)
