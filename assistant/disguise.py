"""Undoes what hides a text from a filter: look-alike and spaced letters, leet, base64, hexadecimal, ROT13, reversal.

What it gives is only read by filters; search, model and people get the text as it was written.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from assistant.record import LONGEST
from assistant.words import normalise, stop_words

MOST = 3  # readings beside the plain one, so that a hostile text cannot buy itself much work
_LOOK_ALIKES = str.maketrans(
    "авсдеԁһіїјкӏмпорԛгѕтцѵхуԝАВСЕНІЈКМОРЅТХУαβεικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡ",
    "abcdedhiijklmnopqrstuvxywABCEHIJKMOPSTXYabeiknoptuxwABEZHIKMNOPTYXiag",
)
_LEET = str.maketrans("013457@$!", "oieastasi")
_LETTER_FOR_MARK = re.compile(r"[A-Za-z][013457@$!]|[013457@$!][A-Za-z]")
_LATIN = re.compile(r"[A-Za-z]")
_MIXED = 2  # words of two scripts from which a text is disguised and not mistyped
_PROSE = 3  # words that make what was decoded a message and no accident
_SPACED = re.compile(r"(?<!\w)(?:\w[ ._*-]){3,}\w(?!\w)")
_BASE64 = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/=])")
_HEX = re.compile(r"(?<!\w)(?:[0-9a-fA-F]{2} ?){10,}(?!\w)")
_WORD = re.compile(r"[a-z']+")
_EVERYDAY = Path(__file__).parent / "drills"
_OFTEN = 2  # times that a word stands there


def plain(text: str) -> str:
    """Normalised, with stacked accents dropped, look-alike letters made Latin in Latin text, spaced letters joined."""
    folded = unicodedata.normalize("NFC", "".join(_unstacked(normalise(text))))
    within = 2 * len(_LATIN.findall(folded)) > sum(map(str.isalpha, folded))
    latin = re.sub(r"\w+", lambda word: _latin(word[0], within), folded)
    return _SPACED.sub(lambda spaced: re.sub(r"[ ._*-]", "", spaced[0]), latin)


def hidden(text: str) -> str | None:
    """How a text hides what it says, in words for a person; None where it does not.

    Honest texts are not written backwards, in base64, hexadecimal or ROT13, or in words of two alphabets.
    """
    folded = normalise(text)[:LONGEST]
    if sum(_mixed(word) for word in re.findall(r"\w+", folded)) >= _MIXED:
        return "look-alike letters of another alphabet"
    for way, said in _encoded(plain(folded)):
        if len(_WORD.findall(said.lower())) >= _PROSE:
            return way
    return None


def readings(text: str) -> list[str]:
    """What else a plain text may say when it is decoded; mostly nothing, at most ``MOST``."""
    found: list[str] = []
    for other in _decoded(text[:LONGEST]):
        if other not in (text, *found):
            found.append(other)
        if len(found) == MOST:
            break
    return found


def _decoded(text: str) -> Iterator[str]:
    yield from (said for _, said in _encoded(text))
    if _LETTER_FOR_MARK.search(text):
        yield text.translate(_LEET)


def _encoded(text: str) -> Iterator[tuple[str, str]]:
    """In which way, and what it says."""
    for match in _BASE64.finditer(text):
        yield from (("base64", said) for said in _read(base64.b64decode, match[0]))
    for match in _HEX.finditer(text):
        yield from (("hexadecimal", said) for said in _read(bytes.fromhex, match[0]))
    known = _english(text)
    for way, other in (("ROT13", codecs.encode(text, "rot13")), ("backwards", text[::-1])):
        seen = _english(other)
        if seen >= _PROSE and seen > 2 * known and 3 * seen >= len(other.split()):
            yield way, other


def _read(decode: Callable[[str], bytes], piece: str) -> Iterator[str]:
    try:
        words = decode(piece).decode("utf-8")
    except ValueError:  # binascii.Error and UnicodeDecodeError are of this kind
        return
    if words.isprintable() and _WORD.search(words):
        yield words


def _english(text: str) -> int:
    return sum(word in _common() for word in _WORD.findall(text.lower()))


@cache
def _common() -> frozenset[str]:
    """Words of everyday messages; those of two letters are left out, as half of them are words backwards, too."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(_EVERYDAY.glob("*.txt"))]
    counted = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    often = {word for word, times in counted.items() if times >= _OFTEN}
    return frozenset(word for word in often | stop_words() if len(word) > 2)


def _latin(word: str, within: bool) -> str:
    """The word in Latin letters where it mixes them with look-alikes, or is made of them ``within`` Latin text."""
    if _LATIN.search(word):
        return word.translate(_LOOK_ALIKES)
    alike = word.translate(_LOOK_ALIKES)
    return alike if within and len(word) > 1 and alike.isascii() and alike.isalpha() else word


def _mixed(word: str) -> bool:
    """Whether a word has Latin letters and look-alikes of other alphabets; Greek is left out, as in \u03b1-blocker."""
    return bool(_LATIN.search(word)) and any("\u0400" <= letter <= "\u052f" for letter in word)


def _unstacked(text: str) -> Iterator[str]:
    """Letters with at most one mark each: two on one letter are no language but a disguise."""
    marks = 0
    for character in unicodedata.normalize("NFD", text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks < 2:
            yield character
