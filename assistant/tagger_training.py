"""Trains the tagger of names and places on a set of annotated texts, on those with other values put in, and on honest
questions that name nobody.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

from assistant.drill import own_lines, variants
from assistant.tagger import CARD, OUTSIDE, WEIGHTS, Tagger, Token, features, hasher, tokens
from domains.pack import Domain
from retrieval.passage import sentences

KIND = {
    "PERSON": "name", "STREET_ADDRESS": "address", "GPE": "place", "ORGANIZATION": "organization",
    "CREDIT_CARD": "card", "DATE_TIME": "date", "PHONE_NUMBER": "phone", "TITLE": "title", "AGE": "age",
    "NRP": "nationality", "ZIP_CODE": "postcode", "EMAIL_ADDRESS": "email", "US_SSN": "ssn", "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip_address",
}  # fmt: skip
REFILLED = 2  # copies of each text with other values
HELD_DOWN = 1.0  # log odds taken from "outside": a span too many costs less than one missed
STRENGTH = 1.0  # inverse L2 regularisation
HONEST = 250  # questions to a bank, and half of the texts from the packs
SEED = 0
ATTRIBUTION = {
    "presidio_synth": "microsoft/presidio-research, synthetic, MIT",
    "banking77": "BANKING77, CC-BY-4.0, as texts that name nobody",
    "packs": "the shipped packs, Apache-2.0, as texts that name nobody",
    "own": "written for this product, Apache-2.0",
}
_SLOT = re.compile(r"\{([A-Z_]+)\}")
Place = tuple[int, int, str]  # start, end, type


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its spans, in order."""

    text: str
    spans: tuple[Place, ...]


def read(path: Path) -> list[Text]:
    """Annotated texts, one JSON object a line."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [Text(row["text"], tuple(sorted((s["start"], s["end"], s["type"]) for s in row["spans"]))) for row in rows]


def nobodies(data: Path, domains: Sequence[Domain]) -> list[str]:
    """Texts that name nobody: questions to a bank, the packs' lessons and sources, and our own with many numbers."""
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    lines = (data / "intents/banking77/train.jsonl").read_text(encoding="utf-8").split("\n")
    packs = [lesson.ask for domain in domains for lesson in domain.lessons]
    for article in (article for domain in domains for article in domain.articles):
        packs += [article.text[start:end] for start, end in sentences(article.text)]
    own = [text for line in own_lines("nobody") for text in variants(line)]
    return [*own, *(json.loads(line)["text"] for line in lines[:HONEST] if line), *chance.sample(packs, HONEST * 2)]


def train(annotated: Sequence[Text], nobody: Sequence[str], to: Path) -> dict[str, Any]:
    """Fit the tagger and write it.

    Args:
        annotated: texts with spans.
        nobody: texts without any.
        to: folder for the two files.

    Returns the card.
    """
    known = [*annotated, *refilled(annotated, REFILLED), *own(annotated), *(Text(text, ()) for text in nobody)]
    model = fit(known)
    # safetensors writes the buffer as it lies: by rows, or the weights are scrambled
    weights = np.ascontiguousarray(model.weights, dtype=np.float16)
    arrays: dict[str, NDArray[Any]] = {"weights": weights, "bias": model.bias}
    raw = save(arrays)
    card = {
        "tags": model.tags,
        "weights": hashlib.sha256(raw).hexdigest(),
        "texts": len(known),
        "trained_on": ATTRIBUTION,
        "recipe": f"logistic regression, C={STRENGTH}, {REFILLED} refilled copies, outside held down by {HELD_DOWN}",
    }
    (to / WEIGHTS).write_bytes(raw)
    # the card is written last: weights without it are a training that did not finish
    (to / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card


def fit(known: Sequence[Text]) -> Tagger:
    """A tagger from annotated texts."""
    rows: list[list[str]] = []
    tags: list[str] = []
    for one in known:
        places = tokens(one.text)
        rows += features(one.text, places)
        tags += tagged(one, places)
    model = LogisticRegression(C=STRENGTH, max_iter=150).fit(hasher().transform(rows), tags)
    bias = model.intercept_ - HELD_DOWN * (model.classes_ == OUTSIDE)
    return Tagger(tuple(model.classes_), model.coef_.astype(np.float32), bias.astype(np.float32), "")


def tagged(one: Text, places: Sequence[Token]) -> list[str]:
    """The tag of every token."""
    return [_tag(one, start, end) for start, end in places]


def _tag(one: Text, start: int, end: int) -> str:
    for first, last, kind in one.spans:
        if start < last and end > first:
            return f"{'B' if start <= first else 'I'}-{KIND[kind]}"
    return OUTSIDE


def refilled(annotated: Sequence[Text], copies: int) -> Iterator[Text]:
    """The same texts with values of other texts in their spans; a fifth of them in lower case."""
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    pool = _pool(annotated)
    for one in annotated:
        for _ in range(copies):
            pieces: list[tuple[str, str]] = []
            at = 0
            for start, end, kind in one.spans:
                pieces += [(one.text[at:start], ""), (chance.choice(pool[kind]), kind)]
                at = end
            filled = _joined([*pieces, (one.text[at:], "")])
            yield Text(filled.text.lower(), filled.spans) if chance.random() < 0.2 and _same_length(filled) else filled


def own(annotated: Sequence[Text]) -> Iterator[Text]:
    """Our texts, filled with the values of the annotated ones."""
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    pool = _pool(annotated)
    for line in own_lines("personal"):
        for text in variants(line.replace("\\n", "\n")) * 3:
            parts = _SLOT.split(text)
            yield _joined([(chance.choice(pool[part]), part) if n % 2 else (part, "") for n, part in enumerate(parts)])


def _pool(annotated: Sequence[Text]) -> dict[str, list[str]]:
    pool: dict[str, list[str]] = {}
    for one in annotated:
        for start, end, kind in one.spans:
            pool.setdefault(kind, []).append(one.text[start:end])
    return pool


def _joined(pieces: Sequence[tuple[str, str]]) -> Text:
    text, spans = "", []
    for piece, kind in pieces:
        if kind:
            spans.append((len(text), len(text) + len(piece), kind))
        text += piece
    return Text(text, tuple(spans))


def _same_length(one: Text) -> bool:
    """Lower case may change the length of a text in some scripts, and then its spans would not fit."""
    return len(one.text.lower()) == len(one.text)
