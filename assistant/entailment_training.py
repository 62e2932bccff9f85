"""Trains the judge of support and the heads above it: on true sentences of sources, on the same with a number, name,
unit or negation changed, with something added, or held against the wrong source, and on public claims with evidence.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from assistant.entailment import (
    FEATURES,
    JUDGED,
    NAME,
    SHIPPED,
    SUPPORT,
    Words,
    closest,
    features,
    read_beside,
    together,
)
from assistant.evaluation.rows import Grounded, read
from assistant.reader import EmbedTexts
from domains.pack import Domain
from retrieval import judge_training
from retrieval.cross_training import Progress
from retrieval.embedder import SentenceEmbedder
from retrieval.judge import Judge
from retrieval.judge_training import Example, Recipe
from retrieval.passage import sentences

EACH = 70  # sources taken from each pack and public set
LONGEST = 2_500  # characters of a source
MOST = 20_000  # claims taken from each further file
KEPT = 150  # … of which the heads are fitted and measured on, and the judge learns from the rest
RECIPE = Recipe(epochs=2, longest=192)
STRENGTH = 1.0  # inverse L2 regularisation
SEED = 0
ATTRIBUTION = {
    "packs": "the shipped packs, Apache-2.0",
    "medquad": "MedQuAD (abachaa/MedQuAD), CC-BY-4.0",
    "pubmedqa": "PubMedQA, MIT",
}
PAIRS = {
    "mnli": "MultiNLI, matched and mismatched dev (Williams et al., 2018), OANC, CC-BY-3.0, MIT",
    "scitail": "SciTail (allenai/scitail), Apache-2.0",
    "foolmetwice": "Fool Me Twice (google-research/fool-me-twice), Apache-2.0",
    "entailmentbank": "EntailmentBank, task 1 steps (allenai/entailment_bank), Apache-2.0",
    "conjnli": "ConjNLI (swarnaHub/ConjNLI), MIT",
    "contractnli": "ContractNLI (Koreeda and Manning, 2021), CC-BY-4.0",
    "summedits": "SummEdits without third parties' texts (salesforce/factualNLG), Apache-2.0",
    "halueval": "HaluEval, generated answers (RUCAIBox/HaluEval), MIT",
    "fib": "FIB, XSum (r-three/fib), CC-BY-4.0",
    "clapnq": "CLAPNQ, dev (primeqa/clapnq), Apache-2.0",
}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_NEGATABLE = re.compile(r"\b(is|are|can|may|should|will|must|does|has)\b(?! not)")
_NEGATED = re.compile(r"\b(is|are|can|may|should|will|must|does|has) not\b|\bcannot\b")
_UNITS = ("days", "weeks", "months", "hours", "years", "mg", "euros", "pounds", "dollars", "percent", "minutes")
_OPENINGS = ("", "", "Yes, ", "In short, ", "According to the source, ", "Note that ")


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, the source it is held against, and whether that supports it."""

    text: str
    source: str
    supported: bool
    kind: str  # how it was made
    group: int  # claims about one source stay in one fold


def claims(domains: Sequence[Domain], data: Path) -> list[Claim]:
    """Everything the head learns from."""
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    sets = [[article.text for article in domain.articles] for domain in domains]
    sets.append([row["answer"] for row in _rows(data / "qa/medquad/train.jsonl")])
    found: list[Claim] = []
    for texts in sets:
        chosen = chance.sample(texts, min(EACH, len(texts)))
        for place, text in enumerate(chosen):
            found += _of_source(text[:LONGEST], chosen[place - 1][:LONGEST], len(found), chance)
    return found + list(_concluded(data, len(found), chance))


def _of_source(text: str, other: str, group: int, chance: random.Random) -> Iterator[Claim]:
    own = _sentences(text)
    strange = _sentences(other)
    for sentence in chance.sample(own, min(4, len(own))):
        opening = chance.choice(_OPENINGS)
        yield Claim(opening + _shortened(sentence, chance), text, True, "true", group)
        for kind, changed in _changed(sentence, strange, chance):
            yield Claim(changed, text, False, kind, group)
    if len(own) > 2:
        first, second = chance.sample(own, 2)
        yield Claim(f"{first.rstrip('.')}, and {second}", text, True, "joined", group)
    if strange:
        yield Claim(chance.choice(strange), text, False, "other source", group)


def _changed(sentence: str, strange: Sequence[str], chance: random.Random) -> Iterator[tuple[str, str]]:
    """The sentence made untrue, in the ways that fit it."""
    if numbers := _NUMBER.findall(sentence):
        wrong = str(int(float(chance.choice(numbers).replace(",", "."))) + chance.choice((1, 2, 5, 10)))
        yield "number", sentence.replace(chance.choice(numbers), wrong, 1)
    if _NEGATED.search(sentence):
        yield "negation", _NEGATED.sub(lambda found: found[1] or "can", sentence, count=1)
    elif _NEGATABLE.search(sentence):
        yield "negation", _NEGATABLE.sub(r"\1 not", sentence, count=1)
    for unit in _UNITS:
        if re.search(rf"\b{unit}\b", sentence):
            other = chance.choice([one for one in _UNITS if one != unit])
            yield "unit", re.sub(rf"\b{unit}\b", other, sentence, count=1)
            break
    names, others = NAME.findall(sentence), NAME.findall(" ".join(strange))
    if names and others:
        yield "name", sentence.replace(chance.choice(names), chance.choice(others), 1)
    if strange:
        tail = " ".join(chance.choice(strange).split()[-8:])
        yield "addition", f"{sentence.rstrip('.')}, and {tail}"


def _shortened(sentence: str, chance: random.Random) -> str:
    """The sentence, at times without its last clause."""
    head, comma, tail = sentence.rpartition(", ")
    return (
        f"{head}." if comma and len(head.split()) > 6 and len(tail.split()) < 9 and chance.random() < 0.5 else sentence
    )


def _concluded(data: Path, group: int, chance: random.Random) -> Iterator[Claim]:
    rows = _rows(data / "qa/pubmedqa/train.jsonl")[: 2 * EACH]
    for place, row in enumerate(rows):
        own, strange = _sentences(row["answer"]), _sentences(rows[place - 1]["answer"])
        if own and strange:
            yield Claim(chance.choice(own), row["context"], True, "conclusion", group + place)
            yield Claim(chance.choice(strange), row["context"], False, "other conclusion", group + place)


def _sentences(text: str) -> list[str]:
    spans = [text[start:end] for start, end in sentences(text)]
    return [one for one in spans if 6 <= len(one.split()) <= 45 and not one.startswith("#")]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def train(
    domains: Sequence[Domain],
    data: Path,
    pairs: Sequence[Path],
    embedder: SentenceEmbedder,
    to: Path,
    recipe: Recipe = RECIPE,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Train the judge and fit the heads, measure them on sources that they did not see, and write both with cards.

    Args:
        domains: packs whose articles are sources.
        data: folder of the public sets, in the layout ``qa/<set>/<split>.jsonl``.
        pairs: files of further claims with the text they are held against, in the format of ``evaluate grounding``.
        embedder: the shared encoder.
        to: folder for the judge and the heads.
        recipe: how the judge is trained.
        progress: told after each step.

    Returns the card of the heads.

    Raises:
        DataError: a line of ``pairs`` does not fit.
    """
    own = claims(domains, data)
    outside = [_outside(path, place) for place, path in enumerate(pairs)]
    learn = [one for one in own if one.group % 2] + [one for group in outside for one in group[KEPT:]]
    rest = [one for one in own if not one.group % 2] + [one for group in outside for one in group[:KEPT]]
    examples = [Example(_focus(one), one.text, (one.supported,)) for one in learn]
    sets = [{"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in pairs]
    card = {"examples": len(examples), "trained_on": ATTRIBUTION | PAIRS, "pairs": sets}
    judge = judge_training.fit(embedder, lambda _: examples, recipe, to / SUPPORT.name, ["support"], card, progress)
    return _fit_heads(own, rest, embedder, judge, to / SHIPPED.name)


def _outside(path: Path, number: int) -> list[Claim]:
    """The claims of a file in an order that keeps those about one source together."""
    rows = read(path, Grounded)
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    found = []
    for row in chance.sample(rows, min(MOST, len(rows))):
        group = -int(hashlib.sha256(f"{number} {row.context}".encode()).hexdigest()[:8], 16)
        found.append(Claim(row.answer, row.context[:LONGEST], row.label == "supported", path.stem, group))
    return sorted(found, key=lambda one: one.group)


def _focus(claim: Claim) -> str:
    spans = [claim.source[start:end] for start, end in sentences(claim.source)] or [claim.source]
    return together(closest(Words(claim.text), [Words(span) for span in spans]), spans)


def _fit_heads(
    own: Sequence[Claim], rest: Sequence[Claim], embedder: SentenceEmbedder, reader: Judge, to: Path
) -> dict[str, Any]:
    """Fit the head of words on our own claims, and that which asks the judge on claims that the judge did not see."""
    heads = {
        "words": _fit_head(own, table(own, embedder.embed)),
        "judged": _fit_head(rest, table(rest, embedder.embed, reader)),
    }
    features_of = list(FEATURES + JUDGED)
    card = {"features": features_of, "heads": heads, "support": reader.digest, "trained_on": ATTRIBUTION | PAIRS}
    to.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def _fit_head(known: Sequence[Claim], rows: NDArray[np.float64]) -> dict[str, Any]:
    truth = np.array([claim.supported for claim in known])
    counts = Counter((claim.kind, claim.supported) for claim in known)
    weights = np.array([counts[claim.kind, claim.supported] ** -0.5 for claim in known])
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
    odds = cross_val_predict(
        model, (rows - mean) / scale, truth, groups=[claim.group for claim in known], cv=GroupKFold(4),
        method="predict_proba", params={"sample_weight": weights},
    )[:, 1]  # fmt: skip
    threshold = max(np.linspace(0.3, 0.8, 26), key=lambda at: balanced_accuracy_score(truth, odds >= at))
    model.fit((rows - mean) / scale, truth, sample_weight=weights)
    return {
        "weights": [round(float(weight), 5) for weight in model.coef_[0]],
        "bias": round(float(model.intercept_[0]), 5),
        "mean": [round(float(value), 5) for value in mean],
        "scale": [round(float(value), 5) for value in scale],
        "threshold": round(float(threshold), 3),
        "claims": len(known),
        "balanced_accuracy": round(float(balanced_accuracy_score(truth, odds >= threshold)), 4),
        "right_by_kind": _by_kind(known, truth, odds >= threshold),
    }


def table(known: Sequence[Claim], embed: EmbedTexts, reader: Judge | None = None) -> NDArray[np.float64]:
    """Features of every claim against its source: [n, len(FEATURES)], and with ``reader`` those of ``JUDGED``, too."""
    spans = {claim.source: [claim.source[a:b] for a, b in sentences(claim.source)] or [claim.source] for claim in known}
    texts = list(dict.fromkeys([*(one for held in spans.values() for one in held), *(claim.text for claim in known)]))
    vectors = embed(texts)
    place = {text: number for number, text in enumerate(texts)}
    taken = {source: [Words(one) for one in held] for source, held in spans.items()}
    rows = [
        features(
            Words(claim.text),
            vectors[place[claim.text]],
            taken[claim.source],
            vectors[[place[one] for one in spans[claim.source]]],
        )[0]
        for claim in known
    ]
    if reader is None:
        return np.array(rows)
    held = [claim.source for claim in known]
    said = read_beside(
        [claim.text for claim in known], [spans[one] for one in held], [taken[one] for one in held], reader
    )
    return np.column_stack([np.array(rows), said])


def _by_kind(known: Sequence[Claim], truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> dict[str, float]:
    right: dict[str, list[bool]] = {}
    for claim, wanted, found in zip(known, truth, said, strict=True):
        right.setdefault(claim.kind, []).append(bool(wanted == found))
    return {kind: round(sum(values) / len(values), 4) for kind, values in sorted(right.items())}
