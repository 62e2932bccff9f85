"""What only a server that many machines share has to promise: the same ranking, one build, nothing dropped in use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.embedder import Maker, RetrievalError, maker
from retrieval.passage import Document, passages
from retrieval.postgres import Postgres
from retrieval.storage import Folder
from tests.retrieval.test_index import CORPUS, DOCUMENTS, BagOfWords, Other, Retuned, Tuned
from tests.retrieval.test_library import Counting, document

QUESTIONS = ("How long may I keep a book?", "late fee", "study rooms with coffee", "lost books", "退货", "zebra", "")


@pytest.fixture
def server(postgres: str, tmp_path: Path) -> Iterator[Postgres]:
    opened = Postgres(postgres, tmp_path)
    yield opened
    opened.close()


def test_it_ranks_and_scores_as_the_files_do(server: Postgres, tmp_path: Path) -> None:
    shelves = []
    for storage in (Folder(tmp_path), server):
        index = storage.open("rank" + tmp_path.name, CORPUS, BagOfWords())
        for number in range(12):
            text = f"## Rule {number}\nLate books of shelf {number} cost {number} euros. 退货政策。"
            assert index.library
            index.library.put(f"{number}.md", document(f"d{number}", text))
        index.sync()
        shelves.append(index)
    for question in QUESTIONS:
        vector = BagOfWords().embed([question])[0]
        ours, theirs = (
            [
                (hit.span, round(hit.bm25, 3), round(hit.sentence, 3), hit.cosine)
                for hit in index.search(question, vector, 50, vector, also=["loans#renewal"])
            ]
            for index in shelves
        )
        for mine, other in zip(sorted(ours), sorted(theirs), strict=True):  # which of equals comes first may differ
            assert mine[:3] == other[:3], question
            assert mine[3] == pytest.approx(other[3], abs=1e-3), question  # half precision in memory
    assert shelves[0].document_frequency("books") == shelves[1].document_frequency("books") > 0
    assert shelves[0].first_sentences().keys() == shelves[1].first_sentences().keys()
    assert abs(shelves[0].sentences - shelves[1].sentences).max() < 1e-6


def test_machines_that_start_at_once_embed_once_and_agree(postgres: str, tmp_path: Path) -> None:
    def start(number: int) -> tuple[str, int]:
        storage, embedder = Postgres(postgres, tmp_path / str(number)), Counting()
        index = storage.open("once" + tmp_path.name, CORPUS, embedder)
        index.close()
        storage.close()
        return index.folder.name, len(embedder.texts)

    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(start, range(3)))
    assert len({name for name, _ in started}) == 1
    assert sorted(count > 0 for _, count in started) == [False, False, True]


def test_a_generation_in_use_stays_and_loses_what_is_deleted_and_goes_when_nobody_reads_it(
    server: Postgres, postgres: str, tmp_path: Path
) -> None:
    domain = "use" + tmp_path.name
    old = server.open(domain, CORPUS, BagOfWords())
    server.documents(domain).put("a.md", document("a", "Bicycles are parked behind the greenhouse."))
    old.sync()
    more = [*CORPUS, *passages(Document("new", "New", "A new article.", "s"))]
    other = Postgres(postgres, tmp_path)
    server.documents(domain).remove("files/a")
    new = other.open(domain, more, BagOfWords())
    assert len(old.passages()) == len(CORPUS) and "files/a" not in {one.document for one in old.passages()}
    assert len(server.embedders(domain)) == 2
    old.close()
    new.close()
    other.open(domain, more, BagOfWords()).close()
    assert len(server.embedders(domain)) == 1
    other.close()


def test_another_embedder_builds_beside_and_is_told_apart(server: Postgres, tmp_path: Path) -> None:
    domain = "two" + tmp_path.name
    serving, built = server.open(domain, CORPUS, BagOfWords()), server.open(domain, CORPUS, Other())
    assert serving.passages() == built.passages()
    assert server.embedders(domain) == [Maker(BagOfWords.fingerprint), Maker(Other.fingerprint)]


def test_the_same_weights_with_other_settings_build_beside_and_an_older_version_goes_on(
    server: Postgres, tmp_path: Path
) -> None:
    domain = "set" + tmp_path.name
    tuned, retuned = server.open(domain, CORPUS, Tuned()), server.open(domain, CORPUS, Retuned())
    assert server.embedders(domain) == [maker(Tuned()), maker(Retuned())]
    assert abs(tuned.sentences - retuned.sentences[:, ::-1]).max() < 1e-6
    older = server.open(domain + "older", CORPUS, BagOfWords())
    assert server.open(domain + "older", CORPUS, Tuned()).generation == older.generation


def test_it_leaves_out_copies_as_the_files_do(server: Postgres, tmp_path: Path) -> None:
    old, new = ([*passages(Document(year, "Fees", DOCUMENTS["fees"], "Rules", year))] for year in ("2025", "2027"))
    for storage in (Folder(tmp_path), server):
        index = storage.open("copies" + tmp_path.name, [*old, *CORPUS, *new], BagOfWords())
        hits = index.search("late fee", BagOfWords().embed(["late fee"])[0], 9)
        assert sorted(hit.passage.document for hit in hits) == ["2027", "2027", "loans", "loans", "rooms"]


def test_a_build_that_fails_leaves_nothing(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("not enough memory")

    embedder = BagOfWords()
    monkeypatch.setattr(embedder, "embed", fail)
    with pytest.raises(RetrievalError, match="could not be built: not enough memory; nothing was changed$"):
        server.open("fails" + tmp_path.name, CORPUS, embedder)
    assert server.embedders("fails" + tmp_path.name) == []


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://[broken"])
def test_a_server_that_cannot_be_reached_says_what_is_needed(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        RetrievalError, match="(?s)cannot be opened: .*it needs PostgreSQL with pgvector, a user who may"
    ):
        Postgres(url, tmp_path)
