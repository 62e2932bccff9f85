"""The Account tab: tokens for programs are made, shown once, listed and revoked; nobody's but one's own."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.ui.browser import PageFor
from tests.ui.calls import CallerFor
from tests.ui.fake_app import FakeApp

pytestmark = pytest.mark.browser


def test_a_token_is_shown_once_and_revoked(page_for: PageFor) -> None:
    page = page_for("ana")
    page.click("#tab-account-button")
    expect(page.locator("#tokens")).to_contain_text("You have no tokens.")
    page.fill("#token-purpose textarea, #token-purpose input", "our <b>shop</b>")
    page.click("#token-make")
    expect(page.locator("#token-made code")).to_have_text("da_secret1")
    expect(page.locator("#tokens td").first).to_have_text("our <b>shop</b>")
    page.click("#tokens [data-act=revoke]")
    page.click("#tokens [data-act=revoke]")  # confirmed
    expect(page.locator("#tokens")).to_contain_text("You have no tokens.")
    expect(page.locator("#token-made code")).to_have_count(0)


def test_nobody_sees_or_revokes_the_tokens_of_another(page_for: PageFor, caller: CallerFor, app: FakeApp) -> None:
    app.tokens.create("ana", "her shop")
    page = page_for("ada")
    page.click("#tab-account-button")
    expect(page.locator("#tokens")).to_contain_text("You have no tokens.")
    caller("ada").call("tokens", "act", [], {"act": "revoke", "id": "1"})
    assert [one.purpose for one in app.tokens.list("ana")] == ["her shop"]
