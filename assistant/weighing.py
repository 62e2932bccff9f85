"""Fits how much the cross-encoder's word counts, on lessons that it has not seen: in the judge, and in the gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from assistant import evidence, pairs, ranking
from assistant.app import CROSS_ENCODER
from assistant.packs import Pack
from assistant.pairs import Searched
from assistant.ranking import READ, Reading, mixed
from assistant.reader import EmbedTexts, out_of_scope
from retrieval.cross_encoder import CrossEncoder, save
from retrieval.cross_training import Progress, Recipe, train
from retrieval.embedder import SentenceEmbedder

STRENGTH = 1.0  # inverse L2 regularisation of the gates, on standardised features
STRANGERS = 60  # questions of nobody's field, and as many of the other packs, that each pack is asked
KNOWN = [evidence.FEATURES.index(name) for name in ("known", "unanswered")]
Mix = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Read:
    """A question with what the linear judge and the cross-encoder say of the sentences found, as the former ranks."""

    pack: Pack
    found: Searched
    linear: NDArray[np.float64]  # [sentences]
    read: NDArray[np.float64]  # [at most READ]

    def row(self, mix: Mix) -> evidence.Row:
        """What the gate looks at."""
        first = int(np.argmax(mixed(self.linear, self.read, mix)[: len(self.read)]))
        read = [float(self.read[first]), *np.delete(self.read, first)]
        likeliest = self.found.ranked[first].text
        return evidence.features(
            self.found.lesson.ask, self.found.hits, self.pack.index, self.found.unanswered, read, likeliest
        )


def renew(
    packs: Sequence[Pack],
    embedder: SentenceEmbedder,
    heads: Path,
    answered: Sequence[Path],
    recipe: Recipe | None,
    *,
    go_on: bool = False,
    last: int | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Train the cross-encoder in the folder ``heads`` on the live packs' lessons and weigh it; the card of all.

    Args:
        packs: those that are live.
        embedder: theirs.
        heads: holds the cards of judge and gate.
        answered: files of further questions with their answers.
        recipe: how to train; None keeps the one in the folder.
        go_on: start from the one in the folder, and not from the embedding model.
        last: learn only from so many lessons at the end of each pack's, and from as many earlier ones; None: from all.
        progress: told how far the training is.

    Raises:
        DomainError: a line of ``answered`` does not fit.
        RetrievalError: the cross-encoder in the folder does not fit.
    """
    path = heads / CROSS_ENCODER.name
    found = {pack.domain.name: list(pairs.searched(pack, embedder.embed)) for pack in packs}
    if recipe:
        outside = [one for file in answered for one in pairs.read_answered(file)]
        lessons = pairs.recent(packs, found, last, recipe.seed) if last else list(chain(*found.values()))
        start = CrossEncoder(embedder, path) if go_on else None
        changed = train(embedder, pairs.cases(lessons, outside, recipe.seed), recipe, progress, start)
        card = {
            "recipe": asdict(recipe) | {"goes_on": go_on, "last": last},
            "lessons": {pack.domain.name: pack.domain.digest for pack in packs},
            "answered": [
                {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in answered
            ],
        }
        save(changed, embedder, path, card)
    return weigh(packs, found, embedder.embed, CrossEncoder(embedder, path), heads)


def weigh(
    packs: Sequence[Pack], lessons: Mapping[str, Sequence[Searched]], embed: EmbedTexts, reading: Reading, heads: Path
) -> dict[str, Any]:
    """Fit, and write into the cards ranking.json and evidence.json of the folder ``heads``.

    Args:
        packs: those that are live.
        lessons: of each of them, by its name, as they are found.
        embed: embeds the questions of strangers.
        reading: the cross-encoder.
        heads: holds the cards.

    Returns:
        for each pack, with that pack left out of the fit: the share of right first choices without and with the
        cross-encoder, and how well the gate tells answered from unanswered lessons.
    """
    read = {
        pack.domain.name: [_read(one, pack, reading) for one in _unseen(pack, packs, lessons[pack.domain.name], embed)]
        for pack in packs
    }
    report = {
        name: _report(group, *_fit(list(chain(*(others for other, others in read.items() if other != name)))))
        for name, group in read.items()
        if len(read) > 1
    }
    mix, gates = _fit(list(chain(*read.values())))
    _update(heads / "ranking.json", {"mix": [round(value, 4) for value in mix], "mix_held_out": report})
    card = json.loads((heads / "evidence.json").read_text(encoding="utf-8"))
    _update(heads / "evidence.json", {"gates": card["gates"] | gates})
    return report


def _unseen(pack: Pack, packs: Sequence[Pack], lessons: Sequence[Searched], embed: EmbedTexts) -> Iterator[Searched]:
    """Lessons that the cross-encoder has not seen, and questions of strangers."""
    yield from (one for one in lessons if pairs.held_out(one.lesson.ask))
    others = [lesson.ask for other in packs if other is not pack for lesson in other.domain.lessons]
    asked = [*out_of_scope()[:STRANGERS], *[ask for ask in others if pairs.held_out(ask)][:STRANGERS]]
    yield from pairs.strangers(pack, asked, embed)


def _read(found: Searched, pack: Pack, reading: Reading) -> Read:
    rows, _ = ranking.features(found.lesson.ask, found.hits, pack.index)
    linear = np.sort(ranking.shipped().score(rows))[::-1]
    return Read(pack, found, linear, reading.score(found.lesson.ask, [one.read_as for one in found.ranked[:READ]]))


def _fit(group: Sequence[Read]) -> tuple[Mix, dict[str, Any]]:
    answered = [one for one in group if one.found.right]

    def loss(mix: NDArray[np.float64]) -> float:
        odds = (log_softmax(mixed(one.linear, one.read, (mix[0], mix[1]))) for one in answered)
        return -float(
            np.mean(
                [np.logaddexp.reduce(each[list(one.found.right)]) for each, one in zip(odds, answered, strict=True)]
            )
        )

    best = minimize(loss, np.array([1.0, 0.5]), method="Nelder-Mead").x
    mix = (float(best[0]), float(best[1]))
    truth = np.array([bool(one.found.right) for one in group])
    return mix, {kind: _gate(rows, truth) for kind, rows in _rows(group, mix).items()}


def _rows(group: Sequence[Read], mix: Mix) -> dict[str, NDArray[np.float64]]:
    """What each kind of gate looks at: [questions, features]."""
    rows = np.array([one.row(mix) for one in group])
    blind = rows.copy()
    blind[:, KNOWN] = 0.0
    return {"read_known": rows, "read": blind}


def _gate(rows: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, Any]:
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    model = LogisticRegression(C=STRENGTH, max_iter=5000, class_weight="balanced").fit((rows - mean) / scale, truth)
    weights = model.coef_[0] / scale
    bias = float(model.intercept_[0] - weights @ mean)
    return {"weights": [round(float(weight), 5) for weight in weights], "bias": round(bias, 5)}


def _report(group: Sequence[Read], mix: Mix, gates: Mapping[str, Any]) -> dict[str, float]:
    answered = [one for one in group if one.found.right]
    ours = [one for one in group if one.found.right or one.found.lesson in one.pack.domain.lessons]
    truth = [bool(one.found.right) for one in ours]
    figures = {
        "first_choice_linear": np.mean([0 in one.found.right for one in answered]),
        "first_choice": np.mean(
            [int(np.argmax(mixed(one.linear, one.read, mix))) in one.found.right for one in answered]
        ),
    }
    for kind, rows in _rows(ours, mix).items():
        figures[f"auc_{kind}"] = roc_auc_score(truth, rows @ np.array(gates[kind]["weights"]) + gates[kind]["bias"])
    return {name: round(float(value), 4) for name, value in figures.items()} | {"answered": len(answered)}


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(card | dict(changes), indent=2) + "\n", encoding="utf-8")
