"""Prepares texts for training: cleans, masks, balances and splits without leakage, and counts what it changed."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from assistant import pii
from assistant.dataset import DataError
from assistant.formats import Row
from assistant.words import normalise

NEAR = 0.9  # cosine of pieces of words from which two texts are near-duplicates
BLOCK = 1000  # texts compared with all others at once
_COMMON = {
    "en": "the and is to of in my you for it what how can not this i do",
    "de": "der die das und ist nicht ich zu ein eine mit wie kann mein auf den",
    "fr": "le la les et est je ne pas un une des que pour mon comment dans",
    "es": "el los las y es que no un una mi para como por con puedo está",
    "it": "il gli e è che non un una mio per come con posso della di sono",
    "pt": "o os as e é que não um uma meu para como com posso do da",
    "nl": "de het een en is niet ik mijn van dat hoe kan voor op met te",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


@dataclass(frozen=True, slots=True)
class Changes:
    """What cleaning did, in rows."""

    read: int
    normalised: int
    empty: int
    duplicates: int
    near_duplicates: int
    contradictions: int  # the same text with several labels: all its rows go
    masked: int
    other_language: int
    balanced_away: int
    kept: int


def clean(
    rows: Sequence[Row], *, near: float = NEAR, language: str | None = None, most: int | None = None, seed: int = 0
) -> tuple[list[Row], Changes]:
    """Normalise, mask, and drop what is empty, repeated, contradictory, or in another language.

    Args:
        rows: with a ``text``, and a ``label`` or not.
        near: similarity from which a text repeats an earlier one; above 1 none does.
        language: keep only this one, as ``stats`` names it.
        most: rows kept of each label, drawn by ``seed``.
        seed: of that draw.

    Raises:
        DataError: a row has no text.
    """
    texts = [_text(row, number) for number, row in enumerate(rows, start=1)]
    plain = [normalise(text) for text in texts]
    safe = [pii.mask(text) for text in plain]
    filled = [{**row, "text": text} for row, text in zip(rows, safe, strict=True) if text]
    spoken = [row for row in filled if language is None or language_of(row["text"]) == language]
    agreed = _agreed(spoken)
    single = _first(agreed)
    apart = _apart(single, near)
    even = _balanced(apart, most, seed) if most else apart
    return even, Changes(
        read=len(rows),
        normalised=sum(a != b for a, b in zip(texts, plain, strict=True)),
        empty=len(rows) - len(filled),
        duplicates=len(agreed) - len(single),
        near_duplicates=len(single) - len(apart),
        contradictions=len(spoken) - len(agreed),
        masked=sum(a != b for a, b in zip(plain, safe, strict=True)),
        other_language=len(filled) - len(spoken),
        balanced_away=len(apart) - len(even),
        kept=len(even),
    )


def split(rows: Sequence[Row], shares: dict[str, float], *, near: float = NEAR, seed: int = 0) -> dict[str, list[Row]]:
    """Cut rows into named parts; near-duplicates stay together, and each label is spread by the shares.

    Raises:
        DataError: the shares are not positive, or a row has no text.
    """
    if not shares or min(shares.values()) <= 0:
        raise DataError(f"expected positive shares, found {shares}")
    texts = [_text(row, number) for number, row in enumerate(rows, start=1)]
    groups: dict[int, list[int]] = {}
    for place, group in enumerate(_groups(texts, near)):
        groups.setdefault(int(group), []).append(place)
    order = list(groups.values())
    random.Random(seed).shuffle(order)  # noqa: S311 - an order
    total = sum(shares.values())
    parts: dict[str, list[int]] = {name: [] for name in shares}
    filled: dict[str, Counter[str]] = {name: Counter() for name in shares}
    for group in order:
        label = str(rows[group[0]].get("label", ""))
        emptiest = min(shares, key=lambda name: filled[name][label] / (shares[name] / total))
        parts[emptiest] += group
        filled[emptiest][label] += len(group)
    return {name: [rows[place] for place in sorted(places)] for name, places in parts.items()}


def stats(rows: Sequence[Row], near: float = NEAR) -> dict[str, Any]:
    """Counts that tell whether data can be trained on."""
    texts = [_text(row, number) for number, row in enumerate(rows, start=1)]
    lengths = sorted(len(text.split()) for text in texts)
    return {
        "rows": len(rows),
        "labels": dict(Counter(str(row["label"]) for row in rows if "label" in row).most_common()),
        "words": {"median": lengths[len(lengths) // 2], "longest": lengths[-1]},
        "languages": dict(Counter(map(language_of, texts)).most_common()),
        "duplicates": len(texts) - len({_same(text) for text in texts}),
        "near_duplicates": len(texts) - len(set(_groups(texts, near))),
        "personal_data": dict(Counter(span.kind for text in texts for span in pii.find(text)).most_common()),
    }


def language_of(text: str) -> str:
    """A language by its script or its commonest words; "unknown" where neither tells."""
    letters = [character for character in text if character.isalpha()]
    for name, first, last in (("ja", "\u3040", "\u30ff"), ("ko", "\uac00", "\ud7a3"), ("zh", "\u4e00", "\u9fff"),
                              ("ru", "\u0400", "\u04ff"), ("ar", "\u0600", "\u06ff")):  # fmt: skip
        if sum(first <= letter <= last for letter in letters) > 0.2 * len(letters):
            return name
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = {language: sum(word in common for word in words) for language, common in _WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else "unknown"


def as_dict(changes: Changes) -> dict[str, int]:
    """The counts by name."""
    return asdict(changes)


def _text(row: Row, number: int) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise DataError(f"row {number}: no 'text', found the keys {', '.join(map(str, row))}; name the column of texts")
    return text


def _same(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _agreed(rows: Sequence[Row]) -> list[Row]:
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(_same(row["text"]), set()).add(str(row.get("label")))
    return [row for row in rows if len(labels[_same(row["text"])]) == 1]


def _first(rows: Sequence[Row]) -> list[Row]:
    return list({_same(row["text"]): row for row in reversed(rows)}.values())[::-1]


def _apart(rows: Sequence[Row], near: float) -> list[Row]:
    groups = _groups([row["text"] for row in rows], near)
    first = {int(group): place for place, group in reversed(list(enumerate(groups)))}
    return [rows[place] for place in sorted(first.values())]


def _groups(texts: Sequence[str], near: float) -> Any:
    """[n]: texts with the same number are near-duplicates, directly or through others."""
    if near > 1 or len(texts) < 2:
        return np.arange(len(texts))
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3)).fit_transform([f" {_same(t)} " for t in texts])
    rows, columns = zip(*_pairs(vectors, near), strict=True)
    links = np.concatenate(rows), np.concatenate(columns)
    graph = coo_matrix((np.ones(len(links[0])), links), shape=(len(texts), len(texts)))
    return connected_components(graph, directed=False)[1]


def _pairs(vectors: Any, near: float) -> Iterator[tuple[Any, Any]]:
    for start in range(0, vectors.shape[0], BLOCK):
        close = (vectors[start : start + BLOCK] @ vectors.T).tocoo()
        kept = close.data >= near
        yield close.row[kept] + start, close.col[kept]


def _balanced(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    chance = random.Random(seed)  # noqa: S311 - draws a sample
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(str(row.get("label")), []).append(place)
    kept = sorted(one for group in places.values() for one in chance.sample(group, min(most, len(group))))
    return [rows[place] for place in kept]
