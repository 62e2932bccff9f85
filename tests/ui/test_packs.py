"""The Domains tab in a real browser."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.ui.browser import PageFor

pytestmark = pytest.mark.browser


def test_an_admin_adds_switches_and_removes_packs(page_for: PageFor, tmp_path: Path) -> None:
    page = page_for("ada")
    page.click("#tab-domains-button")
    page.click("#pack-medical [data-act=disable]")
    expect(page.locator("#pack-medical .chip.off")).to_have_text("Disabled")
    page.click("#pack-travel [data-act=remove]")
    page.click("#pack-travel [data-act=remove]")
    expect(page.locator("#pack-travel")).to_have_count(0)
    archive = tmp_path / "garden.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("garden/domain.yaml", "name: garden")
    page.click("#add-domain > button")
    page.set_input_files("#pack-zip input[type=file]", archive)
    expect(page.locator("#pack-zip")).to_contain_text("garden")
    page.click("#pack-add")
    expect(page.locator("#pack-garden")).to_contain_text("base model")
    expect(page.locator("#packs .refused")).to_contain_text("/packs/broken")


def test_a_refused_pack_says_why(page_for: PageFor) -> None:
    page = page_for("ada")
    page.click("#tab-domains-button")
    page.click("#add-domain > button")
    page.fill("#pack-path textarea, #pack-path input", "/nowhere")
    page.click("#pack-add")
    expect(page.locator(".toast-wrap")).to_contain_text("/nowhere: no such folder")
