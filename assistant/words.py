"""Normalises text, and says which content words and quantities it holds. Knows nothing of meaning."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import snowballstemmer

from assistant.chinese import apart
from retrieval.tables import spaced

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u2212": "-", "\u00a0": " "})
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?", re.UNICODE)
_QUANTITY = re.compile(r"(?<![\w.])[-+]?\d+(?:[., ]\d{3})*(?:[.,]\d+)?(?![\d])")
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        (
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
            "sixteen seventeen eighteen nineteen twenty"
        ).split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90", "hundred": "100"}
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|neither|nor|without|cannot|nobody|nothing|\w+n't|unable|excluded?|except)\b", re.IGNORECASE
)
_DENIAL = re.compile("[不没沒无無未非勿禁]+[\u3400-\u9fff]?")  # Chinese, with the character that it denies
_LIMIT = re.compile(
    r"\b(?:least|most|more|less|fewer|over|under|above|below|up|maximum|minimum|within|before|after|per)\b"
    "|最多|至多|最少|至少|超过|不足|[高低大小多少]于"
)
_CONDITION = re.compile(
    r"\b(?:if|unless|only|except|until|when|while|before|after)\b|如果|若|除非|只有|只要|仅|直到|之[前后]|以[前后上下内]"
)
_OBLIGATION = re.compile(r"\b(?:must|should|may|might|can|could|always|every|all)\b")
_MODAL = {"might": "may", "can": "may", "could": "may"}
_STOP = frozenset(
    (
        "a about after all also am an and any are as at be because been before being but by can could did do "
        "does doing done for from get gets getting go going got had has have having he her here hers him his "
        "how i i'd i'll i'm i've if in into is it it's its just know let like long many may me might more "
        "most much must my need of on one or our ours out please say shall she should so some such take tell "
        "than that that's the their theirs them then there these they thing things this those to too until up "
        "us use very want was we were what what's when where which while who whom whose why will with would "
        "you you're your yours"
    ).split()
)
_stemmer = snowballstemmer.stemmer("english")


def normalise(text: str) -> str:
    """NFKC, without invisible characters, with plain quotes and dashes and single spaces in a line."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text).translate(_QUOTES))
    return re.sub(r"[^\S\n]+", " ", plain).strip()


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The English Snowball stem of one lower-case word."""
    return str(_stemmer.stemWord(word))


def stop_words() -> frozenset[str]:
    """The words that carry no meaning of their own."""
    return _STOP


def terms(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order; numbers and number words are left to ``quantities``.

    Of Chinese, overlapping pairs of characters, and single ones that stand between figures or function words.
    """
    words = (match[0].removesuffix("'s") for match in _TOKEN.finditer(apart(normalise(text).lower())))
    return [
        stem(word)
        for word in words
        if word not in _STOP and word not in _NUMBER_WORDS and (len(word) > 1 or spaced(word) != word)
    ]


def content(text: str) -> set[str]:
    """The set of ``terms``."""
    return set(terms(text))


def quantities(text: str) -> set[str]:
    """Numbers in a canonical form, number words included: ``1,200.50`` and ``1 200,50`` are equal, ``三十`` is 30."""
    plain = apart(normalise(text))
    digits = {_canonical(match[0]) for match in _QUANTITY.finditer(plain)}
    spelt = {_NUMBER_WORDS[word] for word in _TOKEN.findall(plain.lower()) if word in _NUMBER_WORDS}
    return digits | spelt


def bounds(text: str) -> set[tuple[str, str]]:
    """Quantities that a word before them makes a limit: ``{("least", "20")}`` for "at least 20 minutes"."""
    plain = apart(normalise(text).lower())
    figures = [(match.start(), _canonical(match[0])) for match in _QUANTITY.finditer(plain)]
    figures += [(m.start(), _NUMBER_WORDS[m[0]]) for m in _TOKEN.finditer(plain) if m[0] in _NUMBER_WORDS]
    return {(word, figure) for at, figure in figures for word in _LIMIT.findall(" ".join(plain[:at].split()[-3:]))}


def conditions(text: str) -> set[str]:
    """Words on which all depends: ``if``, ``unless``, ``only`` …"""
    return set(_CONDITION.findall(normalise(text).lower()))


def obligations(text: str) -> set[str]:
    """How strongly something is asked or allowed: ``must``, ``should``, ``may`` (and "can")."""
    return {_MODAL.get(word, word) for word in _OBLIGATION.findall(normalise(text).lower())}


def negations(text: str) -> set[str]:
    """``not`` for whatever negates in English, and of Chinese each negation with what it denies: ``{"不可"}``."""
    plain = normalise(text)
    return {*_DENIAL.findall(plain), *(["not"] if _NEGATION.search(plain) else [])}


def negated(text: str) -> bool:
    """Whether the text holds a negation."""
    return bool(negations(text))


def _canonical(number: str) -> str:
    sign = "-" if number.startswith("-") else ""
    body = number.lstrip("+-").replace(" ", "")
    decimal = max(body.rfind("."), body.rfind(","))
    if decimal >= 0 and _is_decimal(body, decimal):
        whole, fraction = re.sub(r"[.,]", "", body[:decimal]), body[decimal + 1 :].rstrip("0")
    else:
        whole, fraction = re.sub(r"[.,]", "", body), ""
    whole = whole.lstrip("0") or "0"
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _is_decimal(body: str, at: int) -> bool:
    """Whether the last mark is a decimal point: not followed by just three digits, or unlike the marks before it."""
    marks = body.count(".") + body.count(",")
    return len(body) - at - 1 != 3 or (marks > 1 and body[at] not in body[:at])
