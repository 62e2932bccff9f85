"""``assistant index`` and ``assistant domains`` on documents: what is kept, what is skipped, and what stays behind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from assistant import cli
from assistant.commands import domains, index
from assistant.commands.console import out
from assistant.knowledge import Knowledge
from assistant.packs import Packs
from assistant.store import Store
from tests.retrieval.test_index import BagOfWords

Run = Callable[..., str]


@pytest.fixture
def packs(store: Store, tmp_path: Path, tiny_pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Packs:
    monkeypatch.setattr("assistant.packs.SHIPPED", tmp_path / "none")  # their lessons would be learned, for minutes
    packs = Packs(store, tmp_path / "home", BagOfWords(), lambda _: None, (tiny_pack(tmp_path / "library"),))
    packs.add(tiny_pack(tmp_path / "garden", name="garden"))
    return packs


@pytest.fixture
def run(packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(*arguments, fails=False)`` gives what a command printed; the models are not loaded for it."""

    @contextlib.contextmanager
    def light() -> Iterator[tuple[Knowledge, Packs]]:
        yield Knowledge(packs), packs

    @contextlib.contextmanager
    def opened() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(packs=packs, knowledge=Knowledge(packs))

    def said(*arguments: str, fails: bool = False) -> str:
        result = CliRunner().invoke(cli.app, arguments, env={"ASSISTANT_HOME": str(tmp_path / "home")})
        assert bool(result.exit_code) == fails, result.output
        return f"{result.output}{result.exception or ''}"

    monkeypatch.setattr(out, "width", 400)
    monkeypatch.setattr(index, "_knowledge", light)
    monkeypatch.setattr(domains, "opened", opened)
    return said


def test_a_new_version_stays_restricted_until_it_is_opened_on_purpose(run: Run, packs: Packs, tmp_path: Path) -> None:
    def access() -> str:
        return Knowledge(packs).entries("library")[0].access

    file = tmp_path / "handbook.md"
    file.write_text("## Pay\nThe salary table is on paper.")
    first = run("index", "add", str(file), "-d", "library", "--group", "board")
    assert "nobody is in group board yet" in first and "replaces" not in first
    file.write_text("## Pay\nThe salary table is on the wall.")
    assert ", for board" in run("index", "add", str(file), "-d", "library") and access() == "board"
    opened = run("index", "add", str(file), "-d", "library", "--everybody")
    assert ", for everybody; that one is for board" in opened and access() == ""
    both = run("index", "add", str(file), "-d", "library", "--everybody", "--group", "board", fails=True)
    assert "--group board and --everybody exclude each other; give one of them" in both
    assert "unchanged" in (again := run("index", "add", str(file), "-d", "library")) and "replaces" not in again


def test_files_of_one_name_and_a_date_that_is_none_are_told(run: Run, packs: Packs, tmp_path: Path) -> None:
    for folder in ("hr", "it"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "policy.md").write_text(f"## Rule\nThe rule of {folder}.")
    paths = [str(tmp_path / folder / "policy.md") for folder in ("hr", "it")]
    skipped = run("index", "add", *paths, "-d", "library", fails=True)
    assert f"policy.md: {paths[0]} has its name; rename one, or add the folder that holds both" in skipped
    (passage,) = Knowledge(packs).passages("library", "files/policy.md")
    assert passage.text == "The rule of hr."
    refused = run("index", "add", paths[0], "-d", "library", "--date", "01.02.2025", fails=True)
    assert "'01.02.2025' is no date; write YYYY-MM-DD" in refused


def test_receipts_are_listed_and_verified_by_their_digest(run: Run, packs: Packs, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Soap is sold at the desk.")
    run("index", "add", str(tmp_path / "a.md"), "-d", "library")
    receipt = Knowledge(packs).remove("library", "files/a.md")
    (row,) = json.loads(run("index", "receipts", "--json"))
    assert (row["domain"], row["digest"], row["removed"][0][0]) == ("library", receipt.digest, 1)
    assert receipt.digest in run("index", "receipts", "-d", "library")
    assert f"ok receipt {receipt.digest}" in run("index", "verify", receipt.digest)
    assert "no receipt has this digest" in run("index", "verify", "0" * 64, fails=True)


@pytest.mark.parametrize("documents", [False, True])
def test_the_documents_of_a_removed_pack_are_told_or_deleted(
    run: Run, packs: Packs, tmp_path: Path, documents: bool
) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(f"## Soil\nThe soil of {name}.")
        run("index", "add", str(tmp_path / name), "-d", "garden")
    said = run("domains", "remove", "garden", *(["--documents"] if documents else []))
    receipts = Knowledge(packs).receipts("garden")
    assert [one.document for one in receipts] == (["files/a.md", "files/b.md"] if documents else [])
    assert ("2 of its documents stay" in said) != documents and all(one.digest in said for one in receipts)
    assert ("files/a.md" in run("index", "list")) != documents
    back = run("domains", "add", str(tmp_path / "garden"))
    assert ("2 documents were added to garden before" in back) != documents
