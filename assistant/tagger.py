"""Finds names, places, addresses and the like by the words around them: a linear tagger, a millisecond or two a text.

It knows no numbers with checksums; ``assistant.pii`` does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import log_softmax
from sklearn.feature_extraction import FeatureHasher

SHIPPED = Path(__file__).parent / "heads"
CARD, WEIGHTS = "tagger.json", "tagger.safetensors"
COLUMNS = 2**15  # that features are hashed into
OUTSIDE = "O"
Token = tuple[int, int]  # start and end in the text
_TOKEN = re.compile(r"\d+|[^\W\d_]+|\n+|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class Tagger:
    """Weights of every tag; ``B-x`` begins a span of kind x and ``I-x`` goes on with it."""

    tags: tuple[str, ...]
    weights: NDArray[np.float32]  # [tags, COLUMNS]
    bias: NDArray[np.float32]  # [tags]; outside is held down so that few spans are missed
    digest: str  # SHA-256 of the weights' file

    def spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and kind of every span, in order."""
        places = tokens(text)
        if places:
            odds = hasher().transform(features(text, places)) @ self.weights.T + self.bias
            yield from joined(places, self._likeliest(log_softmax(odds, axis=1)))

    def _likeliest(self, odds: NDArray[np.float64]) -> list[str]:
        """The best sequence of tags in which nothing goes on that has not begun (Viterbi)."""
        allowed = _allowed(self.tags)
        score = odds[0] + np.where([tag.startswith("I-") for tag in self.tags], -np.inf, 0.0)
        back = []
        for row in odds[1:]:
            paths = score[:, None] + allowed
            back.append(paths.argmax(axis=0))
            score = paths.max(axis=0) + row
        path = [int(score.argmax())]
        for step in reversed(back):
            path.append(int(step[path[-1]]))
        return [self.tags[place] for place in reversed(path)]


@cache
def shipped() -> Tagger:
    """The tagger that ships, read once.

    Raises:
        ValueError: its files do not belong together.
    """
    raw = (SHIPPED / WEIGHTS).read_bytes()
    card = json.loads((SHIPPED / CARD).read_text(encoding="utf-8"))
    digest = hashlib.sha256(raw).hexdigest()
    if card["weights"] != digest:
        raise ValueError(f"{SHIPPED / WEIGHTS}: found sha256 {digest}, {CARD} says {card['weights']}; install it anew")
    arrays = load_file(SHIPPED / WEIGHTS)
    return Tagger(tuple(card["tags"]), arrays["weights"].astype(np.float32), arrays["bias"].astype(np.float32), digest)


@cache
def hasher() -> FeatureHasher:
    """Turns lists of features into rows: [n, COLUMNS]."""
    return FeatureHasher(COLUMNS, input_type="string")


def tokens(text: str) -> list[Token]:
    """Words, numbers, marks and line ends."""
    return [match.span() for match in _TOKEN.finditer(text)]


def joined(places: Sequence[Token], tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Spans of the tokens that belong together."""
    number = 0
    runs = []
    for place, tag in zip(places, tags, strict=True):
        number += tag == OUTSIDE or tag.startswith("B-")
        if tag != OUTSIDE:
            runs.append((number, place, tag[2:]))
    for _, run in groupby(runs, key=lambda one: one[0]):
        parts = list(run)
        yield parts[0][1][0], parts[-1][1][1], parts[0][2]


def features(text: str, places: Sequence[Token]) -> list[list[str]]:
    """What is looked at of each token: itself, its neighbours, their shapes, and its place in the line."""
    words = [text[start:end] for start, end in places]
    known = ["^^", "^^", "^^", *map(_word, words), "$$", "$$", "$$"]
    shapes = ["^^", "^^", "^^", *map(_shape, words), "$$", "$$", "$$"]
    glued = [left[1] == right[0] for left, right in pairwise(places)]
    line, rows = 0, []
    for place, (start, end) in enumerate(places):
        at = place + 3
        first = not text[text.rfind("\n", 0, start) + 1 : start].strip()
        rows.append([
            *_own(words[place]),
            *(f"w{d}={known[at + d]}" for d in (-3, -2, -1, 0, 1, 2, 3)),
            *(f"s{d}={shapes[at + d]}" for d in (-2, -1, 0, 1, 2)),
            f"before={known[at - 2]}|{known[at - 1]}",
            f"after={known[at + 1]}|{known[at + 2]}",
            f"left={known[at - 1]}|{shapes[at]}",
            f"right={shapes[at]}|{known[at + 1]}",
            f"shape3={'|'.join(shapes[at - 1 : at + 2])}",
            f"shape5={'|'.join(shapes[at - 2 : at + 3])}",
            f"glued={place > 0 and glued[place - 1]}{place < len(glued) and glued[place]}",
            f"first={first}",
            f"line={min(line, 4)}",
        ])  # fmt: skip
        line += text.count("\n", start, end)
    return rows


def _own(word: str) -> Iterator[str]:
    lower = word.lower()
    yield "any"
    if not word.isdigit():
        yield from (f"start={lower[:3]}", f"start={lower[:2]}", f"end={lower[-3:]}", f"end={lower[-2:]}")


def _word(word: str) -> str:
    return f"d{min(len(word), 6)}" if word.isdigit() else word.lower()


def _shape(word: str) -> str:
    if word.isdigit():
        return f"d{min(len(word), 6)}"
    if word.isupper():
        return "X" if len(word) > 1 else "A"
    return "Xx" if word[0].isupper() else "x" if word.islower() else word


@cache
def _allowed(tags: tuple[str, ...]) -> NDArray[np.float64]:
    """0 where one tag may follow another, minus infinity where not: [from, to]."""
    return np.array([[-np.inf if to.startswith("I-") and tag[2:] != to[2:] else 0.0 for to in tags] for tag in tags])
