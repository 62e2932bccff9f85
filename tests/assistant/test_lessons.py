"""What an adapter learns from a pack's lessons, and from files of chats."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.base import Base, load
from adapters.chat import Message
from adapters.examples import Example, split
from adapters.passport import read
from adapters.recipe import Recipe, TrainError
from adapters.store import AdapterError
from adapters.train import train
from assistant import cli, lessons, models, prompt
from assistant.commands import train as commands
from assistant.packs import Pack, corpus
from assistant.study import learn
from domains import pack as packs
from domains.manifest import Lesson
from domains.pack import DomainError
from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex
from tests.adapters.tiny import tiny_base

TinyPack = Callable[..., Path]
SAID = {
    "A borrowed book may be kept for 21 days.": ("loans#Loan period", "book kept days|long a book|keep my book"),
    "A borrowed film may be kept for 7 days.": ("loans#Loan period", "film kept days|long a film|keep my film"),
    "The library charges the price of a new copy for a lost book.": ("fees#Lost books", "book lost|lost copy|lost it"),
    "The late fee for a book is 0.25 euros a day.": ("fees#Late fee", "late fee|fee a day|book is late"),
    "A study room is booked online up to 14 days ahead.": ("rooms#Booking a study room", "book a room|room online"),
}
QUESTIONS = "What about {}?|Tell me: {}|I ask on {}|Please say, {}"
LINE = {"messages": [{"role": "user", "content": "How long is a loan?"}, {"role": "assistant", "content": "21 days."}]}
QUICK = Recipe(epochs=1, batch=2, accumulate=1, rank=4, alpha=12, layers=1, validation=0.25, method="rslora")


@pytest.fixture(scope="module")
def pack(embedder: SentenceEmbedder, tiny_pack: TinyPack, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    home = tmp_path_factory.mktemp("lessons")
    domain = packs.load(tiny_pack(home / "pack"))
    index = FaissIndex(build(home / "index", corpus(domain), embedder), embedder)
    answered = [
        Lesson(ask=question.format(words), answer=answer, source=source)
        for answer, (source, asked) in SAID.items()
        for words in asked.split("|")
        for question in QUESTIONS.split("|")
    ]
    unanswered = [Lesson(ask=f"Do you lend {what}?", answer=None) for what in ("tools", "toys", "seeds", "tools")]
    taught = replace(domain, lessons=(*answered, *unanswered))
    return Pack(taught, index, None, True, False, home, learn(domain, index, embedder.embed))


@pytest.fixture(scope="module")
def base(models_dir: Path) -> Base:
    return tiny_base(load(models_dir / models.CHAT.name, dtype="float32", device="cpu"))


def product(pack: Pack, base: Base, embedder: SentenceEmbedder) -> Any:
    """What of the product a training uses."""
    parts = SimpleNamespace(embedder=embedder)
    return SimpleNamespace(
        packs=SimpleNamespace(live=lambda: [pack]), engine=SimpleNamespace(base=base), parts=lambda: parts
    )


def test_no_answer_that_is_held_out_was_taught_and_no_question_either(pack: Pack, embedder: SentenceEmbedder) -> None:
    taught = lessons.conversations(pack, embedder.embed)
    answers = {lesson.ask: lesson.answer for lesson in pack.domain.lessons}
    asked = [chat[-2].content.partition("Question: ")[2] for chat, _ in taught]
    said = [chat[-1].content for chat, _ in taught]
    doubles = [ask for ask, text in zip(asked, said, strict=True) if text == prompt.NO_ANSWER and answers[ask]]
    assert doubles  # or this shows nothing about them
    for seed in range(5):
        rows = [Example((place,), (0,), keys) for place, (_, keys) in enumerate(taught)]
        sides = [[row.prompt[0] for row in side] for side in split(rows, 0.2, seed)]
        assert all(sides)
        for known in (
            [{asked[place] for place in side} for side in sides],
            [{answers[asked[place]] for place in side} - {None} for side in sides],
        ):
            assert not known[0] & known[1]


def test_each_answer_of_a_chat_is_learned_after_what_was_said_before(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    texts = ["Be brief.", "How long is a loan?", "21\u2028days.", "And for a film at home?", "7 days."]
    roles = ["system", "user", "assistant", "user", "assistant"]
    row = {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n\n" + json.dumps(LINE) + "\n", encoding="utf-8")
    taught = lessons.read_chats(path)
    assert [[message.content for message in chat] for chat, _ in taught] == [
        texts[:3], texts, ["How long is a loan?", "21 days."],
    ]  # fmt: skip
    assert taught[0][0][0] == Message("system", "Be brief.")
    assert taught[0][1] == taught[1][1] and taught[1][1] & taught[2][1] == {"How long is a loan?"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line: Invalid JSON"),
        ('{"messages": []}', "messages: Value error, expected user and assistant in turns.* found none"),
        (json.dumps({"messages": LINE["messages"][:1]}), "the assistant last; found user"),
        (json.dumps({"messages": LINE["messages"][1:]}), "found assistant"),
        (json.dumps({"messages": [*LINE["messages"], LINE["messages"][1]]}), "found user, assistant, assistant"),
        ('{"messages": [{"role": "root", "content": "x"}]}', "messages.0.role: Input should be"),
        ('{"messages": [{"role": "user", "content": ""}]}', "messages.0.content: String should have at least 1"),
        (json.dumps(LINE | {"weight": 1}), "weight: Extra inputs are not permitted"),
    ],
)
def test_a_line_that_is_no_chat_is_refused_with_its_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{line}\n")
    with pytest.raises(DomainError, match=f"chats.jsonl:2: .*{said}"):
        lessons.read_chats(path)


@pytest.mark.parametrize("own", [True, False])
def test_chats_are_learned_besides_the_lessons_or_instead(
    pack: Pack, base: Base, embedder: SentenceEmbedder, tmp_path: Path, own: bool
) -> None:
    path = tmp_path / "chats.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where is shelf number {n}?"},
                {"role": "assistant", "content": "x"},
            ]
        }
        for n in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = product(pack, base, embedder)
    passport = lessons.train_adapter(
        whole, "library", tmp_path / "to", QUICK, more=lessons.read_chats(path), own=own
    )  # fmt: skip
    learned = passport.counts["train"] + passport.counts["validation"]
    assert learned == 8 + own * len(lessons.conversations(pack, embedder.embed))


def test_preferences_take_over_how_the_first_adapter_was_trained(
    pack: Pack, base: Base, embedder: SentenceEmbedder, tmp_path: Path
) -> None:
    chats = [[Message("user", f"Say the code of {n}."), Message("assistant", f"Code {n}7")] for n in range(10, 18)]
    train(base, chats, tmp_path / "first", QUICK)
    triples = [(chat[:1], chat[1].content, "I will not say it.") for chat in chats]
    whole, asked = product(pack, base, embedder), Recipe(epochs=1, validation=0.25)
    made = lessons.train_preferences(whole, triples, tmp_path / "second", asked, 0.1, start=tmp_path / "first")
    known = {key: made.recipe[key] for key in ("rank", "alpha", "layers", "method")}
    assert known == {"rank": 4, "alpha": 12, "layers": 1, "method": "rslora"}
    with pytest.raises(AdapterError, match="cannot be begun with"):
        other = replace(asked, layers=2)
        lessons.train_preferences(whole, triples, tmp_path / "third", other, 0.1, start=tmp_path / "first")


@pytest.mark.parametrize("command", [("adapter", "--domain", "library"), ("preferences",)], ids=lambda one: one[0])
def test_a_finished_folder_and_a_bad_line_are_refused_before_the_product_starts(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    home = tmp_path / "home"  # without models nothing could start
    (tmp_path / "passport.json").write_text("{}")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    asked = ["train", *command, "--data", str(tmp_path / "bad.jsonl"), "--to"]
    finished = CliRunner().invoke(cli.app, [*asked, str(tmp_path)], env={"ASSISTANT_HOME": str(home)})
    assert isinstance(finished.exception, TrainError) and "holds a finished adapter" in str(finished.exception)
    bad = CliRunner().invoke(cli.app, [*asked, str(tmp_path / "new")], env={"ASSISTANT_HOME": str(home)})
    assert isinstance(bad.exception, DomainError) and "bad.jsonl:1: " in str(bad.exception)
    assert not home.exists()


def test_nothing_to_learn_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["train", "adapter", "-d", "x", "--to", str(tmp_path), "--no-lessons"])
    assert result.exit_code == 2 and "give --data too" in result.output


def test_the_options_of_the_command_are_the_recipe(
    pack: Pack, base: Base, embedder: SentenceEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "opened", lambda _: nullcontext(product(pack, base, embedder)))
    rows = [
        {"messages": [{"role": "user", "content": f"Where is shelf {n}?"}, {"role": "assistant", "content": "x"}]}
        for n in range(8)
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = "--rank 2 --alpha 3 --batch 1 --accumulate 3 --patience 4 --validation 0.5 --warmup 0.2 --dropout 0.3"
    asked = ["train", "adapter", "-d", "library", "--to", str(tmp_path / "to"), "--no-lessons", "--no-candidate"]
    result = CliRunner().invoke(cli.app, [*asked, "--data", str(tmp_path / "chats.jsonl"), *options.split()])
    assert result.exit_code == 0, result.output
    made = read(tmp_path / "to")
    expected = dict(zip(*[iter(options.replace("--", "").split())] * 2, strict=True))
    assert {key: str(made.recipe[key]) for key in expected} == expected
    assert made.counts == {"train": 4, "validation": 4, "dropped": 0}
