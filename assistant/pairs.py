"""Turns lessons into cases for the cross-encoder, and weighs what it says against the linear judge and the gate.

One lesson in ``FOLDS`` is never shown to the cross-encoder: the weights of its scores are fitted on those alone.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from assistant import ranking, study
from assistant.packs import Pack
from assistant.ranking import Candidate
from assistant.reader import EmbedTexts
from domains.manifest import Lesson
from domains.pack import DomainError
from retrieval.cross_training import Case
from retrieval.passage import Hit, sentences

FOLDS = 5
SHOWN = 7  # sentences of a case
HARD = 14  # likeliest sentences that its wrong ones are drawn from
WITHHELD = 0.2  # share of answered lessons that are asked of other passages than the one that answers
WITHOUT = 0.35  # … of outside questions, whose sources repeat a topic more often
REPEATED = 3  # times that an unanswered lesson is shown; there are few
ANSWERED = 2  # sentences at the start of an outside answer that count as the answer
LENGTHS = range(30, 300)  # characters of a sentence taken from outside


@dataclass(frozen=True, slots=True)
class Searched:
    """A lesson with the sentences that a search found which had not learned from it, likeliest first."""

    lesson: Lesson
    hits: tuple[Hit, ...]
    ranked: tuple[Candidate, ...]
    right: tuple[int, ...]  # places in ``ranked`` of the sentence that answers; empty where none was found
    unanswered: float  # as in ``assistant.known.Near``


class Answered(BaseModel):
    """A line of a file of questions with their answers, grouped by what they are about."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    focus: str = Field(min_length=1)


def held_out(question: str) -> bool:
    """Whether a lesson is kept from the cross-encoder."""
    return int(hashlib.sha256(question.lower().encode()).hexdigest(), 16) % FOLDS == 0


def searched(pack: Pack, embed: EmbedTexts) -> Iterator[Searched]:
    """The pack's lessons as they are found; those whose answer was not found are left out."""
    rows, first = study.targets(pack.domain.lessons, pack.index), pack.index.first_sentences()
    for place, hits, near in study.cross_fitted(pack.domain, pack.index, embed):
        lesson = pack.domain.lessons[place]
        ranked = tuple(ranking.shipped().rank(lesson.ask, hits, pack.index))
        right = tuple(number for number, one in enumerate(ranked) if one.row(first) == rows.get(place))
        if ranked and (right or lesson.answer is None):
            yield Searched(lesson, tuple(hits), ranked, right, near.unanswered)


def strangers(pack: Pack, questions: Sequence[str], embed: EmbedTexts) -> Iterator[Searched]:
    """Questions that the pack does not answer, with what it finds for them all the same."""
    for text, vector in zip(questions, embed(questions), strict=True):
        hits, near = pack.learned.find(pack.index, text, vector)
        ranked = tuple(ranking.shipped().rank(text, hits, pack.index))
        if ranked:
            yield Searched(Lesson(ask=text, answer=None, source=None), tuple(hits), ranked, (), near.unanswered)


def cases(lessons: Sequence[Searched], outside: Sequence[Answered], seed: int = 0) -> Callable[[int], list[Case]]:
    """Cases for each epoch, from the lessons that are not held out and from questions that others answered."""
    taught = [one for one in lessons if not held_out(one.lesson.ask)]
    taught += [one for one in taught if one.lesson.answer is None] * (REPEATED - 1)

    def drawn(epoch: int) -> list[Case]:
        chance = random.Random(f"{seed}-{epoch}")  # noqa: S311 - draws samples, guards nothing
        return [*(_case(one, chance) for one in taught), *_others(outside, chance)]

    return drawn


def recent(
    packs: Sequence[Pack], lessons: Mapping[str, Sequence[Searched]], last: int, seed: int = 0
) -> list[Searched]:
    """The last so many lessons of each pack, and as many earlier ones, so that what was learned is not lost.

    Args:
        packs: whose lessons they are, in their order.
        lessons: of each of them, by its name, as they are found.
        last: how many are new in each pack.
        seed: of the draw.
    """
    chance = random.Random(seed)  # noqa: S311 - draws a sample, guards nothing
    drawn: list[Searched] = []
    for pack in packs:
        fresh = {lesson.ask for lesson in pack.domain.lessons[-last:]}
        new = [one for one in lessons[pack.domain.name] if one.lesson.ask in fresh]
        old = [one for one in lessons[pack.domain.name] if one.lesson.ask not in fresh]
        drawn += [*new, *chance.sample(old, min(len(new), len(old)))]
    return drawn


def _case(one: Searched, chance: random.Random) -> Case:
    if one.lesson.answer is None:
        return Case(one.lesson.ask, tuple(each.read_as for each in one.ranked[:SHOWN]))
    answering = {one.ranked[place].hit.passage.id for place in one.right}
    others = [each for each in one.ranked if each.hit.passage.id not in answering][:SHOWN]
    if chance.random() < WITHHELD and len(others) == SHOWN:
        return Case(one.lesson.ask, tuple(each.read_as for each in others))
    wrong = [each for place, each in enumerate(one.ranked[:HARD]) if place not in one.right]
    chosen = [*chance.sample(wrong, min(SHOWN - 1, len(wrong))), one.ranked[one.right[0]]]
    chance.shuffle(chosen)
    return Case(one.lesson.ask, tuple(each.read_as for each in chosen), (chosen.index(one.ranked[one.right[0]]),))


def _others(outside: Sequence[Answered], chance: random.Random) -> Iterator[Case]:
    """Another question about the same thing has the most tempting wrong answers."""
    groups: dict[str, list[Answered]] = {}
    for one in outside:
        groups.setdefault(one.focus.lower(), []).append(one)
    for one in outside:
        own = _sentences(one.answer)[:ANSWERED]
        wrong = [
            text
            for other in groups[one.focus.lower()]
            if other.question != one.question
            for text in _sentences(other.answer)[: ANSWERED + 1]
        ]
        if not own or len(wrong) < ANSWERED:
            continue
        texts = chance.sample(wrong, min(SHOWN - 1, len(wrong)))
        answered = chance.random() >= WITHOUT
        if answered:
            texts.insert(chance.randrange(len(texts) + 1), own[0])
        named = tuple(f"{one.focus}: {text}" for text in texts)
        yield Case(one.question, named, (texts.index(own[0]),) if answered else ())


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text) if end - start in LENGTHS]


def read_answered(path: Path) -> list[Answered]:
    """``{"question", "answer", "focus"}`` a line; further keys are passed over.

    Raises:
        DomainError: unreadable, or a line does not fit; file, line and reason are named.
    """
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                found.append(Answered.model_validate(json.loads(line)))
            except ValueError as error:  # pydantic's and json's errors are of this kind
                raise DomainError(f"{path}:{number}: expected question, answer and focus: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: cannot be read: {error}") from error
    return found
