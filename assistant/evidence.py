"""The evidence gate: how likely is it that the passages found answer the question? Trained on the packs' lessons."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assistant.words import content, quantities
from retrieval.passage import Hit, sentences
from retrieval.storage import Index

SHIPPED = Path(__file__).parent / "heads" / "evidence.json"
FEATURES = (
    "cosine_1",  # best passage
    "cosine_2",
    "sentence_1",  # best sentence
    "sentence_margin",  # over the best sentence of another passage
    "coverage_1",  # share of the question's content words, weighted by rarity, in the best passage
    "coverage_sentence",  # … in its best sentence with the heading
    "coverage_any",  # … in any of the passages
    "unknown",  # share that stands nowhere in the index
    "heaviest_missing",  # the rarest word that the best passage lacks
    "agreement",  # whether words and meaning agree on the best passage
    "length",
    "known",  # similarity to the closest known question that one of the passages answers
    "unanswered",  # … to the closest known question that nothing answers
    "read_best",  # the cross-encoder's highest log-odds of a sentence; 0 where there is none
    "read_first",  # … of the likeliest sentence
    "read_any",  # … that any of the sentences answers
    "lacks_figure",  # whether a figure is asked for, and the likeliest sentence gives none
)
_ASKS_FIGURE = re.compile(
    r"\bhow (?:much|many|long|old|soon|late|early|often|far|high|low|big|quickly|fast|close)\b|"
    r"\b(?:until|by|since) when\b|\b(?:what|which) age\b|\bset (?:me|us|you) back\b|\bat (?:most|least)\b|"
    r"\b(?:percentage|per ?cent|rates?|bands?|limits?|allowance|phone number|price|costs?|fees?|deadline|dose|dosage|"
    r"normal range|maximum|minimum)\b",
    re.IGNORECASE,
)
_IN_WORDS = re.compile(
    r"\b(?:free|once|twice|half|double|immediately|daily|weekly|monthly|yearly|never)\b", re.IGNORECASE
)
Row = NDArray[np.float64]
Kind = Literal["plain", "read", "read_known"]  # without a cross-encoder; with one; … in a pack with lessons


@dataclass(frozen=True, slots=True)
class EvidenceHead:
    """Logistic regression over ``FEATURES``."""

    weights: tuple[float, ...]
    bias: float
    digest: str  # SHA-256 of the card it was read from

    def probability(self, row: Row) -> float:
        """Probability that the passages answer the question, [0, 1]."""
        return 1.0 / (1.0 + math.exp(-float(np.dot(self.weights, row) + self.bias)))


def load(path: Path = SHIPPED, kind: Kind = "plain") -> EvidenceHead:
    """Read a head from its JSON card, which holds one for each kind of pack and machine."""
    raw = path.read_bytes()
    card = json.loads(raw)
    if tuple(card["features"]) != FEATURES:
        raise ValueError(f"{path} was trained on features {card['features']}, this version computes {list(FEATURES)}")
    gate = card["gates"].get(kind, card["gates"]["plain"])  # until 'train cross-encoder' has fitted one
    return EvidenceHead(tuple(gate["weights"]), gate["bias"], hashlib.sha256(raw).hexdigest())


def features(
    question: str,
    hits: Sequence[Hit],
    index: Index,
    unanswered: float = 0.0,
    read: Sequence[float] = (),
    likeliest: str | None = None,
) -> Row:
    """The numbers the head looks at: [len(FEATURES)].

    Args:
        question: as it was searched for.
        hits: what was found.
        index: where.
        unanswered: as in ``assistant.known.Near``.
        read: log-odds that the cross-encoder gave to the hits' sentences, that of the likeliest one first.
        likeliest: the sentence that will be said first; None where none was chosen.
    """
    if not hits:
        return np.zeros(len(FEATURES))
    words = content(question)
    weight = {word: rarity(word, index) for word in words}
    total = sum(weight.values()) or 1.0
    where = [content(f"{hit.passage.heading} {hit.passage.text}") for hit in hits]
    covered = [sum(weight[word] for word in words & known) / total for known in where]
    best = max(range(min(3, len(hits))), key=lambda i: (covered[i], hits[i].sentence))
    cosines = sorted((hit.cosine for hit in hits), reverse=True)
    closest = sorted((hit.sentence for hit in hits), reverse=True)
    missing = [weight[word] for word in words - where[best]]
    return np.array([
        cosines[0],
        cosines[min(1, len(cosines) - 1)],
        closest[0],
        closest[0] - closest[min(1, len(closest) - 1)],
        covered[best],
        _sentence_coverage(words, weight, total, hits[best]),
        sum(weight[word] for word in words & set().union(*where)) / total,
        sum(weight[word] for word in words if not index.document_frequency(word)) / total,
        max(missing, default=0.0) / math.log(1 + index.generation.passages),
        float(max(hits, key=lambda hit: hit.bm25) is max(hits, key=lambda hit: hit.cosine)),
        min(len(words), 12) / 12,
        max((similarity for hit in hits for similarity in hit.known), default=0.0),
        unanswered,
        max(read, default=0.0),
        read[0] if read else 0.0,
        float(np.logaddexp.reduce(read)) if read else 0.0,
        float(likeliest is not None and _lacks_figure(question, likeliest)),
    ])  # fmt: skip


def rarity(word: str, index: Index) -> float:
    """Inverse document frequency of a stem over the index's passages."""
    return math.log((1 + index.generation.passages) / (1 + index.document_frequency(word)))


def _lacks_figure(question: str, sentence: str) -> bool:
    given = quantities(sentence) or _IN_WORDS.search(sentence)
    return not given and _ASKS_FIGURE.search(question) is not None


def _sentence_coverage(words: set[str], weight: dict[str, float], total: float, hit: Hit) -> float:
    heading = content(hit.passage.heading)
    text = hit.passage.text
    return max(
        (sum(weight[word] for word in words & (heading | content(text[a:b]))) / total for a, b in sentences(text)),
        default=0.0,
    )
