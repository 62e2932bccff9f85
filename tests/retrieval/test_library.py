"""Documents beside a pack's articles: added, changed, deleted, and gone for good, whenever the power goes."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import memory
from retrieval.embedder import RetrievalError, Vectors
from retrieval.index import FaissIndex
from retrieval.library import Library
from retrieval.passage import Document, Hit, Passage, passages
from retrieval.postgres import Postgres
from retrieval.postgres import index as postgres
from retrieval.storage import Folder, Storage
from retrieval.tables import Scope
from tests.retrieval.test_index import CORPUS, BagOfWords

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "12"))  # `make bench` asks for 220
SECRET = "zirconium marmalade"


class Counting(BagOfWords):
    """Counts what it embeds."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return super().embed(texts)


class Shelf:
    """A library and its index under one folder, opened as the product opens them."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        self.home, self.url, self.embedder = home, url, Counting()
        self.storage: Storage = Postgres(url, home) if url else Folder(home)
        self.library = self.storage.documents(home.name)
        self.index = self.storage.open(home.name, CORPUS, self.embedder)

    def again(self) -> Shelf:
        """The same shelf, as another process opens it."""
        return Shelf(self.home, self.url)

    def put(self, name: str, text: str, access: str = "", date: str = "2026-02-01") -> str:
        change = self.library.put(f"{name}.md", document(name, text, access, date))
        self.index.sync()
        return change

    def remove(self, name: str) -> None:
        self.library.remove(f"files/{name}")
        self.index.sync()

    def search(self, text: str, *groups: str, since: str = "") -> list[Hit]:
        return self.index.search(text, BagOfWords().embed([text])[0], 5, scope=Scope(frozenset(groups), since))

    def documents(self) -> set[str]:
        return {passage.document for passage in self.index.passages()}


def database(home: Path) -> Path:
    return home / "knowledge" / f"{home.name}.sqlite"


def document(name: str, text: str, access: str = "", date: str = "2026-02-01") -> list[Passage]:
    return list(passages(Document(f"files/{name}", name.title(), text, name, date, "CC0-1.0", access)))


@pytest.fixture(params=["files", "postgres"])
def shelf(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """An empty shelf of either kind; a test's own folder names its domain."""
    opened = Shelf(tmp_path, request.getfixturevalue("postgres") if request.param == "postgres" else None)
    yield opened
    opened.index.close()


@pytest.fixture
def files(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_document_answers_at_once_beside_the_articles_and_after_a_restart(shelf: Shelf) -> None:
    assert shelf.put("parking", "## Bicycles\nBicycles are parked behind the greenhouse.") == "added"
    for one in (shelf, shelf.again()):
        best = one.search("Where do I park my bicycles?")[0].passage
        assert (best.id, best.source, best.licence) == ("files/parking#bicycles", "parking", "CC0-1.0")
        assert one.search("How much is the late fee for a book?")[0].passage.id == "fees#late-fee"
        assert one.index.faults() == []


def test_only_what_changed_is_embedded_again(shelf: Shelf) -> None:
    text = "## One\nBicycles are parked behind the greenhouse.\n## Two\nCars are parked on the roof."
    shelf.put("parking", text)
    shelf.embedder.texts.clear()
    assert shelf.put("parking", text) == "unchanged"
    assert shelf.put("parking", text.replace("roof", "street")) == "updated"
    assert shelf.embedder.texts == [
        "Parking > Two\nCars are parked on the street.",
        "Parking: Cars are parked on the street.",
    ]
    assert [one.text for one in shelf.index.passages() if one.document == "files/parking"] == [
        "Bicycles are parked behind the greenhouse.",
        "Cars are parked on the street.",
    ]


def test_a_changed_source_reaches_the_citations_without_embedding(shelf: Shelf) -> None:
    shelf.put("parking", "Bicycles are parked behind the greenhouse.")
    shelf.embedder.texts.clear()
    shelf.library.put("parking.md", [replace(one, source="Manual") for one in document("parking", "Bicycles are parked behind the greenhouse.")])  # fmt: skip
    shelf.index.sync()
    assert shelf.search("bicycles")[0].passage.source == "Manual"
    assert shelf.embedder.texts == []


def test_a_changed_pack_takes_over_what_was_embedded(shelf: Shelf) -> None:
    shelf.put("parking", "Bicycles are parked behind the greenhouse.")
    embedder = Counting()
    more = [*CORPUS, *passages(Document("new", "New", "A new article.", "s"))]
    index = shelf.storage.open(shelf.home.name, more, embedder)
    assert embedder.texts == ["New\nA new article.", "New: A new article.", "Parking\nBicycles are parked behind the greenhouse.", "Parking: Bicycles are parked behind the greenhouse."]  # fmt: skip
    assert len(index.passages()) == len(CORPUS) + 2


def test_a_deleted_document_is_gone_from_every_list(shelf: Shelf) -> None:
    shelf.put("keep", "## Soap\nSoap is sold at the desk.")
    shelf.put("secret", f"## Recipe\nThe {SECRET} is boiled for 7 hours. " + "It is stirred with a wooden spoon. " * 40)
    assert shelf.search(SECRET)[0].passage.document == "files/secret"
    receipt = shelf.library.remove("files/secret")
    assert "files/secret" not in {hit.passage.document for hit in shelf.search(SECRET)}  # even before the index follows
    assert shelf.index.faults() != []
    shelf.index.sync()
    assert shelf.index.document_frequency("zirconium") == 0
    assert shelf.documents() == {"loans", "fees", "rooms", "files/keep"}
    assert shelf.index.faults() == []
    assert (receipt.document, len(receipt.removed), receipt.whole) == ("files/secret", 2, True)
    assert shelf.library.receipts() == [receipt]
    assert shelf.library.numbers() & {number for number, _ in receipt.removed} == set()


def test_a_deleted_document_is_gone_from_the_bytes_on_disk(files: Shelf) -> None:
    files.put("secret", f"## Recipe\nThe {SECRET} is boiled for 7 hours.")
    vector = BagOfWords().embed([f"Secret > Recipe\n{files.search(SECRET)[0].passage.text}"])[0].tobytes()
    assert bytes_on_disk(files.home, vector) and bytes_on_disk(files.home, b"marmalade")
    files.remove("secret")
    traces = (vector, SECRET.encode(), b"marmalad", b"zirconium")
    assert [bytes_on_disk(files.home, trace) for trace in traces] == [[]] * 4


def bytes_on_disk(home: Path, trace: bytes, *besides: Path) -> list[str]:
    files = [path for path in home.rglob("*") if path.is_file() and path not in besides]
    return [path.name for path in files if trace in path.read_bytes()]


def test_an_updated_text_is_gone_from_the_bytes_on_disk(files: Shelf) -> None:
    files.put("recipe", f"The {SECRET} is boiled.")
    files.put("recipe", "The soup is boiled.")
    assert bytes_on_disk(files.home, b"zirconium") == []


def test_receipts_are_chained_and_a_changed_one_shows(shelf: Shelf) -> None:
    for name in ("one", "two"):
        shelf.put(name, f"Text {name}.")
        shelf.remove(name)
    first, second = shelf.library.receipts()
    assert second.previous == first.digest and first.previous == ""
    assert first.whole and not replace(first, document="files/other").whole


def test_what_a_person_said_is_kept_with_a_document_and_goes_with_it(shelf: Shelf) -> None:
    shelf.library.put("a.md", document("a", "Text."), {"title", "licence"})
    shelf.library.put("b.md", document("b", "Text."))
    assert [entry.said for entry in shelf.library.entries()] == [{"title", "licence"}, frozenset()]
    shelf.library.put("a.md", document("a", "Other."), {"source"})
    found = shelf.library.entry("files/a")
    assert found and (found.said, found.passages, found.file) == (frozenset({"source"}), 1, "a.md")
    shelf.library.remove("files/a")
    assert shelf.library.entry("files/a") is None
    shelf.library.put("a.md", document("a", "Text."))
    assert [entry.said for entry in shelf.library.entries()] == [frozenset(), frozenset()]


def test_the_newest_receipt_that_was_written_is_known_and_so_are_domains_without_a_pack(shelf: Shelf) -> None:
    assert shelf.library.issued == 0 and shelf.home.name not in shelf.storage.domains()
    shelf.put("a", f"The {SECRET} is boiled.")
    assert shelf.home.name in shelf.storage.domains()
    receipt = shelf.library.remove("files/a")
    assert shelf.library.issued == receipt.number and shelf.home.name in shelf.storage.domains()
    shelf.storage.forget(shelf.home.name)
    assert "files/a" not in shelf.documents()


def test_a_library_of_an_earlier_version_opens(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put("a", "Text.")
    shelf.library.close()
    with sqlite3.connect(database(tmp_path)) as db:
        db.execute("DROP TABLE said")
    db.close()
    again = Library(database(tmp_path))
    assert again.put("a.md", document("a", "Other."), {"title"}) == "updated"
    assert [entry.said for entry in again.entries()] == [{"title"}]


def test_what_is_not_there_cannot_be_deleted(shelf: Shelf) -> None:
    with pytest.raises(RetrievalError, match="^there is no document 'files/none'; 'assistant index list' shows"):
        shelf.library.remove("files/none")
    assert shelf.library.receipts() == [] and shelf.library.revision == 0


def test_a_document_without_text_is_refused(shelf: Shelf) -> None:
    with pytest.raises(RetrievalError, match=r"^empty.md: there is no text in it$"):
        shelf.library.put("empty.md", document("empty", "## Only a heading"))


def test_another_process_changes_and_this_one_follows(shelf: Shelf) -> None:
    other = shelf.again()
    other.put("parking", "Bicycles are parked behind the greenhouse.")
    assert shelf.search("bicycles behind the greenhouse")[0].passage.document == "files/parking"
    other.remove("parking")
    assert "files/parking" not in {hit.passage.document for hit in shelf.search("bicycles behind the greenhouse")}


@pytest.mark.parametrize(
    ("groups", "since", "found"),
    [
        ((), "", {"open"}),
        (("board",), "", {"open", "board"}),
        (("board", "staff"), "", {"open", "board", "staff"}),
        (("unknown",), "", {"open"}),
        (("board", "staff"), "2026-02-02", {"staff"}),
    ],
)
def test_a_search_sees_its_groups_and_dates_only(
    shelf: Shelf, groups: tuple[str, ...], since: str, found: set[str]
) -> None:
    shelf.put("open", "The salary table is on paper.")
    shelf.put("board", "The salary table of the board.", access="board")
    shelf.put("staff", "The salary table of the staff.", access="staff", date="2026-02-03")
    hits = shelf.search("salary table", *groups, since=since)
    assert {hit.passage.title.lower() for hit in hits} & {"open", "board", "staff"} == found


def test_chinese_text_is_found_by_its_words(shelf: Shelf) -> None:
    shelf.put("returns", "## 退货政策\n您可以在三十天内退货。运费由买家承担。")
    assert shelf.search("退货")[0].passage.document == "files/returns"
    assert shelf.search("退货")[0].bm25 > 0
    assert shelf.index.document_frequency("退货") == 1
    shelf.remove("returns")
    assert shelf.index.document_frequency("退货") == 0


def test_a_failing_embedder_loses_nothing_and_the_next_sync_goes_on(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> Vectors:
        raise RuntimeError("not enough memory")

    shelf.library.put("parking.md", document("parking", "Bicycles are parked behind the greenhouse."))
    monkeypatch.setattr(shelf.embedder, "embed", fail)
    with pytest.raises(RetrievalError, match="could not be brought up to date: not enough memory$"):
        shelf.index.sync()
    assert shelf.search("late fee")[0].passage.id == "fees#late-fee"
    assert shelf.index.faults() == [f"passage {number} is not indexed yet" for number in shelf.library.numbers()] != []
    monkeypatch.undo()
    shelf.index.sync()
    assert shelf.index.faults() == []


def test_among_too_many_sentences_to_rank_search_finds_filters_and_quotes_as_before(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("keys", "## Staff\nThe late fee key lies behind the desk.", access="staff")
    few = {hit.passage.id: hit for hit in shelf.search("late fee", "staff")}
    monkeypatch.setattr(memory, "SENTENCES_RANKED", -2)
    monkeypatch.setattr(postgres, "SENTENCES_RANKED", -2)
    large = shelf.again()
    for groups in (("staff",), ()):
        many = large.search("late fee", *groups)
        assert ("files/keys#staff" in {hit.passage.id for hit in many}) == bool(groups)
        assert "fees#late-fee" in {hit.passage.id for hit in many[:2]}
        both = [(hit, few[hit.passage.id]) for hit in many if hit.passage.id in few]
        assert len(both) > 1
        for hit, before in both:
            assert hit.span == before.span and hit.bm25 == pytest.approx(before.bm25)
            assert hit.similarities == pytest.approx(before.similarities, abs=2e-4)


@pytest.mark.parametrize("ranked", [memory.SENTENCES_RANKED, 9], ids=["small", "grown large"])
def test_memory_follows_any_order_of_changes(files: Shelf, ranked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SENTENCES_RANKED", ranked)
    shelf, index, library = files, files.index, files.library
    assert isinstance(index, FaissIndex) and isinstance(library, Library)
    chance = random.Random(0)  # noqa: S311
    there: set[str] = set()
    for _ in range(60):
        name = f"d{chance.randrange(8)}"
        if name in there and chance.random() < 0.5:
            shelf.remove(name)
            there.discard(name)
        else:
            shelf.put(name, f"## A\nText {chance.randrange(3)} of {name}.\n## B\nMore of {name}.")
            there.add(name)
        held, other = index._following(), FaissIndex(index.folder, BagOfWords(), library)
        fresh = other._following()
        assert np.array_equal(held.rows, fresh.rows) and np.array_equal(held.first, fresh.first)
        assert np.array_equal(held.sentences, fresh.sentences) or held.ranked != fresh.ranked
        for word in ("text", "more", name, "late fee"):
            vector = shelf.embedder.embed([word])[0]
            near = held.nearest(vector, 5, None)
            assert sorted(near.values()) == pytest.approx(sorted(fresh.nearest(vector, 5, None).values()))
            found = [(hit.passage.id, hit.sentence, hit.similarities) for hit in index.search(word, vector)]
            assert found == [(hit.passage.id, hit.sentence, hit.similarities) for hit in other.search(word, vector)]
        other.close()
    assert shelf.documents() - {"loans", "fees", "rooms"} == {f"files/{name}" for name in there}


def test_killed_at_any_instant_it_opens_consistent(tmp_path: Path) -> None:
    assert survive(tmp_path, KILLS) > 0  # the children did get to work


def survive(home: Path, kills: int) -> int:
    """Kill a process that adds, changes and deletes, at random instants; check what is left; counts the changes."""
    chance = random.Random(7)  # noqa: S311
    changes = 0
    Shelf(home)
    for _ in range(kills):
        log = home / "log.jsonl"
        log.unlink(missing_ok=True)
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(home), str(chance.random())], cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.25)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the child ended by itself"
        changes += _check(home, log)
    return changes


def _check(home: Path, log: Path) -> int:
    """Everything that was reported done is there, at most the one change under way besides; returns what was done."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    before = Library(database(home))
    state = {entry.id: before.passages(entry.id) for entry in before.entries()}
    expected, allowed = lines[0]["state"], [lines[0]["state"]]
    for line in lines[1:]:
        if "state" in line:
            expected, allowed = line["state"], [line["state"]]
        else:
            allowed.append(line["next"])
    found = {name: [passage.text for passage in corpus] for name, corpus in state.items()}
    assert found in allowed, f"neither before nor after the change under way: {found} not in {allowed}"
    assert expected in allowed
    shelf = Shelf(home)
    assert shelf.index.faults() == []
    assert shelf.library.passages("files/none") == []
    indexed = [(one.document, one.text) for one in shelf.index.passages() if one.document.startswith("files/")]
    assert sorted(indexed) == sorted((name, text) for name, texts in found.items() for text in texts)
    gone = {f"files/d{n}" for n in range(6)} - found.keys()
    for name in sorted(gone):
        word = f"word{name.removeprefix('files/')}".encode()
        assert bytes_on_disk(home, word, log) == [], f"{name} was deleted, and its words are still on disk"
    receipts = shelf.library.receipts()
    assert all(one.whole for one in receipts)
    assert [one.previous for one in receipts[1:]] == [one.digest for one in receipts[:-1]]
    for other in (shelf.library, before):
        other.close()
    shelf.index.close()
    with sqlite3.connect(database(home)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    return sum("state" in line for line in lines) - 1


_CHILD = """
import json, random, sys
from pathlib import Path
from tests.retrieval.test_library import Shelf, document

home, chance = Path(sys.argv[1]), random.Random(float(sys.argv[2]))
shelf = Shelf(home)
state = {entry.id: [p.text for p in shelf.library.passages(entry.id)] for entry in shelf.library.entries()}
log = (home / "log.jsonl").open("a")

def say(**what):
    log.write(json.dumps(what) + "\\n")
    log.flush()

say(state=state)
for number in range(100_000):
    name = f"d{chance.randrange(6)}"
    after = dict(state)
    if f"files/{name}" in state and chance.random() < 0.5:
        after.pop(f"files/{name}")
        say(next=after)
        shelf.library.remove(f"files/{name}")
    else:
        text = "".join(f"## S{n}\\nThe word{name} has value {chance.randrange(4)}. More of word{name}.\\n" for n in range(chance.randint(1, 6)))
        corpus = document(name, text)
        after[f"files/{name}"] = [p.text for p in corpus]
        say(next=after)
        shelf.library.put(f"{name}.md", corpus)
    shelf.index.sync()
    state = after
    say(state=state)
"""
