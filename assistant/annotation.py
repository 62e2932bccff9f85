"""A person's labelling of raw texts, step by step: what is known so far, and what follows from it. Asks nobody."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant import formats, labelling
from assistant.dataset import DataError
from assistant.head import Predicted
from assistant.labelling import Cluster, Doubt
from domains.manifest import Sentiment
from retrieval.embedder import Embedder, Vectors

MOST = 5_000  # texts that are labelled at once
SURE_AT = 0.8  # probability from which a proposal is written


@dataclass(frozen=True, slots=True)
class Annotation:
    """Texts and what a person said about them."""

    texts: tuple[str, ...]
    vectors: Vectors  # [n, d]
    groups: tuple[Cluster, ...]  # that are not named yet
    known: dict[int, str] = field(default_factory=dict)  # by a person, or by the file
    kept: frozenset[int] = frozenset()  # labels that looked wrong and are right


@dataclass(frozen=True, slots=True)
class View:
    """What follows from what is known."""

    labels: tuple[str, ...]
    proposals: tuple[Predicted, ...]  # one for each text; empty below two labels
    asked: int | None  # the text whose label would teach most
    doubts: tuple[Doubt, ...]  # with places among all texts, likeliest wrong first


def begin(path: Path, embedder: Embedder) -> Annotation:
    """Read a file of texts, some of which may carry a 'label', and group them.

    Raises:
        DataError: it cannot be read, has no column 'text', or holds too many rows.
    """
    rows = [row for row in formats.read(path) if str(row.get("text", "")).strip()]
    if not 2 <= len(rows) <= MOST:
        raise DataError(f"{path.name}: {len(rows)} rows with a 'text'; between 2 and {MOST:,} are labelled at once")
    texts = tuple(str(row["text"]) for row in rows)
    vectors = embedder.embed(texts)
    known = {place: label for place, row in enumerate(rows) if (label := slug(str(row.get("label") or "")))}
    return Annotation(texts, vectors, tuple(labelling.clusters(texts, vectors)), known)


def slug(label: str) -> str:
    """A label as packs name intents: small letters, digits and underscores."""
    return re.sub(r"\W+", "_", label.strip().lower()).strip("_")[:40]


def name(annotation: Annotation, group: int, label: str, central: int = 3) -> Annotation:
    """Give the most central texts of a group its label; the others get proposals."""
    chosen = annotation.groups[group].members[:central]
    rest = annotation.groups[:group] + annotation.groups[group + 1 :]
    return replace(annotation, groups=rest, known=annotation.known | dict.fromkeys(chosen, label))


def answer(annotation: Annotation, place: int, label: str) -> Annotation:
    """Take a person's label of one text; a label that looked wrong is right once they confirm it."""
    return replace(annotation, known=annotation.known | {place: label}, kept=annotation.kept | {place})


def view(annotation: Annotation) -> View:
    """Proposals, the next question, and labels that look wrong."""
    known = annotation.known
    if len(set(known.values())) < 2:
        return View(tuple(sorted(set(known.values()))), (), None, ())
    labels, odds = labelling.spread(annotation.vectors, known)
    places = sorted(known)
    doubts = [
        replace(doubt, place=places[doubt.place])
        for doubt in labelling.doubts(annotation.vectors[places], [known[place] for place in places])
    ]
    return View(
        labels,
        tuple(labelling.proposals(labels, odds)),
        labelling.next_question(annotation.vectors, odds, known),
        tuple(doubt for doubt in doubts if doubt.place not in annotation.kept),
    )


def examples(
    annotation: Annotation, seen: View, mood: Callable[[Vectors], tuple[Sentiment, float]]
) -> list[dict[str, Any]]:
    """The rows of a pack's examples.jsonl: what a person labelled, and what is proposed surely enough."""
    return [
        {"text": text, "intent": label, "sentiment": mood(vector)[0]}
        for text, vector, (label, sure) in zip(annotation.texts, annotation.vectors, seen.proposals, strict=False)
        if sure >= SURE_AT
    ]
