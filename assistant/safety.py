"""Screens what comes in and what goes out. Checks report findings; ``blocked`` and ``emergency`` decide.

A check that raises or is slow is a block: what was not screened must never pass for clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import regex
import yaml

from assistant import disguise, facts, pii
from assistant.deadline import within
from assistant.detectors import Signals
from assistant.hearing import Heard
from assistant.words import normalise
from domains.api import Finding, Severity
from domains.manifest import Rule, Strict
from domains.pack import Domain

CRISIS = "crisis."  # starts the code of every emergency
CRASHED = "check.crashed"
UNSCREENED = "I could not check this message, so I won't answer it. A person was told; please ask again in a minute."
INJECTION = (
    "I can't follow instructions that try to change how I work. Ask me your question in plain words, "
    "and I'll answer it from my sources."
)
PATIENCE = 1.0  # seconds that a pattern may search a text
HARM = "I can't help with that, because it could harm somebody. I am glad to answer other questions from my sources."
_DETECTED = {
    "injection": "reads like an attempt to change how the assistant works",
    "harm": "reads like a request that could harm somebody",
}


class Screens(Strict):
    """screens.yaml: the patterns that hold in every domain."""

    crisis_text: str  # said where no pack is in charge
    crisis: tuple[Rule, ...]
    injection: tuple[Rule, ...]
    abuse: tuple[Rule, ...]


@cache
def screens() -> Screens:
    """The general patterns, read once."""
    return Screens.model_validate(yaml.safe_load((Path(__file__).parent / "screens.yaml").read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Emergency:
    """Somebody may be in danger: which rule saw it, and what to say."""

    code: str
    reply: str


@dataclass(frozen=True, slots=True)
class Screened:
    """What the screens of the input found."""

    findings: tuple[Finding, ...]
    emergency: Emergency | None


def screen(heard: Heard, concerned: Sequence[Domain], domain: Domain | None) -> Screened:
    """Everything that is looked at before a question is answered; danger first, so that nobody in it is told off.

    Args:
        heard: the question.
        concerned: packs whose crisis rules hold, the one in charge first.
        domain: the pack in charge, if one is.
    """
    texts = tuple(dict.fromkeys((heard.text, *heard.readings)))
    try:
        danger = within(lambda: next(filter(None, (emergency(text, concerned, heard.signals) for text in texts)), None))
    except Exception as error:  # noqa: BLE001 - as in _fail_closed: who was not screened is not answered
        return Screened((Finding(CRASHED, "block", "input", type(error).__name__),), None)
    findings = [finding for number, text in enumerate(texts) for finding in _screened(text, domain, number == 0)]
    if danger:
        return Screened((*findings, Finding(danger.code, "block", "input", "a person may be in danger")), danger)
    if heard.hidden:
        findings.append(Finding("injection.hidden", "block", "input", f"hides what it says: {heard.hidden}"))
    return Screened((*findings, *_detected(heard.signals)), None)


def refusal(findings: Sequence[Finding], domain: Domain | None, text: str) -> str:
    """What is said to a blocked question: the pack's own words for what it refuses, ours for the rest."""
    codes = [finding.code for finding in findings if finding.severity == "block"]
    if any(code.startswith("injection.") for code in codes):
        return INJECTION
    if domain and not any(code == CRASHED for code in codes):
        rule = first(domain.rules.must_refuse, text)
        return (rule.reply if rule else None) or domain.manifest.refusals.policy
    return UNSCREENED if CRASHED in codes else HARM


def blocked(findings: Iterable[Finding]) -> bool:
    """Whether any finding forbids going on."""
    return any(finding.severity == "block" for finding in findings)


def emergency(text: str, domains: Sequence[Domain], signals: Signals | None = None) -> Emergency | None:
    """The first sign of a person in danger: the general rules, those of every live pack, then the trained head.

    Args:
        text: the question.
        domains: live packs, the chosen one first; their crisis texts answer.
        signals: what the detectors say of it.
    """
    plain = normalise(text)
    for crisis_text, rules in _crisis_rules(domains):
        for rule in rules:
            if applies(rule, plain):
                return Emergency(CRISIS + rule.code, rule.reply or crisis_text)
    if signals and signals.seen("crisis"):
        return Emergency(CRISIS + "sensed", domains[0].manifest.crisis_text if domains else screens().crisis_text)
    return None


def _crisis_rules(domains: Sequence[Domain]) -> Iterator[tuple[str, Sequence[Rule]]]:
    general = domains[0].manifest.crisis_text if domains else screens().crisis_text
    yield general, screens().crisis
    for domain in domains:
        yield domain.manifest.crisis_text, domain.rules.must_escalate


def applies(rule: Rule, text: str) -> bool:
    """Whether a rule's pattern is in a normalised text and none of its exceptions is.

    Raises:
        TimeoutError: a pattern took longer than ``PATIENCE``; such a text counts as unscreened.
    """
    return any(map(_finds(text), rule.any)) and not any(map(_finds(text), rule.unless))


def _finds(text: str) -> Callable[[str], bool]:
    """Whether a pattern is in ``text``; other threads go on meanwhile, so that a time limit can end the wait."""
    return lambda pattern: _compiled(pattern).search(text, concurrent=True, timeout=PATIENCE) is not None


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.IGNORECASE)


def first(rules: Iterable[Rule], text: str) -> Rule | None:
    """The first rule that applies."""
    plain = normalise(text)
    return next((rule for rule in rules if applies(rule, plain)), None)


def screen_input(text: str, domain: Domain | None) -> list[Finding]:
    """Findings about a question: personal data, injection, abuse, the domain's own check."""
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: _personal(text, "input"),
        lambda: _seen(text, screens().injection, "injection", "block"),
        lambda: _seen(text, screens().abuse, "abuse", "review"),
    ]
    if domain and (check := domain.hooks.check_input):
        checks.append(lambda: check(text))
    return [finding for check in checks for finding in _fail_closed(check, "input")]


def _screened(text: str, domain: Domain | None, as_written: bool) -> Iterator[Finding]:
    """Findings about one reading of a question; what is only seen once it is decoded says so."""
    for finding in screen_input(text, domain):
        if as_written:
            yield finding
        elif finding.severity == "block":
            yield replace(finding, quote=f"{finding.quote} (hidden in the text, or asked before)")


def _detected(signals: Signals | None) -> Iterator[Finding]:
    if signals is None:
        yield Finding(CRASHED, "block", "input", "the detectors gave no answer")
        return
    for name, reason in _DETECTED.items():
        if signals.seen(name):
            yield Finding(f"{name}.sensed", "block", "input", f"{reason} ({signals.probabilities[name]:.2f})")


def screen_output(sentence: str, evidence: Sequence[str], domain: Domain) -> list[Finding]:
    """Findings about one sentence of an answer; a block means that it is not shown.

    Args:
        sentence: the sentence.
        evidence: texts of the passages the answer rests on; personal data that stands there is public.
        domain: whose rules hold.
    """
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: _new_personal(sentence, evidence),
        lambda: _forbidden(sentence, domain.rules.must_not_say),
        lambda: facts.contradictions(sentence, domain.facts),
    ]
    if check := domain.hooks.check_output:
        checks.append(lambda: check(sentence, evidence))
    return [finding for check in checks for finding in _fail_closed(check, "output")]


@lru_cache(maxsize=4096)  # the same passages are found again and again
def is_order(text: str) -> bool:
    """Whether a retrieved text gives orders to the model, as planted instructions do, in disguise too."""
    plain = disguise.plain(text)
    return any(first(screens().injection, one) is not None for one in (text, plain, *disguise.readings(plain)))


def _personal(text: str, where: str) -> Iterator[Finding]:
    for kind in sorted({span.kind for span in pii.personal(text)}):
        yield Finding(f"pii.{kind}", "note", where, "masked before it is stored")


def _new_personal(sentence: str, evidence: Sequence[str]) -> Iterator[Finding]:
    for span in pii.find(sentence):
        if span.kind not in pii.INDIRECT and not any(sentence[span.start : span.end] in text for text in evidence):
            yield Finding(f"pii.{span.kind}", "block", "output", "personal data that no source holds")


def _seen(text: str, rules: Iterable[Rule], family: str, severity: Severity) -> Iterator[Finding]:
    if rule := first(rules, text):
        yield Finding(f"{family}.{rule.code}", severity, "input", rule.reason)


def _forbidden(sentence: str, rules: Iterable[Rule]) -> Iterator[Finding]:
    plain = normalise(sentence)
    for rule in rules:
        if applies(rule, plain):
            yield Finding(f"rule.{rule.code}", "block", "output", rule.reason)


def _fail_closed(check: Callable[[], Iterable[Finding]], where: str) -> list[Finding]:
    try:
        return within(lambda: list(check()))
    except Exception as error:  # noqa: BLE001 - a pack's code may raise anything; unscreened must never pass for clean
        return [Finding(CRASHED, "block", where, type(error).__name__)]
