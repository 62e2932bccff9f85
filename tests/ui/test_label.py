"""The Label tab in a real browser: groups, proposals, the next question, doubts, the file; and nobody else gets in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import PageFor
from tests.ui.calls import CallerFor

pytestmark = pytest.mark.browser
TEXTS = [
    *(f"where is my parcel number {number}" for number in range(8)),
    *(f"refund my money please {number}" for number in range(8)),
]


def upload(page: Page, path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page.click("#tab-label-button")
    page.set_input_files("#label-file input[type=file]", path)
    page.wait_for_selector("#label-counts")


def test_a_reviewer_names_groups_answers_and_downloads_examples(page_for: PageFor, tmp_path: Path) -> None:
    page = page_for("rea")
    upload(page, tmp_path / "raw.jsonl", [{"text": text} for text in TEXTS])
    groups = page.locator("#label-groups .group")
    expect(page.locator("#label-session .notice")).to_contain_text("Name two groups")
    expect(groups).to_have_count(3)
    for left, word, label in ((2, "parcel", "Where is it"), (1, "refund", "refund")):
        card = groups.filter(has_text=word).first
        card.locator("summary").click()
        card.locator("input").fill(label)
        card.locator("button", has_text="Take it").click()
        expect(groups).to_have_count(left)
    expect(page.locator("#label-question")).to_contain_text("This one would teach most")
    asked = page.locator("#label-question p").first.inner_text()
    page.click(f"#label-question button:has-text('{'where_is_it' if 'parcel' in asked else 'refund'}')")
    expect(page.locator("#label-question p").first).not_to_have_text(asked)
    expect(page.locator("#label-proposals")).to_contain_text("yours")
    with page.expect_download() as download:
        page.click("#label-download")
    rows = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert {(row["intent"], "parcel" in row["text"]) for row in rows} == {("where_is_it", True), ("refund", False)}
    assert all(row["sentiment"] == "neutral" for row in rows) and len(rows) > 7


def test_a_label_that_looks_wrong_is_shown_and_mended(page_for: PageFor, tmp_path: Path) -> None:
    rows = [{"text": text, "label": "parcel" if "parcel" in text else "refund"} for text in TEXTS]
    rows[0]["label"] = "refund"
    page = page_for("ada")
    upload(page, tmp_path / "labelled.jsonl", rows)
    doubt = page.locator("#label-doubts .doubt").filter(has_text=rows[0]["text"])
    doubt.locator("button", has_text="parcel").last.click()
    expect(page.locator("#label-doubts")).to_have_count(0)


def test_a_file_without_texts_is_refused_with_the_reason(page_for: PageFor, tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text("question\nhello\n")
    page = page_for("rea")
    page.click("#tab-label-button")
    page.set_input_files("#label-file input[type=file]", tmp_path / "raw.csv")
    expect(page.locator(".toast-body")).to_contain_text("0 rows with a 'text'")


def test_a_user_has_no_such_tab_and_cannot_call_it(page_for: PageFor, caller: CallerFor) -> None:
    page = page_for("ana")
    expect(page.locator("#tab-domains-button")).to_be_visible()
    expect(page.locator("#tab-label-button")).to_have_count(0)
    ended = caller("ana").call("label-session", "act", [None])
    assert not ended["success"] and "Only reviewers can do this." in str(ended["output"])
