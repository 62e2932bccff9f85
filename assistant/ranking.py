"""Which sentence of the passages answers the question? A listwise linear model, trained on the packs' lessons.

The small model that speaks is a weak judge of relevance; this judge costs a millisecond and is measured by itself.
Where a cross-encoder is at hand, it reads the likeliest sentences with the question and is heard, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from assistant.evidence import rarity
from assistant.words import content
from retrieval.passage import Hit, sentences
from retrieval.storage import Index

SHIPPED = Path(__file__).parent / "heads" / "ranking.json"
FEATURES = (
    "similarity",  # of question and sentence
    "best_of_passage",
    "passage_cosine",
    "passage_rank",  # 1, 1/2, 1/3, …
    "coverage_sentence",  # share of the question's content words, weighted by rarity, in the sentence
    "coverage_section",
    "coverage_heading",
    "coverage_passage",
    "coverage_sentence_or_heading",
    "wants_time_has_time",
    "wants_money_has_money",
    "wants_number_has_number",
    "wants_time_lacks_time",
    "wants_money_lacks_money",
    "wants_number_lacks_number",
    "length",
    "first_of_passage",
    "opens_with_topic",  # its first content word is one of the question's
    "wants_definition_defines",  # "what is X?" and "X is …"
    "known",  # similarity to the closest known question that this sentence answers
    "known_squared",
    "known_passage",  # … that any sentence of its passage answers
)
READ = 12  # likeliest sentences that the cross-encoder reads
Matrix = NDArray[np.float64]

_ASKED = (
    r"\bhow (?:long|soon|quickly|fast|late)\b|\bwhen\b|\bdeadline\b|\buntil\b|\btime limit\b|"
    r"\b(?:how many|what|which) (?:days?|weeks?|months?|years?|hours?|minutes?|age)\b",
    r"\bhow much (?:does|do|is|are|will|would|money|can i save)\b|"
    r"\b(?:costs?|price|fees?|charged?|postage|expensive|deducted|for free)\b",
    r"\bhow (?:many|much|high|low|big|large|hot|far|deep|often)\b|\b(?:maximum|minimum|limit|range|most|least|highest|"
    r"lowest|percentage|normal|level)\b",
)
_GIVEN = (
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve)[ -](?:working |business |calendar )?"
    r"(?:second|minute|hour|day|week|month|year)s?\b|\b(?:before|after|until|by) \d|\bat once\b|\bimmediately\b",
    r"[€£$]\s?\d|\b\d[\d.,]*\s?(?:EUR|USD|GBP|euros?|dollars?|pounds?|%|percent)|\bfree\b",
    r"\d",
)
_DEFINITION = re.compile(r"^(?:what(?:'?s| is| are| does)|define|explain|meaning of)\b", re.IGNORECASE)
_DEFINES = re.compile(r"^[^.]{2,60}? (?:is|are|means?|shows?|measures?|describes?) ", re.IGNORECASE)
_WANTS = tuple(
    (re.compile(asked, re.IGNORECASE), re.compile(given, re.IGNORECASE))
    for asked, given in zip(_ASKED, _GIVEN, strict=True)
)


class Reading(Protocol):
    """A cross-encoder; see ``retrieval.cross_encoder``."""

    digest: str  # SHA-256 of its weights

    def score(self, question: str, texts: Sequence[str]) -> Matrix:
        """Log-odds of each text against "none of them answers": [n]."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a passage."""

    hit: Hit
    start: int  # in the passage's text
    end: int  # exclusive
    probability: float  # that this one of all candidates answers the question
    read: float | None = None  # the cross-encoder's log-odds that it does, against that none does; None: not read

    def row(self, first: Mapping[str, int]) -> int:
        """Its row among all sentences of the index; ``first`` is as in ``first_sentences``."""
        passage = self.hit.passage
        return first[passage.id] + sentences(passage.text).index((self.start, self.end))

    @property
    def read_as(self) -> str:
        """Its words with what they are about, for the cross-encoder."""
        return f"{self.hit.passage.heading}: {self.text}"

    @property
    def text(self) -> str:
        """Its words."""
        return self.hit.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class SentenceHead:
    """Linear weights over standardised ``FEATURES``."""

    weights: Matrix  # [features]
    mean: Matrix
    scale: Matrix
    mix: tuple[float, float]  # weights of the linear score and of the cross-encoder's, where it read
    digest: str

    def score(self, rows: Matrix) -> Matrix:
        """The linear score of ``features``: [n]."""
        found: Matrix = (rows - self.mean) / self.scale @ self.weights
        return found

    def rank(self, question: str, hits: Sequence[Hit], index: Index, reading: Reading | None = None) -> list[Candidate]:
        """Every sentence of the hits, likeliest answer first."""
        rows, places = features(question, hits, index)
        if not places:
            return []
        scores = self.score(rows)
        ranked = [Candidate(*places[int(number)], probability=0.0) for number in np.argsort(-scores, kind="stable")]
        scores = np.sort(scores)[::-1]
        if reading:
            found = reading.score(question, [one.read_as for one in ranked[:READ]])
            ranked = [
                replace(one, read=float(log_odds)) for one, log_odds in zip(ranked, found, strict=False)
            ] + ranked[READ:]
            scores = mixed(scores, found, self.mix)
        odds = softmax(scores)
        order = np.argsort(-odds, kind="stable")
        return [replace(ranked[int(number)], probability=float(odds[number])) for number in order]


def mixed(scores: Matrix, read: Matrix, mix: tuple[float, float]) -> Matrix:
    """Both scores as one, [n]; sentences that were not read count as the worst of those that were."""
    whole = np.full(len(scores), read.min())
    whole[: len(read)] = read
    return mix[0] * scores + mix[1] * whole


@cache
def shipped() -> SentenceHead:
    """The head that ships, read once.

    Raises:
        ValueError: it was trained on other features.
    """
    raw = SHIPPED.read_bytes()
    card = json.loads(raw)
    if tuple(card["features"]) != FEATURES:
        raise ValueError(f"{SHIPPED} was trained on {card['features']}, this version computes {list(FEATURES)}")
    weights, mean, scale = (np.asarray(card[name], dtype=np.float64) for name in ("weights", "mean", "scale"))
    return SentenceHead(weights, mean, scale, tuple(card["mix"]), hashlib.sha256(raw).hexdigest())


def features(question: str, hits: Sequence[Hit], index: Index) -> tuple[Matrix, list[tuple[Hit, int, int]]]:
    """The numbers the head looks at, [sentences, len(FEATURES)], and where each sentence stands."""
    weight = {word: rarity(word, index) for word in content(question)}
    total = sum(weight.values()) or 1.0

    def covered(words: set[str]) -> float:
        return sum(weight[word] for word in weight.keys() & words) / total

    wants = [(asked.search(question) is not None, given) for asked, given in _WANTS]
    defined = _DEFINITION.match(question) is not None
    rows: list[list[float]] = []
    places: list[tuple[Hit, int, int]] = []
    for rank, hit in enumerate(hits, start=1):
        heading, section = content(hit.passage.heading), content(hit.passage.section)
        whole = covered(content(hit.passage.text) | heading)
        spans = sentences(hit.passage.text)
        for similarity, known, (start, end) in zip(
            hit.similarities, hit.known or [0.0] * len(spans), spans, strict=True
        ):
            text = hit.passage.text[start:end]
            words = content(text)
            opens = bool(content(" ".join(text.split()[:3])) & weight.keys())
            has = [given.search(text) is not None for _, given in wants]
            rows.append([
                similarity,
                float(similarity == hit.sentence),
                hit.cosine,
                1.0 / rank,
                covered(words),
                covered(section),
                covered(heading),
                whole,
                covered(words | heading),
                *(float(wanted and found) for (wanted, _), found in zip(wants, has, strict=True)),
                *(float(wanted and not found) for (wanted, _), found in zip(wants, has, strict=True)),
                min(len(text.split()), 30) / 30,
                float(start == 0),
                float(opens),
                float(opens and defined and _DEFINES.match(text) is not None),
                known,
                known * known,
                max(hit.known, default=0.0),
            ])  # fmt: skip
            places.append((hit, start, end))
    return np.array(rows), places


def fit(lists: Sequence[tuple[Matrix, list[int]]], penalty: float = 1e-3) -> tuple[Matrix, Matrix, Matrix]:
    """Weights, means and scales that give the right sentences of each list the most probability.

    Args:
        lists: for each question its candidates' features and the places of those that answer it.
        penalty: of the squared weights.
    """
    every = np.concatenate([rows for rows, _ in lists])
    mean, scale = every.mean(axis=0), every.std(axis=0) + 1e-9
    scaled = [((rows - mean) / scale, right) for rows, right in lists]

    def loss(weights: Matrix) -> tuple[float, Matrix]:
        value, slope = 0.0, np.zeros_like(weights)
        for rows, right in scaled:
            odds = softmax(rows @ weights)
            share = odds[right].sum() + 1e-12
            wanted = np.zeros_like(odds)
            wanted[right] = odds[right] / share
            value -= float(np.log(share))
            slope -= rows.T @ (wanted - odds)
        return value / len(scaled) + penalty * float(weights @ weights), slope / len(scaled) + 2 * penalty * weights

    return minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B").x, mean, scale
