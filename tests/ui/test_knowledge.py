"""The Knowledge tab in a real browser: upload, preview, edit, add, delete; and nobody else gets in."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from assistant.intake import About, Draft, drafts
from tests.retrieval.test_files import BOOK, PDF, pdf
from tests.ui.browser import PageFor
from tests.ui.calls import CallerFor
from tests.ui.fake_app import FakeApp

pytestmark = pytest.mark.browser


def upload(page: Page, *files: Path) -> None:
    page.click("#tab-knowledge-button")
    page.set_input_files("#document-files input[type=file]", files)
    page.wait_for_selector("#document-preview .passage")


def test_a_reviewer_uploads_corrects_adds_and_deletes_a_document(
    page_for: PageFor, app: FakeApp, tmp_path: Path
) -> None:
    (tmp_path / "fleet.pdf").write_bytes(pdf(PDF, PDF.replace("Vehicles", "Trucks")))
    page = page_for("rea")
    upload(page, tmp_path / "fleet.pdf")
    expect(page.locator("#document-preview .passage").first).to_contain_text(BOOK)
    expect(page.locator("#document-preview")).to_contain_text("page 2")
    expect(page.locator("#document-title input, #document-title textarea")).to_have_value("Fleet handbook")
    text = page.locator("#document-text textarea")
    text.fill(text.input_value().replace("3 euros", "4 euros"))
    text.blur()  # the preview follows when a field is left; what goes in is what stands there
    expect(page.locator("#document-preview")).to_contain_text("Fee per day: 4 euros")
    page.fill("#document-source input, #document-source textarea", "Fleet handbook 2026")
    page.fill("#document-group input, #document-group textarea", "staff")
    app.users.add("rea", "rea-password", "reviewer", frozenset({"staff"}))
    page.click("#document-add")
    row = page.locator("[id='document-files/fleet.pdf']")
    expect(row).to_contain_text("Fleet handbook 2026")
    expect(row).to_contain_text("staff")
    expect(page.locator("#document-draft")).to_be_hidden()
    stored = app.knowledge.passages("customer_service", "files/fleet.pdf")
    assert any("4 euros" in one.text and one.access == "staff" for one in stored)
    row.locator("button").click()
    row.locator("button").click()
    expect(page.locator("#receipt")).to_contain_text("files/fleet.pdf")
    expect(row).to_have_count(0)
    assert app.knowledge.entries("customer_service") == []
    assert app.knowledge.receipts("customer_service")[0].document == "files/fleet.pdf"


def test_several_files_are_looked_at_one_by_one_and_a_broken_one_is_named(
    page_for: PageFor, app: FakeApp, tmp_path: Path
) -> None:
    for name, text in (
        ("a.md", "## Soap\nSoap is sold at the desk."),
        ("b.md", "## Tea\nTea is free."),
        ("c.pdf", "%PDF"),
    ):
        (tmp_path / name).write_text(text)
    page = page_for("ada")
    upload(page, *(tmp_path / name for name in ("a.md", "b.md", "c.pdf")))
    expect(page.locator("#document-skipped")).to_contain_text("c.pdf: it is no PDF that can be read")
    page.click("#document-pick input")
    page.click("[role=option]:has-text('b.md')")
    expect(page.locator("#document-preview")).to_contain_text("Tea is free.")
    page.click("#document-add")
    expect(page.locator("#documents tr")).to_have_count(3)
    assert [entry.id for entry in app.knowledge.entries("customer_service")] == ["files/a.md", "files/b.md"]


def test_a_document_of_a_group_is_not_listed_to_a_reviewer_outside_it(
    page_for: PageFor, app: FakeApp, tmp_path: Path
) -> None:
    (tmp_path / "pay.md").write_text("## Pay\nThe salary table is on paper.")
    page = page_for("ada")
    upload(page, tmp_path / "pay.md")
    page.fill("#document-group input, #document-group textarea", "board")
    page.click("#document-add")
    expect(page.locator("#documents")).to_contain_text("pay.md")
    other = page_for("rea")
    other.click("#tab-knowledge-button")
    expect(other.locator("#documents .notice")).to_contain_text("No documents yet")
    other.set_input_files("#document-files input[type=file]", tmp_path / "pay.md")
    hidden = "pay.md: a document of this name is there already; rename the file"
    expect(other.locator("#document-skipped")).to_contain_text(hidden)
    expect(other.locator("#document-draft")).to_be_hidden()
    assert app.knowledge.entries("customer_service")[0].access == "board"


def test_a_new_version_keeps_its_group_says_what_it_replaces_and_is_opened_by_hand(
    page_for: PageFor, app: FakeApp, tmp_path: Path
) -> None:
    page = page_for("ada")
    group, preview = page.locator("#document-group input, #document-group textarea"), page.locator("#document-preview")
    for text, said, left in (("on paper", "", "board"), ("on the wall", "board", "board"), ("gone", "board", "")):
        (tmp_path / "pay.md").write_text(f"## Pay\nThe salary table is {text}.")
        upload(page, tmp_path / "pay.md")
        expect(preview).to_contain_text(f"The salary table is {text}.")
        expect(group).to_have_value(said)
        group.fill(left)
        group.blur()
        if left:
            expect(preview).to_contain_text("Nobody is in group board yet.")
        page.click("#document-add")
        expect(page.locator("#document-draft")).to_be_hidden()
        assert app.knowledge.entries("customer_service")[0].access == left
    expect(page.locator("#document-skipped .notice.done")).to_contain_text(", for everybody; that one is for board.")


def test_another_domain_has_other_versions_and_a_date_must_be_one(
    page_for: PageFor, app: FakeApp, tmp_path: Path
) -> None:
    (tmp_path / "pay.md").write_text("## Pay\nThe salary table is on paper.")
    (draft,) = drafts(tmp_path / "pay.md", About(access="board"))
    assert isinstance(draft, Draft)
    app.knowledge.put("medical", draft)
    page = page_for("ada")
    upload(page, tmp_path / "pay.md")
    group = page.locator("#document-group input, #document-group textarea")
    expect(group).to_have_value("")
    page.click("#knowledge-domain input")
    page.click("[role=option]:has-text('Health information')")
    expect(group).to_have_value("board")
    page.fill("#document-date input, #document-date textarea", "01.02.2025")
    page.click("#document-add")
    expect(page.locator(".toast-body").first).to_contain_text("'01.02.2025' is no date; write YYYY-MM-DD")
    page.fill("#document-date input, #document-date textarea", "2025-02-01")
    page.click("#document-add")
    expect(page.locator("#document-draft")).to_be_hidden()
    (entry,) = app.knowledge.entries("medical")
    assert (entry.access, entry.date) == ("board", "2025-02-01")
    row = page.locator("[id='document-files/pay.md']")
    row.locator("button").click()
    row.locator("button").click()
    page.click("#receipts summary")
    expect(page.locator("#receipts td code")).to_have_text(app.knowledge.receipts("medical")[0].digest)


def test_a_user_has_no_such_tab_and_cannot_call_it(page_for: PageFor, caller: CallerFor, app: FakeApp) -> None:
    page = page_for("ana")
    expect(page.locator("#tab-domains-button")).to_be_visible()
    expect(page.locator("#tab-knowledge-button")).to_have_count(0)
    ended = caller("ana").call("document-cancel", "click", [])
    assert not ended["success"] and "Only reviewers can do this." in str(ended["output"])


def test_the_facts_around_a_name_are_drawn_with_their_articles(page_for: PageFor, app: FakeApp) -> None:
    page = page_for("rea")
    page.click("#tab-knowledge-button")
    page.click("#facts-panel button")
    expect(page.locator("#facts svg .node.middle")).to_contain_text("aspirin")  # of which most is known
    box = page.locator("#facts-entity input, #facts-entity textarea")
    box.fill("Warfarin")
    box.press("Enter")
    expect(page.locator("#facts svg .node.middle")).to_contain_text("warfarin")
    expect(page.locator("#facts svg .edge title").first).to_have_text("warfarin must not be taken with aspirin (Drugs)")
    box.fill("<b>zebra")
    box.press("Enter")
    expect(page.locator("#facts")).to_contain_text("No fact names “<b>zebra”.")
