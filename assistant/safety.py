"""Screens what comes in and what goes out. Checks report findings; ``blocked`` and ``emergency`` decide.

A check that raises is a block: what was not screened must never pass for clean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from assistant import pii
from assistant.words import normalise
from domains.api import Finding, Severity
from domains.manifest import Rule, Strict
from domains.pack import Domain

CRISIS = "crisis."  # starts the code of every emergency


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


def blocked(findings: Iterable[Finding]) -> bool:
    """Whether any finding forbids going on."""
    return any(finding.severity == "block" for finding in findings)


def emergency(text: str, domains: Sequence[Domain]) -> Emergency | None:
    """The first sign of a person in danger, by the general rules and those of every live pack.

    Args:
        text: the question.
        domains: live packs, the chosen one first; their crisis texts answer.
    """
    plain = normalise(text)
    for crisis_text, rules in _crisis_rules(domains):
        for rule in rules:
            if applies(rule, plain):
                return Emergency(CRISIS + rule.code, rule.reply or crisis_text)
    return None


def _crisis_rules(domains: Sequence[Domain]) -> Iterator[tuple[str, Sequence[Rule]]]:
    general = domains[0].manifest.crisis_text if domains else screens().crisis_text
    yield general, screens().crisis
    for domain in domains:
        yield domain.manifest.crisis_text, domain.rules.must_escalate


def applies(rule: Rule, text: str) -> bool:
    """Whether a rule's pattern is in a normalised text and none of its exceptions is."""
    if not any(re.search(pattern, text, re.IGNORECASE) for pattern in rule.any):
        return False
    return not any(re.search(pattern, text, re.IGNORECASE) for pattern in rule.unless)


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
    ]
    if check := domain.hooks.check_output:
        checks.append(lambda: check(sentence, evidence))
    return [finding for check in checks for finding in _fail_closed(check, "output")]


def is_order(text: str) -> bool:
    """Whether a retrieved text gives orders to the model, as planted instructions do."""
    return first(screens().injection, text) is not None


def _personal(text: str, where: str) -> Iterator[Finding]:
    for kind in sorted({span.kind for span in pii.find(text)}):
        yield Finding(f"pii.{kind}", "note", where, "masked before it is stored")


def _new_personal(sentence: str, evidence: Sequence[str]) -> Iterator[Finding]:
    for span in pii.find(sentence):
        if not any(sentence[span.start : span.end] in text for text in evidence):
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
        return list(check())
    except Exception as error:  # noqa: BLE001 - a pack's code may raise anything; unscreened must never pass for clean
        return [Finding("check.crashed", "block", where, type(error).__name__)]
