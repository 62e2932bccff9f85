"""Documents of a live pack: they answer at once, go with a receipt, and the check finds what was tampered with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant.intake import About, Draft, drafts
from assistant.knowledge import Knowledge, KnowledgeError
from assistant.packs import Packs
from assistant.store import Store
from retrieval.embedder import RetrievalError
from retrieval.passage import Document, passages
from tests.retrieval.test_index import BagOfWords, Other


@pytest.fixture
def packs(store: Store, tmp_path: Path, tiny_pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Packs:
    monkeypatch.setattr("assistant.packs.SHIPPED", tmp_path / "none")  # their hundreds of articles are not needed
    return Packs(store, tmp_path / "home", BagOfWords(), lambda _: None, (tiny_pack(tmp_path / "library"),))


@pytest.fixture
def knowledge(packs: Packs) -> Knowledge:
    return Knowledge(packs)


def add(knowledge: Knowledge, folder: Path, name: str, text: str, group: str = "") -> str:
    (folder / name).write_text(text)
    (draft,) = drafts(folder / name, About(access=group or None))
    assert isinstance(draft, Draft)
    change = knowledge.put("library", draft)
    knowledge.sync("library")
    return change


def test_a_document_is_searched_with_the_articles_and_survives_reload_and_restart(
    knowledge: Knowledge, packs: Packs, store: Store, tmp_path: Path
) -> None:
    assert add(knowledge, tmp_path, "parking.md", "Bicycles are parked behind the greenhouse.") == "added"
    packs.reload("library")
    again = Packs(store, tmp_path / "home", BagOfWords(), lambda _: None, (tmp_path / "library",))
    for one in (packs, again):
        index = one.enabled()["library"].index
        (hit, *_) = index.search("bicycles greenhouse", BagOfWords().embed(["bicycles greenhouse"])[0])
        assert hit.passage.document == "files/parking.md"
    assert [entry.id for entry in Knowledge(again).entries("library")] == ["files/parking.md"]


def test_everything_is_in_order_after_adding_and_deleting(knowledge: Knowledge, tmp_path: Path) -> None:
    add(knowledge, tmp_path, "a.md", "Bicycles are parked behind the greenhouse.")
    add(knowledge, tmp_path, "b.md", "Soap is sold at the desk.")
    receipt = knowledge.remove("library", "files/a.md")
    checks = knowledge.verify("library")
    assert [check.faults for check in checks] == [(), (), (), (), ()]
    assert checks[-1].what == f"library: receipt {receipt.number} for files/a.md"


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE passages SET text = 'Forged.' WHERE piece = 2", "files/b.md#start: its text does not fit its digest"),
        ("DELETE FROM passages WHERE piece = 2", "passage 2 is not indexed yet"),
        ("UPDATE passages SET piece = 1 WHERE piece = 2", "passage 1 is still indexed"),
    ],
)
def test_what_was_tampered_with_in_the_index_is_found(
    knowledge: Knowledge, packs: Packs, tmp_path: Path, statement: str, fault: str
) -> None:
    add(knowledge, tmp_path, "a.md", "Bicycles are parked behind the greenhouse.")
    add(knowledge, tmp_path, "b.md", "Soap is sold at the desk.")
    knowledge.remove("library", "files/a.md")
    with sqlite3.connect(packs.enabled()["library"].index.folder / "index.sqlite") as db:
        db.execute(statement)
    db.close()
    assert fault in [found for check in knowledge.verify("library") for found in check.faults]


def test_a_new_version_of_a_restricted_document_stays_restricted(knowledge: Knowledge, tmp_path: Path) -> None:
    add(knowledge, tmp_path, "pay.md", "The salary table is on paper.", "board")
    (said,) = drafts(tmp_path / "pay.md", About("Pay", "Payroll", licence="MIT"))
    assert isinstance(said, Draft) and knowledge.put("library", said) == "updated"
    assert add(knowledge, tmp_path, "pay.md", "# Salaries\n\nThe salary table is on the wall.") == "updated"
    (entry,) = knowledge.entries("library")
    assert (entry.title, entry.source, entry.licence, entry.access) == ("Pay", "Payroll", "MIT", "board")
    (opened,) = drafts(tmp_path / "pay.md", About(access=""))
    assert isinstance(opened, Draft)
    knowledge.put("library", opened)
    assert knowledge.entries("library")[0].access == ""


def test_a_document_from_before_names_were_told_apart_is_replaced_by_its_file_only(
    knowledge: Knowledge, packs: Packs, tmp_path: Path
) -> None:
    before = passages(Document("files/c-.md", "C", "Old.", "C++.md", access="board"))
    packs.storage.documents("library").put("C++.md", list(before))
    for name in ("C++.md", "C#.md"):
        add(knowledge, tmp_path, name, f"What is new in {name}.")
    found = {entry.file: (entry.id, entry.access) for entry in knowledge.entries("library")}
    assert found["C++.md"] == ("files/c-.md", "board")
    assert found["C#.md"][0].startswith("files/c-.md-") and len(found) == 2


def test_the_documents_of_a_pack_that_is_gone_are_listed_checked_and_deleted(
    knowledge: Knowledge, packs: Packs, store: Store, tmp_path: Path
) -> None:
    add(knowledge, tmp_path, "a.md", "Bicycles are parked behind the greenhouse.")
    add(knowledge, tmp_path, "b.md", "Soap is sold at the desk.")
    (tmp_path / "library" / "domain.yaml").write_text("title: broken")
    orphaned = Knowledge(Packs(store, tmp_path / "home", BagOfWords(), lambda _: None, (tmp_path / "library",)))
    assert orphaned.domains() == {"library": "library (no live pack)"}
    assert [entry.id for entry in orphaned.entries("library")] == ["files/a.md", "files/b.md"]
    with pytest.raises(KnowledgeError, match="^the pack of 'library' is not live; its documents can be listed, "):
        add(orphaned, tmp_path, "c.md", "New.")
    receipt = orphaned.remove("library", "files/a.md")
    assert orphaned.receipts("library") == [receipt]
    assert [check.faults for check in orphaned.verify("library")] == [(), (), ()]
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"greenhouse" in path.read_bytes()] == []
    orphaned.remove("library", "files/b.md")
    assert list(Knowledge(packs).domains()) == ["library"] and knowledge.entries("library") == []


def test_the_text_of_a_document_that_was_tampered_with_is_found(knowledge: Knowledge, tmp_path: Path) -> None:
    add(knowledge, tmp_path, "a.md", "Soap is sold at the desk.")
    with sqlite3.connect(tmp_path / "home" / "knowledge" / "library.sqlite") as db:
        db.execute("UPDATE pieces SET text = 'Forged.'")
    db.close()
    faults = {check.what: check.faults for check in knowledge.verify("library")}
    assert faults["library: documents"] == ("files/a.md#start: its text does not fit its digest",)


def test_a_receipt_is_found_by_its_digest_and_the_newest_is_missed(knowledge: Knowledge, tmp_path: Path) -> None:
    add(knowledge, tmp_path, "a.md", "Soap is sold at the desk.")
    receipt = knowledge.remove("library", "files/a.md")
    assert knowledge.holds(receipt.digest).faults == ()
    fault = "no receipt has this digest; 'assistant index receipts' shows those there are"
    assert knowledge.holds("0" * 64).faults == (fault,)
    with sqlite3.connect(tmp_path / "home" / "knowledge" / "library.sqlite") as db:
        db.execute("DELETE FROM receipts")
    db.close()
    assert knowledge.verify("library")[-1].faults == ("receipt 1, the newest, is not there",)


def test_a_forged_or_missing_receipt_is_found(knowledge: Knowledge, tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        add(knowledge, tmp_path, name, "Soap is sold at the desk.")
        knowledge.remove("library", f"files/{name}")
    with sqlite3.connect(tmp_path / "home" / "knowledge" / "library.sqlite") as db:
        db.execute("DELETE FROM receipts WHERE number = 1")
        db.execute("UPDATE receipts SET removed = ?", (json.dumps([]),))
    db.close()
    assert knowledge.verify("library")[-1].faults == ("the receipt was changed", "the receipt before it is not there")


def test_another_embedder_is_refused_until_the_index_is_rebuilt_beside_the_one_that_serves(
    knowledge: Knowledge, packs: Packs, store: Store, tmp_path: Path
) -> None:
    add(knowledge, tmp_path, "a.md", "Bicycles are parked behind the greenhouse.")
    arguments = (store, tmp_path / "home", Other(), lambda _: None, (tmp_path / "library",))
    refused = Packs(*arguments)
    assert refused.live() == []
    assert refused.problems()[0].reason == (
        f"the index of 'library' was made with embedder {BagOfWords.fingerprint[:16]}, and {Other.fingerprint[:16]} is "
        "loaded; run 'assistant index rebuild' with this embedder while the old one serves, or set ASSISTANT_EMBEDDER back"
    )
    moved = Packs(*arguments, migrate=True)
    for one in (packs, moved):
        assert "files/a.md" in {passage.document for passage in one.enabled()["library"].index.passages()}
        assert one.enabled()["library"].index.faults() == []
    assert Packs(*arguments).problems() == []
    Knowledge(moved).remove("library", "files/a.md")
    old = packs.enabled()["library"].index
    assert "files/a.md" not in {passage.document for passage in old.passages()}


def test_a_generation_that_nobody_uses_is_removed(knowledge: Knowledge, packs: Packs, tmp_path: Path) -> None:
    path = tmp_path / "library" / "knowledge" / "fees.md"
    for price in ("0.30", "0.35"):
        path.write_text(path.read_text().replace("0.25", price))
        packs.reload("library")
    assert len(list((tmp_path / "home" / "indexes" / "library").glob("*/manifest.json"))) <= 2


def test_an_unknown_domain_is_named_with_those_there_are(knowledge: Knowledge) -> None:
    with pytest.raises(KnowledgeError, match="^there is no domain 'garden'; there are library$"):
        knowledge.entries("garden")
    with pytest.raises(RetrievalError, match="there is no document 'files/none'"):
        knowledge.remove("library", "files/none")
