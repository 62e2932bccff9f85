"""Stored answers are checked against the documents as they are now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant import show
from assistant.citations import check
from assistant.intake import About, drafts
from assistant.knowledge import Knowledge
from assistant.packs import Packs
from assistant.record import Citation, Reading, Turn
from assistant.store import ConversationRow, Store, TurnRow, UserRow
from assistant.transcript import pack_turn
from retrieval.passage import Passage
from tests.retrieval.test_index import BagOfWords

READING = Reading("library", 1.0, True, (), "", 0.0, "neutral", 0.0)


def cite(one: Passage) -> Citation:
    return Citation(
        0, 1, one.id, one.heading, one.source, 0, 5, one.text[:5], one.sha256, one.text, one.access, domain="library"
    )


def test_a_changed_a_deleted_and_an_untouched_document(
    tiny_pack: Callable[..., Path],
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assistant.packs.SHIPPED", tmp_path / "none")  # their lessons would be learned, for minutes
    packs = Packs(store, tmp_path, BagOfWords(), lambda _: None, (tiny_pack(tmp_path / "library"),))
    knowledge = Knowledge(packs)
    for name in ("kept", "changed", "deleted"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\n## Rule\n\nThe rule of {name} is old.\n")
        for draft in drafts(tmp_path / f"{name}.md", About()):
            knowledge.put("library", draft)  # type: ignore[arg-type]  # nothing was skipped
    cited = [one for entry in knowledge.entries("library") for one in knowledge.passages("library", entry.id)]
    article = next(one for one in packs.enabled()["library"].index.passages() if one.document == "loans")
    turn = Turn("q", "a", "answered", "quote", READING, citations=tuple(cite(one) for one in [*cited, article]))
    with store.begin() as session:
        session.add(UserRow(name="ana", password="x", role="user"))
        session.flush()
        session.add(ConversationRow(id=1, user="ana", title="q"))
        session.flush()
        session.add(TurnRow(id=1, conversation=1, state="final", question="q", record=pack_turn(turn)))
    assert [one.stale for one in check(store, knowledge.standing)] == [""] * 4
    (tmp_path / "changed.md").write_text("# changed\n\n## Rule\n\nThe rule of changed is new.\n")
    for draft in drafts(tmp_path / "changed.md", About()):
        knowledge.put("library", draft)  # type: ignore[arg-type]
    knowledge.remove("library", next(e.id for e in knowledge.entries("library") if "deleted" in e.id))
    found = {one.citation.passage_id: one.stale for one in check(store, knowledge.standing)}
    assert found == {
        one.id: "changed" if "changed" in one.id else "gone" if "deleted" in one.id else "" for one in [*cited, article]
    }
    show.citations(None, list(check(store, knowledge.standing)))
    told = json.loads(capsys.readouterr().out)
    assert told["checked"] == 4
    assert sorted((one["stale"], one["text"]) for one in told["stale"]) == [
        ("changed", "The rule of changed is old."),
        ("gone", "The rule of deleted is old."),
    ]
