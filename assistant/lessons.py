"""Turns a pack's lessons into training data: for its adapter, and for the evidence gate that all packs share."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from adapters import methods, store
from adapters.chat import Message
from adapters.examples import Keys, keys_of
from adapters.passport import Passport
from adapters.recipe import Recipe
from adapters.train import Triple, prefer, train
from assistant import evidence, prompt, ranking, study
from assistant.app import App
from assistant.packs import Pack
from assistant.ranking import Candidate
from assistant.reader import EmbedTexts, out_of_scope
from domains.manifest import Lesson
from domains.pack import DomainError
from retrieval.passage import sentences

Taught = tuple[list[Message], Keys]  # a chat whose last message is to be learned, and what it shares with others
STRANGERS = 80  # questions of other packs, and as many of none, that the gate sees for each pack
WITHHELD = 0.08  # share of answerable lessons that are shown once more without the passage that answers them
SEED = 0
_Line = TypeVar("_Line", bound=BaseModel)


def conversations(pack: Pack, embed: EmbedTexts, seed: int = SEED) -> list[Taught]:
    """Chats to learn from: what the model will really see, and what it should say.

    Keys are the question, each sentence of the answer, and the section that it is from; also where that is withheld.

    The sentences are those that a search finds which did not learn from this lesson; the one that answers is put among
    them if it was missed. Without it, and for questions that the sources do not answer, ``prompt.NO_ANSWER`` is right.
    """
    chance = random.Random(seed)  # noqa: S311 - shuffles lessons, guards nothing
    rows = study.targets(pack.domain.lessons, pack.index)
    first = pack.index.first_sentences()
    chats: list[Taught] = []
    for place, hits, _ in study.cross_fitted(pack.domain, pack.index, embed):
        lesson = pack.domain.lessons[place]
        ranked = ranking.shipped().rank(lesson.ask, hits, pack.index)
        if lesson.answer is None:
            chats.append((_chat(pack, lesson, ranked[: prompt.SHOWN], None), _keys(lesson)))
            continue
        right = [one for one in ranked if one.row(first) == rows.get(place)]
        if not right:
            continue  # the search missed the passage: nothing to learn from
        shown = ranked[: prompt.SHOWN]
        if right[0] not in shown:
            shown[chance.randrange(len(shown))] = right[0]
        chats.append((_chat(pack, lesson, shown, lesson.answer), _keys(lesson)))
        if chance.random() < WITHHELD:
            section = right[0].hit.passage.id
            others = [one for one in ranked if one.hit.passage.id != section][: prompt.SHOWN]
            chats.append((_chat(pack, lesson, others, None), _keys(lesson)))
    return chats


def _keys(lesson: Lesson) -> Keys:
    answer = lesson.answer or ""
    said = (answer[start:end] for start, end in sentences(answer))
    return frozenset(" ".join(text.lower().split()) for text in (lesson.ask, *said, lesson.source or lesson.ask))


def _chat(pack: Pack, lesson: Lesson, shown: Sequence[Candidate], answer: str | None) -> list[Message]:
    messages = prompt.grounded(pack.domain.manifest.system_prompt, lesson.ask, shown)
    return [*messages, Message("assistant", answer or prompt.NO_ANSWER)]


def train_ranking(packs: Sequence[Pack], embed: EmbedTexts, to: Path) -> dict[str, Any]:
    """Fit the judge of sentences on all packs' lessons, and report it on each pack with that pack left out.

    Returns:
        the card that was written: features, weights, means, scales, and the held-out share of right first choices.
    """
    lists = {pack.domain.name: list(_lists(pack, embed)) for pack in packs}
    held_out = {}
    for name in lists if len(lists) > 1 else ():
        weights, mean, scale = ranking.fit([one for other in lists if other != name for one in lists[other]])
        firsts = [int(np.argmax((rows - mean) / scale @ weights)) in right for rows, right in lists[name]]
        held_out[name] = round(sum(firsts) / len(firsts), 4)
    weights, mean, scale = ranking.fit([one for group in lists.values() for one in group])
    card = {
        "features": list(ranking.FEATURES),
        "weights": [round(float(value), 5) for value in weights],
        "mean": [round(float(value), 5) for value in mean],
        "scale": [round(float(value), 5) for value in scale],
        "mix": list(ranking.shipped().mix),  # until 'train cross-encoder' weighs anew
        "trained_on": {name: len(group) for name, group in lists.items()},
        "held_out_first_choice": held_out,
        "packs": {pack.domain.name: pack.domain.digest for pack in packs},
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(card, indent=2) + "\n")
    return card


def _lists(pack: Pack, embed: EmbedTexts) -> Iterator[tuple[ranking.Matrix, list[int]]]:
    rows = study.targets(pack.domain.lessons, pack.index)
    first = pack.index.first_sentences()
    for place, hits, _ in study.cross_fitted(pack.domain, pack.index, embed):
        if place not in rows:
            continue
        matrix, places = ranking.features(pack.domain.lessons[place].ask, hits, pack.index)
        right = [
            number
            for number, (hit, start, end) in enumerate(places)
            if Candidate(hit, start, end, 0.0).row(first) == rows[place]
        ]
        if right:
            yield matrix, right


def train_adapter(
    app: App,
    domain: str,
    to: Path,
    recipe: Recipe,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    start: Path | None = None,
    more: Sequence[Taught] = (),
    own: bool = True,
) -> Passport:
    """Train the adapter of ``domain`` on its lessons; goes on where a killed run stopped.

    Args:
        app: the product; its base model is trained on, so no adapter may be loaded into it.
        domain: the pack's name.
        to: folder of the adapter.
        recipe: how to train.
        progress: told each step.
        start: folder of another adapter to begin with.
        more: further chats to learn, see ``read_chats``.
        own: whether to learn the pack's lessons.

    Raises:
        DomainError: no such pack, or there are neither lessons nor chats.
        TrainError: the data or the target folder cannot be used.
        AdapterError: the adapter in the folder ``start``, to begin with, does not fit.
    """
    pack = next((pack for pack in app.packs.live() if pack.domain.name == domain), None)
    if pack is None or not (pack.domain.lessons or more):
        known = ", ".join(pack.domain.name for pack in app.packs.live() if pack.domain.lessons)
        raise DomainError(f"there is no pack {domain!r} with a training.jsonl; there are {known}")
    base = app.engine.base
    begun = store.verify(start, base) if start else None
    learned = conversations(pack, app.parts().embedder.embed, recipe.seed) if own and pack.domain.lessons else []
    chats, keys = [chat for chat, _ in (*learned, *more)], [shared for _, shared in (*learned, *more)]
    return train(base, chats, to, recipe, progress, begun, keys)


def train_preferences(
    app: App,
    triples: Sequence[Triple],
    to: Path,
    recipe: Recipe,
    beta: float,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    start: Path | None = None,
) -> Passport:
    """Train an adapter on preference triples; see ``adapters.train.prefer``.

    An adapter to begin with brings its method, rank, alpha, targets and layers.

    Raises:
        TrainError, AdapterError: as in ``train_adapter``.
    """
    base = app.engine.base
    begun = store.verify(start, base) if start else None
    if begun is not None:
        made = methods.choices_of(begun)
        recipe = replace(recipe, **made | ({"layers": recipe.layers} if recipe.layers else {}))
    return prefer(base, triples, to, recipe, beta, progress, begun)


def read_chats(path: Path) -> list[Taught]:
    """``{"messages": [{"role", "content"}, …]}`` a line: each answer of the assistant, after what was said before it.

    Raises:
        DomainError: unreadable, or a line does not fit; file, line and reason are named.
    """
    taught: list[Taught] = []
    for row in _lines(path, _Chat):
        chat = [Message(one.role, one.content) for one in row.messages]
        keys = keys_of(chat)
        taught += [(chat[: end + 1], keys) for end, one in enumerate(chat) if one.role == "assistant"]
    return taught


def read_triples(path: Path) -> list[Triple]:
    """``{"prompt": [{"role", "content"}], "chosen": str, "rejected": str}`` a line.

    Raises:
        DomainError: unreadable, or a line does not fit; file, line and reason are named.
    """
    return [
        ([Message(one.role, one.content) for one in row.prompt], row.chosen, row.rejected)
        for row in _lines(path, _Triple)
    ]


def _lines(path: Path, kind: type[_Line]) -> Iterator[_Line]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at separators within a text
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise DomainError(f"{path}:{number}: {where}: {first['msg']}") from error


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class _Chat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    messages: list[_Message]

    @field_validator("messages")
    @classmethod
    def _take_turns(cls, messages: list[_Message]) -> list[_Message]:
        roles = [one.role for one in messages]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
            raise ValueError(
                "expected user and assistant in turns, after at most one system message, and the assistant last; "
                f"found {', '.join(roles) or 'none'}"
            )
        return messages


class _Triple(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt: list[_Message] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)


def train_evidence(packs: Sequence[Pack], embed: EmbedTexts, to: Path) -> dict[str, Any]:
    """Fit the gate on all packs, and report it on each pack with that pack left out of the fit.

    Returns:
        the card that was written: features, weights, bias, counts, and the held-out figures.
    """
    rows = {pack.domain.name: list(_rows(pack, packs, embed)) for pack in packs}
    held_out = {name: _held_out(name, rows) for name in rows if len(rows) > 1}
    model = _fit([row for group in rows.values() for row in group])
    card = {
        "features": list(evidence.FEATURES),
        "gates": _gates(to)
        | {
            "plain": {
                "weights": [round(float(weight), 5) for weight in model.coef_[0]],
                "bias": round(float(model.intercept_[0]), 5),
            }
        },
        "trained_on": {
            name: {"questions": len(group), "answerable": sum(y for _, y in group)} for name, group in rows.items()
        },
        "held_out": held_out,
        "packs": {pack.domain.name: pack.domain.digest for pack in packs},
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(card, indent=2) + "\n")
    return card


def _gates(card: Path) -> dict[str, Any]:
    """The gates of other kinds that the card holds already."""
    return dict(json.loads(card.read_text())["gates"]) if card.exists() else {}


def _rows(pack: Pack, packs: Sequence[Pack], embed: EmbedTexts) -> Iterator[tuple[evidence.Row, bool]]:
    chance = random.Random(SEED)  # noqa: S311 - draws a sample, guards nothing
    others = [lesson.ask for other in packs if other is not pack for lesson in other.domain.lessons]
    nothing = out_of_scope()
    strangers = [
        *chance.sample(others, min(STRANGERS, len(others))),
        *chance.sample(nothing, min(STRANGERS, len(nothing))),
    ]
    asked = [(lesson.ask, lesson.answer is not None) for lesson in pack.domain.lessons]
    asked += [(text, False) for text in strangers]
    for (text, answerable), vector in zip(asked, embed([text for text, _ in asked]), strict=True):
        yield evidence.features(text, pack.index.search(text, vector, 6), pack.index), answerable


def _fit(rows: Sequence[tuple[evidence.Row, bool]]) -> LogisticRegression:
    model = LogisticRegression(C=10.0, max_iter=5000, class_weight="balanced")
    return model.fit(np.array([x for x, _ in rows]), np.array([y for _, y in rows]))


def _held_out(name: str, rows: dict[str, list[tuple[evidence.Row, bool]]]) -> dict[str, float]:
    model = _fit([row for other, group in rows.items() if other != name for row in group])
    truth = np.array([y for _, y in rows[name]])
    scores = model.predict_proba(np.array([x for x, _ in rows[name]]))[:, 1]
    return {
        "auc": round(float(roc_auc_score(truth, scores)), 4),
        "answered_at_0.5": round(float((scores[truth] >= 0.5).mean()), 4),
        "refused_at_0.5": round(float((scores[~truth] < 0.5).mean()), 4),
    }
