"""Personal data that is planted in a real chat is found nowhere on disk, and would be found if it were there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from adapters.chat import Message, Sampling
from assistant import canary, reader
from assistant.packs import Pack, corpus
from assistant.study import learn
from assistant.turn import Parts
from domains.pack import load
from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex

TinyPack = Callable[..., Path]


class Echo:
    """A model that repeats whatever it is told: the worst that a model can do."""

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        yield " ".join(message.content for message in messages)


@pytest.fixture
def parts(embedder: SentenceEmbedder, tiny_pack: TinyPack, tmp_path: Path) -> Parts:
    domain = load(tiny_pack(tmp_path / "pack"))
    index = FaissIndex(build(tmp_path / "index", corpus(domain), embedder), embedder)
    pack = Pack(domain, index, None, True, False, tmp_path, learn(domain, index, embedder.embed))
    return Parts(Echo(), embedder, reader.train([domain], embedder.embed), {"library": pack})


def test_no_sink_keeps_what_was_planted_and_the_user_sees_it(parts: Parts, tmp_path: Path) -> None:
    folder, turns = canary.sing(lambda: parts, tmp_path / "chat")
    assert canary.found(folder) == []
    assert len(turns) == 4
    assert canary.CANARIES["name"] in turns[0].question  # their own data stays theirs while they talk


@pytest.mark.parametrize("kind", canary.CANARIES)
def test_every_canary_would_be_found_in_a_file_and_in_a_table(tmp_path: Path, kind: str) -> None:
    (tmp_path / "server.log").write_text(f"asked: {canary.CANARIES[kind]}")
    with closing(sqlite3.connect(tmp_path / "state.db")) as base:
        base.execute("CREATE TABLE turns (question TEXT)")
        base.execute("INSERT INTO turns VALUES (?)", (canary.CANARIES[kind],))
        base.commit()
    assert {f"{kind} in server.log", f"{kind} in state.db, table turns"} <= set(canary.found(tmp_path))
