"""The Adapters tab: as HTML, and in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from tests.ui.browser import PageFor
from tests.ui.fake_app import FakeLife
from tests.ui.fake_script import EVIL
from ui.adapters import shelf


def test_nothing_in_a_card_is_markup() -> None:
    (card, _) = FakeLife().cards()
    evil = replace(card, held=replace(card.held, name=EVIL, by=EVIL), problem=EVIL, doing=EVIL)
    assert "<img" not in shelf([evil]) and "<script" not in shelf([evil])


def test_a_canary_stands_beside_the_current_one_and_can_be_stopped() -> None:
    life = FakeLife()
    assert "<table" not in shelf(life.cards())
    life.promote("finance", life.candidate, "ada", share=0.1)
    page = shelf(life.cards())
    assert 'data-act="stop"' in page and 'data-act="canary"' not in page
    assert page.index("Canary bbbb") < page.index("Current aaaa") and "15 (75%)" in page and "10% of the" in page
    broken = [replace(card, problem="a byte was changed") for card in life.cards()]
    assert 'data-act="stop"' in shelf(broken) and 'data-act="promote"' not in shelf(broken)
    life.stop("finance", "ada")
    assert 'data-act="stop"' not in shelf(life.cards()) and "until 07 Jan 2026" in shelf(life.cards())


def test_one_is_promoted_only_after_its_exam() -> None:
    current, candidate = (shelf([card]) for card in FakeLife().cards())
    assert 'data-act="promote"' not in current
    assert 'data-act="examine"' in candidate and 'data-act="promote"' not in candidate
    assert "no adapters" in shelf([])


def test_a_rollback_is_offered_where_there_is_something_to_go_back_to() -> None:
    life = FakeLife()
    assert 'data-act="rollback"' not in shelf(life.cards())
    life.promote("finance", life.candidate, "ada")
    (current, _) = life.cards()
    for card in (current, replace(current, problem="a byte was changed")):
        assert 'data-act="rollback"' in shelf([card]) and 'data-act="promote"' not in shelf([card])


def test_a_domain_stands_by_its_title_and_moments_are_readable() -> None:
    (card, _) = FakeLife().cards()
    page = shelf(
        [replace(card, held=replace(card.held, since="2026-01-07T09:05:00+00:00", by="ada"))], {"finance": "Money"}
    )
    assert "<h3>Money</h3>" in page and "07 Jan 2026 09:05 by ada" in page


@pytest.mark.browser
def test_an_admin_examines_promotes_and_rolls_back(page_for: PageFor) -> None:
    page = page_for("ada")
    page.click("#tab-adapters-button")
    candidate = "#adapter-" + "b" * 16
    page.click(f"{candidate} [data-act=examine]")
    page.click(f"{candidate} [data-act=canary]")
    page.click(f"{candidate} [data-act=canary]")
    expect(page.locator("#adapter-cards table th").nth(1)).to_have_text("Canary " + "b" * 16)
    page.click(f"{candidate} [data-act=stop]")
    page.click(f"{candidate} [data-act=stop]")
    expect(page.locator(f"{candidate} [data-act=stop]")).to_have_count(0)  # the card is drawn anew, and forgets a click
    page.click(f"{candidate} [data-act=promote]")
    page.click(f"{candidate} [data-act=promote]")
    expect(page.locator(f"{candidate} .chip.on")).to_have_text("Current")
    page.click(f"{candidate} [data-act=rollback]")
    page.click(f"{candidate} [data-act=rollback]")
    expect(page.locator("#adapter-" + "a" * 16 + " .chip.on")).to_have_text("Current")
    expect(page.locator("#adapter-cards [data-act=rollback]")).to_have_count(0)


@pytest.mark.browser
def test_others_do_not_see_the_tab(page_for: PageFor) -> None:
    page = page_for("rea")
    expect(page.locator("#tab-review-button")).to_be_visible()
    expect(page.locator("#tab-adapters-button")).to_have_count(0)
