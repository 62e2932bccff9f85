"""Generations of an index: built whole or not at all, refused when they do not fit, and safe to search."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedder import RetrievalError, SentenceEmbedder, Vectors
from retrieval.generation import Generation, build
from retrieval.index import FaissIndex
from retrieval.passage import Document, Hit, Passage, passages, sentences

DOCUMENTS = {
    "loans": "## Loan period\nA borrowed book may be kept for 21 days. A film may be kept for 7 days.\n"
    "## Renewal\nA loan is renewed twice at most.",
    "fees": "## Late fee\nThe late fee for a book is 0.25 euros a day.\n## Lost\nA lost book costs its full price.",
    "rooms": "## Study rooms\nA study room holds 2 to 8 people. The café sells coffee, not books.",
}
CORPUS = [
    passage
    for name, text in DOCUMENTS.items()
    for passage in passages(Document(name, name.title(), text, f"House rules, {name}", "2026-01-05", "Apache-2.0"))
]


class BagOfWords:
    """An Embedder without a model: every word has its own direction."""

    fingerprint = hashlib.sha256(b"bag of words").hexdigest()

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class Other(BagOfWords):
    fingerprint = hashlib.sha256(b"another model").hexdigest()


class Tuned(BagOfWords):
    recipe = hashlib.sha256(b"mean pooling").hexdigest()


class Retuned(BagOfWords):
    recipe = hashlib.sha256(b"first token").hexdigest()

    def embed(self, texts: Sequence[str]) -> Vectors:
        return super().embed(texts)[:, ::-1]


class Failing(BagOfWords):
    """Runs out of memory after the first block."""

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("not enough memory")
        return super().embed(texts)


@pytest.fixture
def generation(tmp_path: Path) -> Path:
    return build(tmp_path / "library", CORPUS, BagOfWords())


@pytest.fixture
def index(generation: Path) -> FaissIndex:
    return FaissIndex(generation, BagOfWords())


def search(index: FaissIndex, text: str, k: int = 5) -> list[Hit]:
    return index.search(text, BagOfWords().embed([text])[0], k)


def test_the_manifest_says_what_was_built(generation: Path) -> None:
    found = Generation(**json.loads((generation / "manifest.json").read_text()))
    assert (found.passages, found.dimensions, found.embedder) == (5, 64, BagOfWords.fingerprint)
    assert found.sentences == sum(len(sentences(passage.text)) for passage in CORPUS)
    assert found.name == generation.name
    assert sorted(path.name for path in generation.parent.iterdir()) == [generation.name]


def test_passages_come_back_exactly_and_in_order(index: FaissIndex) -> None:
    assert index.passages() == CORPUS


def test_the_passage_that_answers_is_first_and_its_sentence_is_marked(index: FaissIndex) -> None:
    best = search(index, "How much is the late fee for a book?")[0]
    assert best.passage.id == "fees#late-fee"
    assert best.passage.text[slice(*best.span)] == "The late fee for a book is 0.25 euros a day."
    assert best.bm25 > 0


def test_hits_are_distinct_sorted_by_score_and_at_most_k(index: FaissIndex) -> None:
    for k in (1, 2, 5, 50):
        found = search(index, "book", k)
        assert len(found) == min(k, len(CORPUS))
        assert len({hit.passage.id for hit in found}) == len(found)
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
        assert all(-1.001 <= hit.cosine <= 1.001 and -1.001 <= hit.sentence <= 1.001 for hit in found)


def test_a_question_in_other_words_finds_its_passage_with_the_real_model(
    embedder: SentenceEmbedder, tmp_path: Path
) -> None:
    index = FaissIndex(build(tmp_path, CORPUS, embedder), embedder)
    question = "For what time may I take a novel home?"
    assert index.search(question, embedder.embed([question])[0], 1)[0].passage.id == "loans#loan-period"


def test_the_same_content_is_the_same_generation_and_is_not_embedded_twice(generation: Path) -> None:
    never = Failing()
    never.calls = 1
    assert build(generation.parent, CORPUS, never) == generation
    assert never.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda corpus: corpus[:-1],
        lambda corpus: corpus[::-1],
        lambda corpus: [
            *corpus[:-1],
            *passages(Document("rooms", "Rooms", "## Study rooms\nChanged.", "s", "2026-01-05", "l")),
        ],
    ],
    ids=["one less", "another order", "another text"],
)
def test_other_content_is_another_generation(
    generation: Path, change: Callable[[list[Passage]], list[Passage]]
) -> None:
    assert build(generation.parent, change(CORPUS), BagOfWords()) != generation


@pytest.mark.parametrize("field", ["source", "date", "licence", "title"])
def test_a_changed_source_line_reaches_the_citations(generation: Path, field: str) -> None:
    changed = [
        Passage(**{name: getattr(one, name) for name in Passage.__slots__} | {field: f"new {field}"}) for one in CORPUS
    ]
    again = FaissIndex(build(generation.parent, changed, BagOfWords()), BagOfWords())
    assert {getattr(one, field) for one in again.passages()} == {f"new {field}"}


def test_another_embedder_is_refused_with_what_to_do(generation: Path) -> None:
    with pytest.raises(RetrievalError) as caught:
        FaissIndex(generation, Other())
    assert str(caught.value) == (
        f"{generation} was built with embedder {BagOfWords.fingerprint[:16]}, and {Other.fingerprint[:16]} is loaded; "
        "run 'assistant index rebuild' to build it again, or set ASSISTANT_EMBEDDER back"
    )
    rebuilt = build(generation.parent, CORPUS, Other())
    assert rebuilt != generation and FaissIndex(rebuilt, Other()).generation.embedder == Other.fingerprint


def test_the_same_weights_with_other_settings_are_refused_and_share_no_vector(tmp_path: Path) -> None:
    tuned = build(tmp_path, CORPUS, Tuned())
    with pytest.raises(RetrievalError) as caught:
        FaissIndex(tuned, Retuned())
    assert str(caught.value).startswith(
        f"{tuned} was built with embedder {Tuned.fingerprint[:16]} with settings {Tuned.recipe[:8]}, and "
        f"{Tuned.fingerprint[:16]} with settings {Retuned.recipe[:8]} is loaded; run 'assistant index rebuild'"
    )
    rebuilt = build(tmp_path, CORPUS, Retuned())
    assert rebuilt != tuned
    assert np.array_equal(FaissIndex(rebuilt, Retuned()).sentences, FaissIndex(tuned, Tuned()).sentences[:, ::-1])


def test_a_generation_of_a_version_that_noted_no_settings_goes_on(generation: Path) -> None:
    manifest = generation / "manifest.json"
    noted = json.loads(manifest.read_text())
    assert noted.pop("recipe") == ""
    manifest.write_text(json.dumps(noted))
    assert build(generation.parent, CORPUS, Tuned()) == generation
    assert FaissIndex(generation, Tuned()).passages() == CORPUS


def test_a_copy_in_another_document_takes_no_place_and_the_newer_version_stays(tmp_path: Path) -> None:
    (late, *_) = passages(Document("new", "Fees", DOCUMENTS["fees"], "Rules", "2027-01-05"))
    (copy, *_) = passages(Document("copy", "Fees", DOCUMENTS["fees"], "Rules", "2026-01-05"))
    index = FaissIndex(build(tmp_path, [*CORPUS, copy, late], BagOfWords()), BagOfWords())
    found = [hit.passage.id for hit in search(index, "How much is the late fee for a book?", 5)]
    assert found[0] == "new#late-fee"
    assert len(found) == 5 and not {"fees#late-fee", "copy#late-fee"} & set(found)


def test_a_generation_without_a_manifest_is_refused_and_rebuilt(generation: Path) -> None:
    (generation / "manifest.json").unlink()
    with pytest.raises(RetrievalError, match=r"is not a whole index generation .*; run 'assistant index'"):
        FaissIndex(generation, BagOfWords())
    assert build(generation.parent, CORPUS, BagOfWords()) == generation
    assert FaissIndex(generation, BagOfWords()).passages() == CORPUS


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_damaged_manifest_is_refused(generation: Path, text: str) -> None:
    (generation / "manifest.json").write_text(text)
    with pytest.raises(RetrievalError, match="is not a whole index generation"):
        FaissIndex(generation, BagOfWords())


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage"])
def test_a_damaged_file_is_refused_when_the_index_is_opened(generation: Path, damage: str) -> None:
    path = generation / "index.sqlite"
    path.unlink()
    if damage != "gone":
        path.write_bytes(b"" if damage == "empty" else b"\x80\x04garbage" * 64)
    with pytest.raises(RetrievalError, match=r"cannot be opened \(.*\); delete it and run 'assistant index'"):
        FaissIndex(generation, BagOfWords())


def test_a_killed_build_leaves_no_generation_and_the_next_one_succeeds(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from tests.retrieval.test_index import CORPUS, BagOfWords\nfrom retrieval.generation import build\n"
        "class Killed(BagOfWords):\n"
        "    def embed(self, texts):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "build(Path(sys.argv[1]), CORPUS, Killed())\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "library")], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [path for path in (tmp_path / "library").iterdir() if not path.name.startswith(".")] == []
    assert FaissIndex(build(tmp_path / "library", CORPUS, BagOfWords()), BagOfWords()).passages() == CORPUS


def test_a_failing_embedder_leaves_nothing_behind(tmp_path: Path) -> None:
    failing = Failing()
    with pytest.raises(RetrievalError) as caught:
        build(tmp_path / "library", CORPUS, failing)
    assert failing.calls == 2
    assert str(caught.value) == (
        f"the index could not be written to {tmp_path / 'library'}: not enough memory; nothing was changed"
    )
    assert list((tmp_path / "library").iterdir()) == []


def test_a_parent_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RetrievalError, match=r"could not be written to .*library: .*; nothing was changed"):
        build(tmp_path / "file" / "library", CORPUS, BagOfWords())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_nothing_to_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="^there is no passage to index$"):
        build(tmp_path / "library", [], BagOfWords())
    assert not (tmp_path / "library").exists()


def test_an_id_twice_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="^two passages share an id: "):
        build(tmp_path / "library", [*CORPUS, CORPUS[0]], BagOfWords())
    assert not (tmp_path / "library").exists()


def test_two_builders_at_once_agree_on_one_generation(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: build(tmp_path / "library", CORPUS, BagOfWords()), range(4)))
    assert len(set(built)) == 1
    assert [path.name for path in (tmp_path / "library").iterdir()] == [built[0].name]


def test_progress_ends_at_the_number_of_passages(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    many = [
        passage
        for number in range(100)
        for passage in passages(Document(f"d{number}", "T", f"Text {number}.", "s", "2026-01-05", "l"))
    ]
    build(tmp_path, many, BagOfWords(), lambda done, total: seen.append((done, total)))
    assert seen == [(64, 100), (100, 100)]


def test_eight_threads_find_what_one_finds(index: FaissIndex) -> None:
    questions = ["late fee", "book a study room", "renew my loan", "lost book", "film", "coffee", "how long", ""] * 40
    alone = [search(index, question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda question: search(index, question), questions)) == alone


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "???",
        '"',
        "'; DROP TABLE passages; --",
        'book" OR "1"="1',
        "NOT AND OR NEAR",
        "book NEAR(fee, 2)",
        "title:book",
        "^book",
        "book*",
        "-book +fee (room",
        "{a b}: c",
        "\x00book",
        "_",
        "word " * 3000,
        "é́ 漢字 🙂",
    ],
)
def test_any_question_is_safe_to_search(index: FaissIndex, text: str) -> None:
    assert len(search(index, text, 3)) == 3
    assert len(index.passages()) == len(CORPUS)


def test_words_match_whatever_their_case_accents_and_endings(index: FaissIndex) -> None:
    assert index.document_frequency("CAFE") == index.document_frequency("café") == 1
    assert index.document_frequency("booking") == index.document_frequency("book") == 4
    assert index.document_frequency("unheard") == 0


def test_a_generation_is_a_manifest_and_a_database_and_no_pickle(generation: Path) -> None:
    starts = {path.name: path.read_bytes()[:16] for path in generation.iterdir()}
    assert starts.keys() == {"manifest.json", "index.sqlite"}
    assert starts["manifest.json"].startswith(b"{")
    assert starts["index.sqlite"].startswith(b"SQLite format 3")


def test_a_section_of_marks_only_is_no_passage_and_does_not_break_the_search(tmp_path: Path) -> None:
    corpus = list(passages(Document("d", "T", "## Ruler\n---\n## Text\nA book.", "s", "2026-01-05", "l")))
    index = FaissIndex(build(tmp_path, corpus, BagOfWords()), BagOfWords())
    assert [hit.passage.id for hit in search(index, "book")] == ["d#text"]
