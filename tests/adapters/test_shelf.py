from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.base import Base
from adapters.passport import read
from adapters.record import RECORD, Entry, Record
from adapters.shelf import Shelf, ShelfError, sign_folder
from adapters.store import WEIGHTS, AdapterError, digest_of, verify

MakeAdapter = Callable[..., Path]
Edit = Callable[[list[str]], list[str]]


@pytest.fixture
def shelf(tmp_path: Path, make_adapter: MakeAdapter) -> Shelf:
    """A shelf whose product came with one adapter."""
    make_adapter(tmp_path / "shipped" / "garden")
    return Shelf(tmp_path / "home", (tmp_path / "shipped",))


def trained(tmp_path: Path, make_adapter: MakeAdapter, seed: int) -> Path:
    return make_adapter(tmp_path / f"trained-{seed}", seed=seed)


def states(shelf: Shelf) -> list[tuple[str, str]]:
    return [(one.digest[:8], one.state) for one in shelf.all()]


def test_a_candidate_becomes_current_and_is_rolled_back(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    shipped = digest_of(shelf.current("garden"))
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann")
    assert new.state == "candidate"
    assert digest_of(shelf.current("garden")) == shipped
    shelf.promote("garden", new.digest, "ann", {"candidate": "r1"})
    assert digest_of(shelf.current("garden")) == new.digest
    assert states(shelf) == [(new.digest[:8], "current"), (shipped[:8], "retired")]
    newest = shelf.add("garden", trained(tmp_path, make_adapter, 2), "ann")
    shelf.promote("garden", newest.digest, "ben", {})
    assert shelf.rollback("garden", "ben") == new.digest
    assert shelf.rollback("garden", "ben") == shipped
    assert digest_of(shelf.current("garden")) == shipped
    with pytest.raises(ShelfError, match="nothing to go back to"):
        shelf.rollback("garden", "ben")


def test_what_speaks_is_not_promoted_again_and_can_be_rolled_back(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    shipped = digest_of(shelf.current("garden"))
    with pytest.raises(ShelfError, match="speaks in all conversations already"):
        shelf.promote("garden", shipped, "ann", {})
    assert shelf.before("garden") is None
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann")
    shelf.promote("garden", new.digest, "ann", {})
    with pytest.raises(ShelfError, match="speaks in all conversations already"):
        shelf.promote("garden", new.digest, "ben", {})
    assert len(shelf.entries()) == 2 and shelf.before("garden") == shipped
    assert shelf.rollback("garden", "ben") == shipped
    assert shelf.before("garden") is None


def test_a_second_promotion_in_an_old_record_hides_nothing_to_go_back_to(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    shipped = digest_of(shelf.current("garden"))
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann").digest
    shelf.promote("garden", new, "ann", {})
    Record(shelf.home / RECORD).append(
        lambda entries: Entry("2026-01-05", "ann", "promote", "garden", new, new, {}, "", entries[-1].sha256)
    )
    assert shelf.rollback("garden", "ben") == shipped


def test_a_canary_speaks_beside_the_current_one_until_something_ends_it(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    shipped = digest_of(shelf.current("garden"))
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann")
    assert shelf.canary("garden") is None
    shelf.try_out("garden", new.digest, 0.1, "ann", {"candidate": "r1"})
    found = shelf.canary("garden")
    assert found is not None
    assert (found.digest, found.current, found.share, found.by, found.until) == (new.digest, shipped, 0.1, "ann", None)
    assert digest_of(shelf.current("garden")) == shipped
    assert dict(states(shelf)) == {new.digest[:8]: "canary", shipped[:8]: "current"}
    assert shelf.stop("garden", "ben") == new.digest
    assert dict(states(shelf)) == {new.digest[:8]: "candidate", shipped[:8]: "current"}
    ended = shelf.canary("garden")
    assert ended is not None and ended.until == shelf.entries()[-1].at
    shelf.try_out("garden", new.digest, 0.2, "ann", {})
    shelf.promote("garden", new.digest, "ben", {})
    ended = shelf.canary("garden")
    assert ended is not None and (ended.share, ended.until) == (0.2, shelf.entries()[-1].at)
    assert dict(states(shelf)) == {new.digest[:8]: "current", shipped[:8]: "retired"}
    with pytest.raises(ShelfError, match="speaks in all conversations already"):
        shelf.try_out("garden", new.digest, 0.1, "ann", {})
    with pytest.raises(ShelfError, match="no canary of 'garden' runs"):
        shelf.stop("garden", "ben")
    shelf.try_out("garden", shipped, 0.1, "ann", {})
    assert shelf.rollback("garden", "ben") == shipped
    assert dict(states(shelf)) == {new.digest[:8]: "retired", shipped[:8]: "current"}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 10.0])
def test_a_canary_gets_a_part_of_the_conversations(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter, share: float
) -> None:
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann")
    with pytest.raises(ShelfError, match="more than none and less than all"):
        shelf.try_out("garden", new.digest, share, "ann", {})


def test_who_decided_and_on_which_reports_is_recorded(shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter) -> None:
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann", "from Monday")
    shelf.promote("garden", new.digest, "ben", {"candidate": "r1", "current": "r0"})
    added, promoted = shelf.entries()
    assert (added.action, added.by, added.note) == ("candidate", "ann", "from Monday")
    assert (promoted.action, promoted.by, promoted.reports) == ("promote", "ben", {"candidate": "r1", "current": "r0"})
    assert promoted.previous == added.sha256


def test_taking_in_copies_files_and_changes_no_passport(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    folder = trained(tmp_path, make_adapter, 1)
    papers = read(folder)
    new = shelf.add("garden", folder, "ann")
    shelf.add("garden", folder, "ann")
    shelf.promote("garden", new.digest, "ann", {})
    assert len(shelf.entries()) == 2
    assert new.folder != folder and read(new.folder) == papers


EDITS: list[tuple[str, Edit]] = [
    ("another approver", lambda lines: [lines[0], lines[1].replace('"ben"', '"eve"')]),
    ("a removed line", lambda lines: lines[1:]),
    ("another order", lambda lines: lines[::-1]),
    ("another digest", lambda lines: [lines[0], json.dumps({**json.loads(lines[1]), "digest": "0" * 64})]),
    ("a share", lambda lines: [lines[0], json.dumps({**json.loads(lines[1]), "share": 0.5})]),
    ("a new field", lambda lines: [lines[0], json.dumps({**json.loads(lines[1]), "extra": 1})]),
    ("no JSON", lambda lines: [*lines, "{"]),
]


@pytest.mark.parametrize("edit", [row[1] for row in EDITS], ids=[row[0] for row in EDITS])
def test_a_record_changed_by_hand_is_refused(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter, edit: Edit
) -> None:
    new = shelf.add("garden", trained(tmp_path, make_adapter, 1), "ann")
    shelf.promote("garden", new.digest, "ben", {})
    record = shelf.home / RECORD
    record.write_text("\n".join(edit(record.read_text().splitlines())) + "\n")
    with pytest.raises(ShelfError, match=r"record\.jsonl:"):
        shelf.current("garden")


def test_signing_changes_our_copy_and_not_what_came_with_the_product(shelf: Shelf, base: Base) -> None:
    key = Ed25519PrivateKey.generate()
    shipped = shelf.current("garden")
    papers = read(shipped)
    with pytest.raises(AdapterError, match="not signed"):
        verify(shipped, base, key.public_key())
    shelf.sign("garden", digest_of(shipped)[:8], key)
    assert read(shipped) == papers
    assert verify(shelf.current("garden"), base, key.public_key()).digest == digest_of(shipped)
    assert states(shelf) == [(digest_of(shipped)[:8], "current")]


def test_one_signed_elsewhere_is_taken_in_and_replaces_the_passport_of_its_copy(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter, base: Base
) -> None:
    key, folder = Ed25519PrivateKey.generate(), trained(tmp_path, make_adapter, 1)
    with pytest.raises(AdapterError, match="run 'assistant adapters sign --folder FOLDER --key KEY'"):
        verify(folder, base, key.public_key())
    held = shelf.add("garden", folder, "ann")
    weights = (held.folder / WEIGHTS).stat().st_mtime_ns
    unsigned = shutil.copytree(folder, tmp_path / "unsigned")
    assert sign_folder(folder, key) == held.digest
    for again in (folder, unsigned):
        shelf.add("garden", again, "ann")
        assert verify(held.folder, base, key.public_key()).digest == held.digest
    assert (held.folder / WEIGHTS).stat().st_mtime_ns == weights and len(shelf.entries()) == 1


def test_what_its_passport_does_not_speak_of_is_not_signed(tmp_path: Path, make_adapter: MakeAdapter) -> None:
    folder = trained(tmp_path, make_adapter, 1)
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(AdapterError, match="its passport says .* nothing was signed"):
        sign_folder(folder, Ed25519PrivateKey.generate())
    assert read(folder).signature is None


def test_old_retired_adapters_are_removed_and_stay_in_the_record(
    shelf: Shelf, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    digests = []
    for seed in (1, 2, 3):
        held = shelf.add("garden", trained(tmp_path, make_adapter, seed), "ann")
        shelf.promote("garden", held.digest, "ann", {})
        digests.append(held.digest)
    removed = shelf.gc("ann", keep=1)
    assert [one.digest for one in removed] == [digests[0]]
    assert not removed[0].folder.exists()
    assert digests[0] in {entry.digest for entry in shelf.entries()}
    assert shelf.gc("ann", keep=1) == []
    assert digest_of(shelf.current("garden")) == digests[2]


def test_a_digest_is_found_by_its_beginning_and_nothing_else(shelf: Shelf) -> None:
    digest = digest_of(shelf.current("garden"))
    assert shelf.resolve("garden", digest[:6]).digest == digest
    for start in ("", "zz", digest + "0"):
        with pytest.raises(ShelfError, match="have a digest that begins with"):
            shelf.resolve("garden", start)
