"""The heads: calibrated, deterministic, silent about what is out of scope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assistant import reader
from assistant.reader import ANYWHERE, NOWHERE, Reader, follows_up
from domains.pack import Domain, load
from retrieval.embedder import SentenceEmbedder

TinyPack = Callable[..., Path]


@pytest.fixture(scope="module")
def library(tiny_pack: TinyPack, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return load(tiny_pack(tmp_path_factory.mktemp("packs") / "library"))


@pytest.fixture(scope="module")
def trained(library: Domain, embedder: SentenceEmbedder) -> Reader:
    return reader.train([library], embedder.embed)


def test_the_same_packs_give_the_same_reader(library: Domain, embedder: SentenceEmbedder, trained: Reader) -> None:
    again = reader.train([library], embedder.embed)
    vector = embedder.embed(["How long is a loan?"])[0]
    assert dict(again.domains(vector)) == pytest.approx(dict(trained.domains(vector)))
    assert again.intent("library", vector) == trained.intent("library", vector)


@pytest.mark.parametrize(
    ("text", "domain", "intent"),
    [
        ("How many days may I keep a borrowed book?", "library", "loan"),
        ("What is the fine for a book that is late?", "library", "fee"),
        ("I want to reserve a study room for my group", "library", "room"),
        ("good morning", ANYWHERE, "greeting"),
    ],
)
def test_a_new_question_finds_its_domain_and_intent(
    trained: Reader, embedder: SentenceEmbedder, text: str, domain: str, intent: str
) -> None:
    vector = embedder.embed([text])[0]
    assert trained.domains(vector)[0][0] == domain
    assert trained.intent("library", vector)[0] == intent


@pytest.mark.parametrize(
    "text",
    [
        "Will it be sunny in Rome on Sunday?",
        "Who won the cup final yesterday?",
        "Write me a poem about the sea",
        "What is the square root of 144?",
        "Translate good night into Korean",
    ],
)
def test_the_router_abstains_on_what_is_out_of_scope(trained: Reader, embedder: SentenceEmbedder, text: str) -> None:
    assert trained.domains(embedder.embed([text])[0])[0][0] == NOWHERE


@pytest.mark.parametrize(
    ("text", "mood"),
    [("your fees are outrageous", "negative"), ("I love your study rooms", "positive"), ("book a room", "neutral")],
)
def test_the_mood_is_one_of_three(trained: Reader, embedder: SentenceEmbedder, text: str, mood: str) -> None:
    found, probability = trained.mood(embedder.embed([text])[0])
    assert found == mood and 0 < probability <= 1


def test_a_pack_without_examples_routes_by_its_articles_and_knows_no_intent(
    library: Domain, embedder: SentenceEmbedder
) -> None:
    bare = replace(library, examples=())
    found = reader.train([bare], embedder.embed)
    vector = embedder.embed(["Study rooms"])[0]
    assert found.intent("library", vector) == ("", 0.0)
    assert dict(found.domains(vector))["library"] > 0
    assert found.mood(vector) == ("neutral", 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("and for films?", True),
        ("What about children?", True),
        ("why?", True),
        ("How much does it cost?", True),
        ("Can they be renewed?", True),
        ("How long may I keep a borrowed book?", False),
        ("What does a lost book cost?", False),
        ("Android phone", False),
        ("My father's face is drooping and he cannot speak", False),
        ("Can I give it to my son?", True),
        ("I lost the book that my brother gave me and it cost me a lot", False),
        ("", False),
    ],
)
def test_a_follow_up_leans_on_what_was_said(text: str, expected: bool) -> None:
    assert follows_up(text) is expected


def test_the_list_of_what_is_out_of_scope_has_no_line_twice() -> None:
    lines = [line for line in reader.OUT_OF_SCOPE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= 100
    assert len({line.casefold() for line in lines}) == len(lines)
