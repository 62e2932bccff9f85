"""Finds personal data in a text and masks it: checksums where a number has one, a trained tagger for names. No network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import phonenumbers
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.cn import ric
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.se import personnummer
from stdnum.us import ssn

from assistant import tagger

# personal only beside something that names a person: a country or a company alone says nothing of anybody
INDIRECT = frozenset({"place", "organization", "nationality", "date", "age", "title", "postcode"})
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


def _is_bank_card(text: str) -> bool:
    """Twelve digits are a card only where a card is spoken of, Luhn or not."""
    return 12 <= len(re.sub(r"\D", "", text)) <= 19


_FOREIGN = re.compile(
    r"\b(?:ich|und|der|die|das|ist|nicht|wie|kann|meine?|wo|le|la|les|des|est|une?|et|je|vous|pour|que|el|los|las|es|por|"
    r"mi|il|di|che|non|sono|het|een|van|ik|niet)\b",
    re.IGNORECASE,
)
# how a span must look to be what the tagger says it is
_LOOKS = {
    "email": r"@.+\.",
    "card": r"^(?:\D*\d){12,19}\D*$",
    "phone": r"^(?!\d+\.\d+\.\d+\.\d+$)(?:\D*\d){7,15}\D*$",
    "ssn": r"^(?:\D*\d){9}\D*$",
    "iban": r"^[A-Za-z]{2}\d{2}",
    "ip_address": r"^\d+\.\d+\.\d+\.\d+$",
    "name": r"(?i)^(?!(?:dear|hi|hello|regards|thanks|please|\w+error|\w+exception)$).*[^\W\d_]{2}",
}
NEAR = 3  # characters between the parts of an address
_WORD = re.compile(r"[^\W\d_]{2}")
_STREETS = (
    "street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|way|close|square|terrace|place|crescent"
)
_PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]{1,64}@[\w-]{1,63}(?:\.[A-Za-z0-9_-]{2,63}){1,4}"), _accept),
    ("iban", re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.IGNORECASE), iban.is_valid),
    ("national_id", re.compile(r"(?<!\d)\d{17}[\dXx](?![\dA-Za-z])"), ric.is_valid),  # China
    ("national_id", re.compile(r"(?<![\dA-Za-z])(?:\d{8}|[XYZ]\d{7})-?[A-Z](?![A-Za-z\d])", re.IGNORECASE), lambda text: bool(dni.is_valid(text) or nie.is_valid(text))),
    ("national_id", re.compile(r"(?<!\d)[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}(?!\d)"), nir.is_valid),
    ("national_id", re.compile(r"(?<![A-Za-z])[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z](?![A-Za-z\d])", re.IGNORECASE), codicefiscale.is_valid),
    ("national_id", re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)"), cpf.is_valid),
    ("national_id", re.compile(r"(?<!\d)\d{6,8}[-+]\d{4}(?!\d)"), personnummer.is_valid),
    ("national_id", re.compile(r"(?<!\d)[2-9]\d{3} \d{4} \d{4}(?! ?\d)"), aadhaar.is_valid),
    ("card", re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?![\d])"), _is_card),
    ("card", re.compile(r"\b(?:credit |debit |bank )?card(?: number| no\.?)?(?: is)?[ :#]{1,3}(?P<it>\d(?:[ -]?\d){11,18})(?!\d)", re.IGNORECASE), _is_bank_card),
    ("phone", re.compile(r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)"), _accept),  # China, mobile
    ("phone", re.compile(r"(?:\b(?:phone|tel|telephone|mobile|cell|fax|office|call|answering|messages?)\b\.?(?: (?:number|no\.?))?(?: is| at| me at| to| on)?[ :#]{1,3})(?P<it>[+(]?\d[\d ()/.-]{5,18}\d)", re.IGNORECASE), _accept),
    ("ssn", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"), ssn.is_valid),
    ("ssn", re.compile(r"\b(?:ssn|social security(?: number)?)(?: is)?[ :#]{1,3}(?P<it>\d{3}[- ]?\d{2}[- ]?\d{4})(?!\d)", re.IGNORECASE), _accept),
    ("nhs_number", re.compile(r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b"), nhs.is_valid),
    ("national_insurance", re.compile(r"\b[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", re.IGNORECASE), _accept),
    ("ip_address", re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), _is_ip),
    ("account", re.compile(r"\b(?:account|acct|policy|patient|record|member|mrn|sort code)(?: (?:number|no\.?|id))?(?: is)?[ :#]{1,3}(?P<it>\d[\d -]{4,18}\d)\b", re.IGNORECASE), _accept),
    ("birth_date", re.compile(r"\b(?:born|birthday|birth|dob)\b[^.?!\n]{0,20}?(?P<it>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}(?:st|nd|rd|th)? \w{3,9},? \d{4}|\w{3,9} \d{1,2}(?:st|nd|rd|th)?,? \d{4})", re.IGNORECASE), _accept),
    ("address", re.compile(rf"\b\d{{1,5}}[a-zA-Z]? (?:[A-Z][\w'-]+ ){{1,3}}(?i:{_STREETS})\b\.?"), _accept),
    ("name", re.compile(r"(?:(?i:\bmy (?:full )?name(?: is|'s)|\bi am called|\bthis is|\bsigned,?|\bdear|\b(?:mr|mrs|ms|dr)\b\.?)) (?P<it>[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,3})"), _accept),
)  # fmt: skip


def find(text: str) -> list[Personal]:
    """Everything that may be personal data in ``text``, in order, without overlaps; a checked number wins."""
    kept = patterned(text)
    return sorted([*kept, *_tagged(text, kept)], key=lambda span: span.start)


def patterned(text: str) -> list[Personal]:
    """What a checksum or a pattern holds for personal data, in order, without overlaps; no name is guessed."""
    kept: list[Personal] = []
    for span in sorted([*_patterns(text), *_phones(text)], key=lambda span: (span.start, -span.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def personal(text: str) -> list[Personal]:
    """What says something of a person: all that names one, and places, dates and the like beside it."""
    found = find(text)
    named = any(span.kind not in INDIRECT for span in found)
    return found if named else []


def mask(text: str, public: Sequence[str] = ()) -> str:
    """``text`` with every span replaced by its kind: ``[card]``; what stands in a ``public`` text stays."""
    masked, at = [], 0
    for span in personal(text):
        if any(text[span.start : span.end] in known for known in public):
            continue
        masked += [text[at : span.start], f"[{span.kind}]"]
        at = span.end
    return "".join([*masked, text[at:]])


def digest() -> str:
    """SHA-256 of the weights that find names."""
    return tagger.shipped().digest


def _tagged(text: str, kept: Sequence[Personal]) -> Iterator[Personal]:
    if len(_FOREIGN.findall(text)) >= 3:  # it learned English: a German noun is no name
        return
    spans = [Personal(*span) for span in tagger.shipped().spans(text)]
    for span in spans:
        free = not any(span.start < other.end and other.start < span.end for other in kept)
        if free and re.search(_LOOKS.get(span.kind, ""), text[span.start : span.end]) and _located(span, spans, text):
            yield span


def _located(span: Personal, spans: Sequence[Personal], text: str) -> bool:
    """Whether an address has a word, or stands beside a part of it that has: a number alone is no address."""
    near = [other for other in spans if span.start - other.end <= NEAR and other.start - span.end <= NEAR]
    return span.kind != "address" or any(_WORD.search(text[other.start : other.end]) for other in near)


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
