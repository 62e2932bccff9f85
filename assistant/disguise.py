"""Undoes what hides a text from a filter: look-alike and spaced letters, leet, base64, hexadecimal, ROT13, reversal.

What it gives is only read by filters; search, model and people get the text as it was written.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator

from assistant.words import normalise, stop_words

MOST = 3  # readings beside the plain one, so that a hostile text cannot buy itself much work
LONGEST = 4_000  # characters that are read in another way
_LOOK_ALIKES = str.maketrans(
    "авсдеԁһіїјкӏмпорԛгѕтцѵхуԝАВСЕНІЈКМОРЅТХУαβεικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡ",
    "abcdedhiijklmnopqrstuvxywABCEHIJKMOPSTXYabeiknoptuxwABEZHIKMNOPTYXiag",
)
_LEET = str.maketrans("013457@$!", "oieastasi")
_LETTER_FOR_MARK = re.compile(r"[A-Za-z][013457@$!]|[013457@$!][A-Za-z]")
_HAS_LATIN = re.compile(r"[A-Za-z]")
_SPACED = re.compile(r"(?<!\w)(?:\w[ ._*-]){3,}\w(?!\w)")
_BASE64 = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/=])")
_HEX = re.compile(r"(?<!\w)(?:[0-9a-fA-F]{2} ?){10,}(?!\w)")
_WORD = re.compile(r"[a-z']+")


def plain(text: str) -> str:
    """Normalised, with stacked accents dropped, look-alike letters made Latin in Latin words, spaced letters joined."""
    folded = unicodedata.normalize("NFC", "".join(_unstacked(normalise(text))))
    latin = re.sub(r"\w+", _latin, folded)
    return _SPACED.sub(lambda spaced: re.sub(r"[ ._*-]", "", spaced[0]), latin)


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
    for match in _BASE64.finditer(text):
        yield from _read(base64.b64decode, match[0])
    for match in _HEX.finditer(text):
        yield from _read(bytes.fromhex, match[0])
    known = _english(text)
    for other in (codecs.encode(text, "rot13"), text[::-1]):
        if _english(other) > known + 1:
            yield other
    if _LETTER_FOR_MARK.search(text):
        yield text.translate(_LEET)


def _read(decode: Callable[[str], bytes], piece: str) -> Iterator[str]:
    try:
        words = decode(piece).decode("utf-8")
    except ValueError:  # binascii.Error and UnicodeDecodeError are of this kind
        return
    if words.isprintable() and _WORD.search(words):
        yield words


def _english(text: str) -> int:
    return sum(word in stop_words() for word in _WORD.findall(text.lower()))


def _latin(word: re.Match[str]) -> str:
    return word[0].translate(_LOOK_ALIKES) if _HAS_LATIN.search(word[0]) else word[0]


def _unstacked(text: str) -> Iterator[str]:
    """Letters with at most one mark each: two on one letter are no language but a disguise."""
    marks = 0
    for character in unicodedata.normalize("NFD", text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks < 2:
            yield character
