"""Which countries, and parts of them, a text names, and whether one place may stand for another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("places.txt")
LIST_FROM = 3  # places in one sentence from which it lists them: "we deliver to …" also speaks of those it leaves out
_NO_PLACE = re.compile(
    r"\bAmerican Express\b|\bGerman measles\b|\bSpanish flu\b|\bJapanese encephalitis\b|\bWest Nile\b|"
    r"\b(?:\w+ )?sign language\b|\b(?:French|Chinese|Greek|Swiss)[ -]"
    r"(?:press|doors?|windows?|food|medicine|cheese|army|breakfast)\b",
    re.IGNORECASE,
)


def named(text: str) -> frozenset[str]:
    """The places in ``text``, each by the first of its names."""
    plain = _NO_PLACE.sub(" ", text)
    return frozenset(names[match[0].lower()] for pattern, names in _patterns() for match in pattern.finditer(plain))


def elsewhere(asked: frozenset[str], said: frozenset[str]) -> bool:
    """Whether what is said of ``said`` is no answer to a question about ``asked``.

    False where either names no place, where one lies in the other, and where ``said`` is a list.
    """
    if not asked or not said or len(said) >= LIST_FROM:
        return False
    around = _around()
    return not any(one in around[other] or other in around[one] for one in asked for other in said)


@cache
def _rows() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return tuple(_read())


def _read() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            places, _, wider = line.partition("|")
            yield from ((_split(names), _split(wider)) for names in places.split(";"))


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@cache
def _first() -> dict[str, str]:
    """The first name of the place that each name means."""
    return {name: names[0] for names, _ in _rows() for name in names}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], dict[str, str]], ...]:
    """Names in capitals are told from words ("us"); all others may be written in any case."""
    first, made = _first(), []
    for flags, group in (
        (re.NOFLAG, [name for name in first if name.isupper()]),
        (re.IGNORECASE, [name for name in first if not name.isupper()]),
    ):
        longest = "|".join(re.escape(name) for name in sorted(group, key=len, reverse=True))
        made.append(
            (re.compile(rf"(?<![\w.])(?:{longest})(?!\w)", flags), {name.lower(): first[name] for name in group})
        )
    return tuple(made)


@cache
def _around() -> dict[str, frozenset[str]]:
    """For each place, itself and what it lies in."""
    wider = {names[0]: {_first().get(name, name) for name in above} for names, above in _rows()}
    for above in [*wider.values()]:
        wider.update((name, set()) for name in above if name not in wider)
    return {name: frozenset(_climb(name, wider)) for name in wider}


def _climb(name: str, wider: dict[str, set[str]]) -> Iterator[str]:
    yield name
    for above in wider[name]:
        yield from _climb(above, wider)
