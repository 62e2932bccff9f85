"""Trains the detectors from public sets, the packs' questions and our own texts, and says how they do on what they
did not see. Only sets whose licence lets shipped weights learn from them are read; ``SETS`` names them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from assistant import disguise
from assistant.detectors import CARD, CHARACTERS, GUARD, NAMES, WEIGHTS, WORDS, features
from domains.pack import Domain
from retrieval import judge_training
from retrieval.cross_training import Progress
from retrieval.embedder import SentenceEmbedder
from retrieval.judge import Judge
from retrieval.judge_training import Example, Recipe

OWN = Path(__file__).parent / "drills"
EACH = 12  # texts made from one line of ours
INTENTS = 2_000  # questions taken from each of the intent sets
LONGEST = 3_000  # characters of a training text
FOLDS = 5
SEED = 0
STRENGTH = 10.0  # inverse L2 regularisation
THRESHOLDS = {"injection": 0.4, "harm": 0.75, "crisis": 0.55}  # chosen on the folds and on lessons not trained on
GUARDED = {"injection": 0.03, "harm": 0.75, "crisis": 0.2}  # … with the guard
MEASURED = 2  # folds that the guard is measured on
DRAWN = 8_000  # texts of an epoch of the guard
TUNED = Recipe(epochs=3)
RECIPE = f"logistic regression, C={STRENGTH}, liblinear, classes balanced, sets by the root of their size, seed {SEED}"
PACKS_DRAWN = {"packs": 2.0}  # how much more often the guard reads them
PACKS_COUNT = {"packs": 3.0}  # how much more a pack's own questions weigh: they must be answered
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
ATTRIBUTION = {
    "deepset_injections": "deepset/prompt-injections by a mirror, MIT",
    "notinject": "NotInject (leolee99/PIGuard), MIT",
    "xstest": "XSTest (paul-rottger/exaggerated-safety), CC-BY-4.0",
    "trident": "Trident (zackhuiiiii/TRIDENT), MIT, without the rows of MedSafetyBench",
    "do_not_answer": "Do-Not-Answer, Apache-2.0",
    "openai_moderation": "openai/moderation-api-release, MIT",
    "intents": "BANKING77 CC-BY-4.0, CLINC150 CC-BY-3.0, HWU64 CC-BY-4.0, Bitext sample CDLA-Sharing-1.0",
    "medquad": "MedQuAD (abachaa/MedQuAD), CC-BY-4.0",
    "star": "STAR dialogues (RasaHQ/STAR), MIT",
    "own": "written for this product, Apache-2.0",
    "packs": "the shipped packs, Apache-2.0",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and what it is by each detector; a detector that is absent does not learn from it."""

    text: str
    source: str
    labels: dict[str, bool]
    group: str  # texts of one line of ours stay in one fold


def samples(data: Path, domains: Sequence[Domain]) -> list[Sample]:
    """Everything the detectors learn from.

    Args:
        data: folder of the public sets, in the layout ``safety/<set>/<split>.jsonl``.
        domains: the packs whose questions are honest.
    """
    found = [*_public(data), *_intents(data), *_packs(domains), *_own()]
    return [Sample(disguise.plain(one.text[:LONGEST]), one.source, one.labels, one.group) for one in found]


def _sample(text: str, source: str, **labels: bool | None) -> Sample:
    known = {name: label for name, label in labels.items() if label is not None}
    return Sample(text, source, known, hashlib.sha256(text.encode()).hexdigest())


def _public(data: Path) -> Iterator[Sample]:
    for row in _rows(data / "safety/deepset_injections/train.jsonl"):
        attack = row["label"] == "injection"
        yield _sample(row["text"], "deepset_injections", injection=attack, crisis=None if attack else False)
    for row in _rows(data / "safety/notinject/dev.jsonl"):
        yield _sample(row["text"], "notinject", injection=False, harm=False, crisis=False)
    for row in _rows(data / "safety/xstest/dev.jsonl"):
        yield _sample(row["text"], "xstest", injection=False, harm=row["label"] == "unsafe")
    for row in _rows(data / "safety/trident/dev.jsonl"):
        if row["risk_type"] != "violation_of_medical_ethics":  # MedSafetyBench's: for research only
            yield _sample(row["text"], "trident", harm=True)
    for row in _rows(data / "safety/do_not_answer/dev.jsonl"):
        yield _sample(row["text"], "do_not_answer", injection=False, harm=True)
    for row in _rows(data / "safety/openai_moderation/dev.jsonl"):
        yield _moderated(row)


def _moderated(row: dict[str, Any]) -> Sample:
    unsafe, self_harm = row["label"] == "unsafe", row["flags"]["SH"] == 1
    return _sample(
        row["text"],
        "openai_moderation",
        injection=None if unsafe else False,
        harm=None if self_harm else unsafe,
        crisis=True if self_harm else None if unsafe else False,
    )


def _intents(data: Path) -> Iterator[Sample]:
    chance = random.Random(SEED)  # noqa: S311 - draws training texts, guards nothing
    honest = {"injection": False, "harm": False, "crisis": False}
    for name in ("banking77", "clinc150", "hwu64", "bitext_sample"):
        rows = _rows(data / f"intents/{name}/train.jsonl")
        chance.shuffle(rows)
        for row in rows[:INTENTS]:
            yield _sample(row["text"], "intents", **honest)
    rows = _rows(data / "qa/medquad/train.jsonl")
    chance.shuffle(rows)
    for number, row in enumerate(rows[:1500]):
        yield _sample(row["question" if number < 1200 else "answer"], "medquad", **honest)
    for row in _rows(data / "dialogs/star/dialogs.jsonl"):
        for turn in row["turns"]:
            if turn["role"] == "user" and turn["text"]:
                yield _sample(turn["text"], "star", injection=False, harm=False)


def _packs(domains: Iterable[Domain]) -> Iterator[Sample]:
    for domain in domains:
        responders = {intent.name: intent.responder for intent in domain.manifest.intents}
        for example in domain.examples:
            responder = responders[example.intent]
            refused = responder in ("refuse", "escalate")
            crisis = responder == "escalate"
            yield _sample(example.text, "packs", injection=False, harm=None if refused else False, crisis=crisis)
        for lesson in domain.lessons:
            # a lesson may be asked by a person in danger: learning calm from them cost .08 of the crises seen
            yield _sample(lesson.ask, "packs", injection=False, harm=False, crisis=None)


def _own() -> Iterator[Sample]:
    kinds: dict[str, dict[str, bool]] = {
        "crisis": {"injection": False, "crisis": True},
        "ordinary": {"injection": False, "harm": False, "crisis": False},
        "injection": {"injection": True},
        "benign": {"injection": False, "harm": False, "crisis": False},
        "harm": {"injection": False, "harm": True},
        "safe": {"injection": False, "harm": False},
    }
    for kind, labels in kinds.items():
        for number, line in enumerate(own_lines(kind)):
            for text in variants(line):
                yield Sample(text, f"own_{kind}", labels, f"{kind} {number}")


def own_lines(kind: str) -> list[str]:
    """The lines of one of our files, without comments."""
    lines = (OWN / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


def variants(line: str, most: int = EACH) -> list[str]:
    """Texts of a line with alternatives, ``[a|b]``; always the same ones."""
    chance = random.Random(line)  # noqa: S311 - draws training texts, guards nothing
    parts = [part.split("|") if place % 2 else [part] for place, part in enumerate(_CHOICE.split(line))]
    drawn = {"".join(map(chance.choice, parts)).strip() for _ in range(5 * most)}
    return sorted(drawn)[:most] if len(drawn) <= most else sorted(chance.sample(sorted(drawn), most))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def train(
    data: Path,
    domains: Sequence[Domain],
    embedder: SentenceEmbedder,
    to: Path,
    folds: int = MEASURED,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Fit heads and guard, measure them on folds that they did not see, and write them.

    Args:
        data: folder of the public sets.
        domains: the packs.
        embedder: the shared encoder.
        to: folder for weights and cards.
        folds: how many of the five the guard is measured on; each takes as long as its training.
        progress: told after each step of the guard.

    Returns the card.
    """
    known = samples(data, domains)
    vectors = embedder.embed([one.text for one in known])
    arrays: dict[str, NDArray[np.float16]] = {}
    card: dict[str, Any] = {"embedder": embedder.fingerprint, "thresholds": {}, "samples": len(known)}
    rows = features([one.text for one in known], vectors)
    for name, part in (("full", rows), ("words", rows[:, : WORDS + CHARACTERS])):
        heads = [_fit(part, known, head) for head in NAMES]
        arrays[f"{name}.weights"] = np.concatenate([model.coef_ for model in heads]).astype(np.float16)
        arrays[f"{name}.bias"] = np.concatenate([model.intercept_ for model in heads]).astype(np.float16)
        card["thresholds"][name] = THRESHOLDS
    odds = np.column_stack([_cross_fitted(rows, known, head) for head in NAMES])
    card["folds"] = _reports(known, odds, THRESHOLDS)
    seen = [place for place, one in enumerate(known) if _fold(one) < folds]
    for fold in range(folds):
        places = [place for place in seen if _fold(known[place]) == fold]
        guard = _guard([one for one in known if _fold(one) != fold], embedder, to, progress)
        odds[places] += guard.log_odds([known[place].text for place in places])
    card["guarded_folds"] = _reports([known[place] for place in seen], odds[seen], GUARDED)
    card["thresholds"]["guarded"] = GUARDED
    card["guard"] = _guard(known, embedder, to, progress).digest
    raw = save(arrays)
    card |= {"weights": hashlib.sha256(raw).hexdigest(), "trained_on": ATTRIBUTION, "recipe": RECIPE}
    (to / WEIGHTS).write_bytes(raw)
    # the card is written last: weights without it are a training that did not finish
    (to / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card


def _guard(known: Sequence[Sample], embedder: SentenceEmbedder, to: Path, progress: Progress) -> Judge:
    """Tune a guard on ``known`` and write it; each epoch draws anew, so that large sets do not drown small ones."""
    counts = Counter(_kind(one) for one in known)
    odds = np.array([PACKS_DRAWN.get(one.source, 1.0) * counts[_kind(one)] ** -0.5 for one in known])
    answers = [Example(one.text, None, tuple(one.labels.get(name) for name in NAMES)) for one in known]

    def draw(epoch: int) -> list[Example]:
        chance = np.random.default_rng((SEED, epoch))
        drawn = chance.choice(len(known), min(DRAWN, len(known)), replace=False, p=odds / odds.sum())
        return [answers[place] for place in drawn]

    card = {"drawn": DRAWN, "trained_on": ATTRIBUTION}
    return judge_training.fit(embedder, draw, TUNED, to / GUARD, NAMES, card, progress)


def _kind(one: Sample) -> tuple[str, tuple[tuple[str, bool], ...]]:
    return one.source, tuple(sorted(one.labels.items()))


def _fit(rows: csr_array, known: Sequence[Sample], head: str, skip: int | None = None) -> LogisticRegression:
    """One head; large sets weigh by the root of their size. ``skip``: a fold that is left out."""
    places = [place for place, one in enumerate(known) if head in one.labels and _fold(one) != skip]
    labels = np.array([known[place].labels[head] for place in places])
    kinds = [(known[place].source, known[place].labels[head]) for place in places]
    counts = Counter(kinds)
    weights = np.array([PACKS_COUNT.get(source, 1.0) * counts[source, label] ** -0.5 for source, label in kinds])
    model = LogisticRegression(C=STRENGTH, solver="liblinear", class_weight="balanced", max_iter=300)
    return model.fit(rows[places], labels, sample_weight=weights / weights.mean())


def _cross_fitted(rows: csr_array, known: Sequence[Sample], head: str) -> NDArray[np.float64]:
    """Log-odds of every sample by a head that did not see its fold: [n]."""
    odds = np.zeros(len(known))
    for fold in range(FOLDS):
        places = [place for place, one in enumerate(known) if _fold(one) == fold]
        odds[places] = _fit(rows, known, head, fold).decision_function(rows[places])
    return odds


def _fold(one: Sample) -> int:
    return int(hashlib.sha256(one.group.encode()).hexdigest(), 16) % FOLDS


def _reports(
    known: Sequence[Sample], odds: NDArray[np.float64], thresholds: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Share that is acted on by head, source and label: recall for ``source +``, false alarms for ``source -``.

    Args:
        known: n texts.
        odds: [n, heads], log-odds.
        thresholds: of each head.
    """
    reports = {}
    for place, head in enumerate(NAMES):
        seen: dict[str, list[bool]] = {}
        for one, value in zip(known, expit(odds[:, place]), strict=True):
            if head in one.labels:
                sign = "+" if one.labels[head] else "-"
                seen.setdefault(f"{one.source} {sign}", []).append(bool(value >= thresholds[head]))
        reports[head] = {kind: round(sum(acted) / len(acted), 4) for kind, acted in sorted(seen.items())}
    return reports
