"""Does a passage support a sentence, contradict it, or hold nothing about it? The exact checks, and a trained head.

The exact checks of ``assistant.grounding`` decide alone where they can; the head weighs what they have no words for:
how much of the sentence stands in the passages, and what a judge says that reads it beside the closest of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from assistant.chinese import apart
from assistant.words import content, negated, quantities, stem
from retrieval.embedder import Embedder, SentenceEmbedder, Vectors
from retrieval.passage import Passage, sentences

if TYPE_CHECKING:
    from retrieval.judge import Judge

SHIPPED = Path(__file__).parent / "heads" / "entailment.json"
SUPPORT = Path(__file__).parent / "heads" / "support.safetensors"  # the judge
READ = 110  # words of the passages that the judge reads beside a sentence
CLOSE = 2  # spans that it also reads one by one
FEATURES = (
    "cosine_1",  # of the sentence and the closest span
    "cosine_2",  # … and the second closest
    "covered_1",  # share of its content words in the closest span
    "covered_best",  # … in the span that holds most of them
    "covered_any",  # … anywhere in the passages
    "pairs_any",  # share of its pairs of neighbouring content words that stand together anywhere
    "figures",  # whether it has quantities
    "figures_1",  # share of its quantities in the closest span
    "figures_any",  # … anywhere
    "names",  # whether it has names
    "names_any",  # share of its names that stand anywhere
    "negation_differs",  # from the closest span
    "negative",
    "length",
    "context",  # how much there is to support it
    "hedged",
)
JUDGED = (
    "read_together",  # log-odds of the judge on the closest spans joined
    "read_alone",  # … its highest on one of the closest spans
)
Row = NDArray[np.float64]
NAME = re.compile(r"(?<=[^.!?:\n] )\b[A-Z][\w-]*[\w]\b|\b[A-Z]{2,}\w*\b")
HEDGE = re.compile(r"\b(?:may|might|could|possibly|perhaps|likely|suggests?|often|sometimes|overall|in general)\b")
WORD = re.compile(r"[^\W\d_]+")


class Verdict(Enum):
    """What the passages say about a sentence."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NO_EVIDENCE = "no evidence"


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence's verdict, the probability that it is supported, and the span closest to it."""

    verdict: Verdict
    probability: float
    passage: Passage | None
    start: int = 0  # in the passage's text
    end: int = 0  # exclusive


@dataclass(frozen=True, slots=True)
class EntailmentHead:
    """Logistic regression over standardised ``FEATURES``, and over what the judge says, where there is one."""

    weights: Row
    mean: Row
    scale: Row
    bias: float
    threshold: float  # probability from which a sentence counts as supported
    digest: str  # SHA-256 of its card

    def probability(self, row: Row) -> float:
        """Probability that a sentence is supported, [0, 1]."""
        return float(expit((row - self.mean) / self.scale @ self.weights + self.bias))


@cache
def shipped(judged: bool = False) -> EntailmentHead:
    """The head that ships, read once: the one that looks at ``FEATURES``, or the one that asks the judge, too.

    Raises:
        ValueError: it was trained on other features.
    """
    raw = SHIPPED.read_bytes()
    card = json.loads(raw)
    if (found := tuple(card["features"])) != FEATURES + JUDGED:
        raise ValueError(f"{SHIPPED} was trained on {found}, this version computes {FEATURES + JUDGED}")
    head = card["heads"]["judged" if judged else "words"]
    weights, mean, scale = (np.asarray(head[name], dtype=np.float64) for name in ("weights", "mean", "scale"))
    return EntailmentHead(weights, mean, scale, head["bias"], head["threshold"], hashlib.sha256(raw).hexdigest())


def support(embedder: Embedder) -> Judge | None:
    """The judge that ships, where it was made for this embedding model."""
    card = json.loads(SUPPORT.with_suffix(".json").read_text(encoding="utf-8"))
    if not isinstance(embedder, SentenceEmbedder) or card["embedder"] != embedder.fingerprint:
        return None
    from retrieval.judge import Judge  # late: torch

    return Judge(embedder, SUPPORT)


def judge(
    claims: Sequence[str], passages: Sequence[Passage], embedder: Embedder, reader: Judge | None = None
) -> list[Judged]:
    """What the passages say about each claim. Everything is embedded in one go.

    Args:
        claims: sentences.
        passages: what they are held against.
        embedder: embeds both.
        reader: reads them together; without one the words decide.
    """
    spans = [(passage, start, end) for passage in passages for start, end in sentences(passage.text)]
    if not spans or not claims:
        return [Judged(Verdict.NO_EVIDENCE, 0.0, None) for _ in claims]
    texts = [passage.text[start:end] for passage, start, end in spans]
    vectors = embedder.embed([*texts, *claims])
    known = [Words(text) for text in texts]
    head = shipped(reader is not None)
    found = [
        features(Words(claim), vector, known, vectors[: len(texts)])
        for claim, vector in zip(claims, vectors[len(texts) :], strict=True)
    ]
    read = read_beside(claims, [texts] * len(claims), [known] * len(claims), reader) if reader else None
    judged = []
    for number, (row, best) in enumerate(found):
        probability = head.probability(row if read is None else np.append(row, read[number]))
        judged.append(Judged(_verdict(probability, head.threshold, row), probability, *spans[best]))
    return judged


def read_beside(
    claims: Sequence[str], texts: Sequence[Sequence[str]], known: Sequence[Sequence[Words]], reader: Judge
) -> Row:
    """What the judge says of each claim beside its spans: [claims, len(JUDGED)]."""
    pairs: list[tuple[str, str]] = []
    for claim, spans, words in zip(claims, texts, known, strict=True):
        order = closest(Words(claim), words)
        pairs.append((together(order, spans), claim))
        pairs += [(spans[order[min(place, len(order) - 1)]], claim) for place in range(CLOSE)]
    odds = reader.log_odds([first for first, _ in pairs], [second for _, second in pairs])[:, 0]
    table = odds.reshape(len(claims), 1 + CLOSE)
    return np.column_stack([table[:, 0], table[:, 1:].max(axis=1)])


def closest(claim: Words, spans: Sequence[Words]) -> list[int]:
    """Places of the spans, those first that hold most of the claim's words, figures and names."""
    wanted = claim.words | claim.figures
    shares = [_share(wanted, span.words | span.figures) + 0.5 * _share(claim.pairs, span.pairs) for span in spans]
    return sorted(range(len(spans)), key=lambda place: -shares[place])


def together(order: Sequence[int], texts: Sequence[str]) -> str:
    """The closest spans up to ``READ`` words, each with the one before it if it fits, as they stand in the text."""
    chosen: set[int] = set()
    words = 0
    for place in order:
        for one in (place, place - 1):
            if one < 0 or one in chosen:
                continue
            length = len(texts[one].split())
            if chosen and words + length > READ:
                continue
            chosen.add(one)
            words += length
        if words >= READ * 0.8:
            break
    return " ".join(texts[place] for place in sorted(chosen))


def _verdict(probability: float, threshold: float, row: Row) -> Verdict:
    values = dict(zip(FEATURES, row, strict=True))
    if probability >= threshold:
        return Verdict.SUPPORTED
    about = values["covered_1"] >= 0.6 and values["cosine_1"] >= 0.7  # it speaks of the same thing
    differs = values["negation_differs"] or values["figures_1"] < 1
    return Verdict.CONTRADICTED if about and differs else Verdict.NO_EVIDENCE


class Words:
    """What a text says, taken apart once."""

    def __init__(self, text: str) -> None:
        plain = text.lower()
        self.text = plain
        self.words = content(text)
        self.figures = quantities(text)
        self.names = {name.lower() for name in NAME.findall(text)}
        self.negative = negated(text)
        self.hedged = bool(HEDGE.search(plain))
        order = [stem(word) for word in WORD.findall(apart(plain)) if stem(word) in self.words]
        self.pairs = set(pairwise(order))


def features(claim: Words, vector: Vectors, spans: Sequence[Words], vectors: Vectors) -> tuple[Row, int]:
    """The numbers the head looks at, [len(FEATURES)], and the place of the closest span.

    Args:
        claim: the sentence.
        vector: [d], its embedding.
        spans: n sentences of the passages.
        vectors: [n, d], theirs.
    """
    cosines = vectors @ vector
    covered = np.array([_share(claim.words, span.words) for span in spans])
    best = int(np.argmax(cosines + covered))
    closest = spans[best]
    ordered = np.sort(cosines)
    words: set[str] = set().union(*(span.words for span in spans))
    figures: set[str] = set().union(*(span.figures for span in spans))
    pairs: set[tuple[str, str]] = set().union(*(span.pairs for span in spans))
    row = np.array([
        ordered[-1],
        ordered[-2] if len(ordered) > 1 else 0.0,
        covered[best],
        covered.max(),
        _share(claim.words, words),
        _share(claim.pairs, pairs),
        float(bool(claim.figures)),
        _share(claim.figures, closest.figures),
        _share(claim.figures, figures),
        float(bool(claim.names)),
        _share(claim.names, {name for name in claim.names if any(name in span.text for span in spans)}),
        float(claim.negative != closest.negative),
        float(claim.negative),
        min(len(claim.words), 20) / 20,
        min(len(spans), 20) / 20,
        float(claim.hedged),
    ])  # fmt: skip
    return row, best


def _share(wanted: Collection[object], known: Collection[object]) -> float:
    return len(set(wanted) & set(known)) / len(wanted) if wanted else 1.0
