"""Finds personal data in a text and masks it. Checksums where a number has one; no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import phonenumbers
from stdnum import iban, luhn
from stdnum.gb import nhs
from stdnum.us import ssn

REGIONS = (None, "US", "GB", "DE")  # numbers with a country code first, then national forms


@dataclass(frozen=True, slots=True)
class Personal:
    """A span of personal data."""

    start: int
    end: int  # exclusive
    kind: str  # "email", "card", "iban", "phone", …


def _accept(_: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and bool(luhn.is_valid(digits)) and len(set(digits)) > 1


def _is_ip(text: str) -> bool:
    return all(int(part) < 256 for part in text.split("."))


_STREETS = (
    "street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|way|close|square|terrace|place|crescent"
)
_PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4}\b"), _accept),
    ("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", re.IGNORECASE), iban.is_valid),
    ("card", re.compile(r"\b\d(?:[ -]?\d){12,18}\b"), _is_card),
    ("ssn", re.compile(r"\b\d{3}-\d{2}-\d{4}\b"), ssn.is_valid),
    ("nhs_number", re.compile(r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b"), nhs.is_valid),
    ("national_insurance", re.compile(r"\b[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", re.IGNORECASE), _accept),
    ("ip_address", re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), _is_ip),
    ("account", re.compile(r"\b(?:account|acct|policy|patient|record|member|mrn|sort code)(?: (?:number|no\.?|id))?(?: is)?[ :#]{1,3}(?P<it>\d[\d -]{4,18}\d)\b", re.IGNORECASE), _accept),
    ("birth_date", re.compile(r"\b(?:born|birthday|birth|dob)\b[^.?!\n]{0,20}?(?P<it>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}(?:st|nd|rd|th)? \w{3,9},? \d{4}|\w{3,9} \d{1,2}(?:st|nd|rd|th)?,? \d{4})", re.IGNORECASE), _accept),
    ("address", re.compile(rf"\b\d{{1,5}}[a-zA-Z]? (?:[A-Z][\w'-]+ ){{1,3}}(?i:{_STREETS})\b\.?"), _accept),
    ("name", re.compile(r"(?:(?i:\bmy (?:full )?name(?: is|'s)|\bi am called|\bthis is|\bsigned,?)) (?P<it>[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,3})"), _accept),
)  # fmt: skip


def find(text: str) -> list[Personal]:
    """Personal data in ``text``, in order, without overlaps; the earlier and longer span wins."""
    kept: list[Personal] = []
    for span in sorted([*_patterns(text), *_phones(text)], key=lambda span: (span.start, -span.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def mask(text: str, public: Sequence[str] = ()) -> str:
    """``text`` with every span replaced by its kind: ``[card]``; what stands in a ``public`` text stays."""
    masked, at = [], 0
    for span in find(text):
        if any(text[span.start : span.end] in known for known in public):
            continue
        masked += [text[at : span.start], f"[{span.kind}]"]
        at = span.end
    return "".join([*masked, text[at:]])


def _patterns(text: str) -> Iterator[Personal]:
    for kind, pattern, check in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("it") if "it" in pattern.groupindex else match.span()
            if check(text[start:end]):
                yield Personal(start, end, kind)


def _phones(text: str) -> Iterator[Personal]:
    if sum(character.isdigit() for character in text) < 7:
        return
    for region in REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            yield Personal(match.start, match.end, "phone")
