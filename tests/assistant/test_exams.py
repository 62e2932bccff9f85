"""Every live pack sits its policy exam in the background, once for each state of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adapters.chat import Message, Sampling
from assistant import reader
from assistant.exams import PolicyExams, Sat
from assistant.packs import Pack, corpus
from assistant.study import learn
from assistant.turn import Parts
from domains.manifest import Golden
from domains.pack import load
from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex

TinyPack = Callable[..., Path]


@dataclass
class Model:
    """Says nothing, and counts how often it was asked."""

    asked: list[Sequence[Message]] = field(default_factory=list)

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        self.asked.append(messages)
        yield ""


@pytest.fixture(scope="module")
def parts(embedder: SentenceEmbedder, tiny_pack: TinyPack, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    home = tmp_path_factory.mktemp("exams")
    domain = load(tiny_pack(home / "pack"))
    index = FaissIndex(build(home / "index", corpus(domain), embedder), embedder)
    pack = Pack(domain, index, None, True, False, home, learn(domain, index, embedder.embed))
    return Parts(Model(), embedder, reader.train([domain], embedder.embed), {"library": pack})


def with_exam(parts: Parts, *cases: Golden) -> Parts:
    pack = parts.packs["library"]
    return replace(parts, packs={"library": replace(pack, domain=replace(pack.domain, golden=cases))})


def test_what_must_be_refused_is_asked_and_what_fails_is_named(parts: Parts) -> None:
    cases = (
        Golden(ask="Who has the atlas?", expect="refuse"),
        Golden(ask="How long may I keep a borrowed book?", expect="refuse"),
        Golden(ask="For how many days is a book mine?", expect="answer"),  # no matter of policy
    )
    asked = with_exam(parts, *cases)
    exams = PolicyExams(lambda: asked)
    assert exams.result(asked.packs["library"]) is None
    exams.catch_up()
    sat = exams.result(asked.packs["library"])
    assert sat is not None and sat.cases == 2 and not sat.passed
    assert [question for question, _ in sat.failures] == ["How long may I keep a borrowed book?"]
    assert "expected escalated or refused" in sat.failures[0][1]


def test_a_state_sits_once_and_a_changed_one_again(parts: Parts) -> None:
    asked = [with_exam(parts, Golden(ask="Who has the atlas?", expect="refuse"))]
    exams = PolicyExams(lambda: asked[0])
    exams.follow()
    try:
        _until(lambda: exams.result(asked[0].packs["library"]) == Sat(1, ()))
        pack = asked[0].packs["library"]
        changed = replace(pack, domain=replace(pack.domain, digest="f" * 64))
        asked[0] = replace(asked[0], packs={"library": changed})
        assert exams.result(changed) is None
        _until(lambda: exams.result(changed) == Sat(1, ()))
    finally:
        exams.close()


def test_a_pack_without_such_questions_has_no_result(parts: Parts) -> None:
    asked = with_exam(parts, Golden(ask="For how many days is a book mine?", expect="answer"))
    exams = PolicyExams(lambda: asked)
    exams.catch_up()
    assert exams.result(asked.packs["library"]) is None


def _until(reached: Callable[[], bool]) -> None:
    for _ in range(300):
        if reached():
            return
        time.sleep(0.1)
    raise AssertionError("not reached within 30 seconds")
