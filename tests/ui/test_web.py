"""The page in a real browser, over a fake App: what users, reviewers and admins can do, and what they cannot."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import PageFor, Watch, ask, sign_in
from tests.ui.calls import CallerFor
from tests.ui.fake_app import FakeApp
from tests.ui.fake_script import EVIL, QUOTES

pytestmark = pytest.mark.browser


def start_asking(page: Page, text: str) -> None:
    page.fill("#question textarea", text)
    page.press("#question textarea", "Enter")


def test_a_wrong_password_says_so_and_a_right_one_opens_the_chat(page_for: PageFor, watch: Watch) -> None:
    page = page_for(None)
    sign_in(page, "ana", "not-the-password")
    expect(page.locator("[role=alert]")).to_have_text("Name or password is wrong.")
    watch.errors.clear()  # Chromium reports the 401 of the form
    sign_in(page, "ana", "ana-password")
    expect(page.locator("#who")).to_have_text("ana")
    page.click("#sign-out")
    expect(page.locator("#sign-in")).to_be_visible()


def test_an_answer_arrives_piece_by_piece_and_its_citation_opens_the_quote(page_for: PageFor) -> None:
    page = page_for("ana")
    start_asking(page, "slow: how long can I return a lamp?")
    expect(page.locator("#live .status")).to_contain_text("Reading your question")
    expect(page.locator("#live .chip.domain")).to_have_text("Customer service 93%")
    expect(page.locator("#live .answer")).to_have_count(0)
    expect(page.locator("#live .answer")).to_contain_text(QUOTES[0])
    assert QUOTES[1] not in page.inner_text("#live .answer")
    expect(page.locator("#history .answer")).to_contain_text(QUOTES[1])
    expect(page.locator("#live .turn")).to_have_count(0)
    page.click("#history .cite >> nth=1")
    expect(page.locator("#history .source[open] mark")).to_have_text(QUOTES[1])
    expect(page.locator("#question textarea")).to_be_editable()


def test_a_disclosure_stays_open_while_the_conversation_goes_on(page_for: PageFor) -> None:
    page = page_for("ana")
    ask(page, "How long can I return it?")
    page.click("#history .cite >> nth=0")
    ask(page, "What about the weather?")
    expect(page.locator("#history .turn").first.locator(".source[open]")).to_have_count(1)


@pytest.mark.parametrize(
    ("question", "selector", "text"),
    [
        ("How do I hack an account?", "[data-outcome=refused] .answer", "I can't help with that"),
        ("What is the weather?", "[data-outcome=unknown] .sources", "Nearest articles"),
        ("I want to hurt myself", ".crisis[role=alert]", "112"),
        ("Where is my order?", ".chip.author", "Tool: order_status"),
        ("I want compensation", ".held", "Being checked by a person"),
    ],
)
def test_each_outcome_has_its_own_look(page_for: PageFor, question: str, selector: str, text: str) -> None:
    page = page_for("ana")
    ask(page, question)
    expect(page.locator(f"#history {selector}")).to_contain_text(text)


def test_a_candidate_domain_can_be_picked(page_for: PageFor) -> None:
    page = page_for("ana")
    ask(page, "which one?")
    page.click("#history .pick >> nth=0")
    expect(page.locator("#history .turn")).to_have_count(2)
    expect(page.locator("#history .answer").last).to_contain_text(QUOTES[0])


@pytest.mark.parametrize(
    ("action", "expected"), [("approve", QUOTES[0]), ("edit", "Our own words."), ("reject", "could not confirm")]
)
def test_a_held_answer_arrives_without_a_reload_once_a_reviewer_decides(
    page_for: PageFor, app: FakeApp, action: str, expected: str
) -> None:
    ana, rea = page_for("ana"), page_for("rea")
    ask(ana, "I want compensation")
    assert QUOTES[0] not in ana.content()
    rea.click("#tab-review-button")
    rea.click("#queue .title")
    expect(rea.locator("#ticket .question")).to_have_text("I want compensation")
    if action == "edit":
        rea.fill("#review-answer textarea", "Our own words.")
    rea.fill("#review-note textarea, #review-note input", "looked it up")
    rea.click({"approve": "#approve", "edit": "#save-edit", "reject": "#reject"}[action])
    expect(ana.locator("#history .answer")).to_contain_text(expected, timeout=8_000)
    expect(rea.locator("#queue")).to_contain_text("Nothing to review")
    assert [(one.reviewer, one.action, one.note) for one in app.reviews.made] == [("rea", action, "looked it up")]


def test_a_new_ticket_appears_in_the_queue_by_itself(page_for: PageFor) -> None:
    ana, rea = page_for("ana"), page_for("rea")
    rea.click("#tab-review-button")
    ask(ana, "How long can I return it?")
    ana.click("#history .flag summary")
    ana.fill("#history .flag textarea", "It is 14 days!")
    ana.click("#history .flag button")
    expect(rea.locator("#queue")).to_contain_text("the user says: It is 14 days!", timeout=8_000)


def test_what_changes_nothing_leaves_the_page_as_it_was(page_for: PageFor) -> None:
    page = page_for("ana")
    ask(page, "How long can I return it?")
    page.click("#history .flag summary")
    page.click("#history .flag button")
    expect(page.locator(".toast-wrap")).to_contain_text("Thank you")
    start_asking(page, "   ")
    page.wait_for_timeout(1_000)  # ms
    expect(page.locator("#history .answer")).to_contain_text(QUOTES[0])
    expect(page.locator("#conversations .item")).to_have_count(1)
    expect(page.locator("#send")).to_have_text("Send")
    ask(page, "Where is my order?")


def test_two_users_do_not_see_each_others_chats(page_for: PageFor, caller: CallerFor, watch: Watch) -> None:
    ana, ben = page_for("ana"), page_for("ben")
    ask(ana, "How long can I return my secret lamp?")
    ask(ben, "Where is my order?")
    watch.reload(ben)
    ben.wait_for_selector("#history .turn")
    assert "secret lamp" not in ben.content()
    assert "order" not in ana.inner_text("#history").lower()
    key = (ana.locator("#conversations .item").get_attribute("id") or "").removeprefix("conversation-")
    answer = caller("ben").call("conversations", "act", ["", None], {"act": "open", "id": key})
    assert not answer["success"]
    assert "secret lamp" not in str(answer)


def test_a_user_has_no_review_or_users_tab(page_for: PageFor) -> None:
    ana, rea, ada = page_for("ana"), page_for("rea"), page_for("ada")
    tabs = {
        page: page.locator("#tabs .tab-container:not(.visually-hidden) button").all_inner_texts()
        for page in (ana, rea, ada)
    }
    assert tabs[ana] == ["Chat", "Domains", "Account"]
    assert tabs[rea] == ["Chat", "Review", "Knowledge", "Label", "Domains", "Account"]
    assert tabs[ada] == ["Chat", "Review", "Knowledge", "Label", "Domains", "Adapters", "Users", "Account"]


def test_a_closed_browser_leaves_the_server_healthy_and_the_turn_is_finished(
    page_for: PageFor, app: FakeApp, site: str
) -> None:
    page = page_for("ana")
    start_asking(page, "slow return")
    page.wait_for_selector("#live .chip")
    page.context.close()
    again = page_for("ana")
    expect(again.locator("#history .turn")).to_have_count(1)
    expect(again.locator("#history .answer")).to_contain_text(QUOTES[1], timeout=10_000)
    assert httpx.get(f"{site}healthz").json() == {"status": "alive"}
    assert [one.state for chat in app.chats.chats.values() for one in chat.turns] == ["final"]


def test_stop_ends_a_turn_early(page_for: PageFor, app: FakeApp) -> None:
    page = page_for("ana")
    start_asking(page, "slow return")
    page.wait_for_selector("#live .answer")
    page.click("#stop")
    expect(page.locator("#history .turn")).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    assert QUOTES[1] not in page.inner_text("#history .answer")


def test_another_conversation_can_be_opened_while_one_is_answered(page_for: PageFor) -> None:
    page = page_for("ana")
    ask(page, "Where is my order?")
    page.click("#new-chat")
    page.wait_for_selector(".welcome")
    start_asking(page, "slow return")
    page.wait_for_selector("#live .chip")
    page.click("#new-chat")
    page.wait_for_selector(".welcome")
    page.wait_for_timeout(2_500)  # ms; longer than the turn takes
    assert QUOTES[0] not in page.content()
    expect(page.locator("#live .turn")).to_have_count(0)
    ask(page, "What is the weather?")
    expect(page.locator("#conversations .item")).to_have_count(3)


def test_an_error_is_a_sentence_and_the_text_comes_back(page_for: PageFor, app: FakeApp) -> None:
    page = page_for("ana")
    ask(page, "Where is my order?")
    app.chats.chats.clear()  # deleted elsewhere
    start_asking(page, "Where is it now?")
    expect(page.locator("#live .notice")).to_have_text("There is no such conversation of yours.")
    expect(page.locator("#question textarea")).to_have_value("Where is it now?")


def test_script_in_any_text_stays_text(page_for: PageFor, app: FakeApp) -> None:
    ana, rea = page_for("ana"), page_for("rea")
    ask(ana, f"evil {EVIL}")
    expect(ana.locator("#history .answer")).to_have_text(EVIL)
    conversation = next(iter(app.chats.chats))
    app.chats.rename("ana", conversation, EVIL)
    ask(ana, f"compensation {EVIL}")
    rea.click("#tab-review-button")
    rea.click("#queue .title")
    rea.fill("#review-answer textarea", EVIL)
    rea.click("#save-edit")
    expect(ana.locator("#history .answer").last).to_have_text(EVIL, timeout=8_000)
    expect(ana.locator("#conversations .title")).to_have_text(EVIL)
    assert [page.evaluate("window.pwned === undefined") for page in (ana, rea)] == [True, True]


def test_conversations_are_renamed_deleted_and_restored_after_signing_in(page_for: PageFor) -> None:
    page = page_for("ana")
    ask(page, "Where is my order?")
    page.click("#conversations .menu summary")
    page.fill("#conversations .menu input", "My lamp")
    page.click("#conversations [data-act=rename]")
    expect(page.locator("#conversations .title")).to_have_text("My lamp")
    again = page_for("ana")
    expect(again.locator("#conversations .title")).to_have_text("My lamp")
    expect(again.locator("#history .turn")).to_have_count(1)
    again.click("#conversations .menu summary")
    again.click("#conversations [data-act=delete]")
    expect(again.locator("#conversations .item")).to_have_count(1)  # it asks first
    again.click("#conversations [data-act=delete]")
    expect(again.locator("#conversations .item")).to_have_count(0)
    expect(again.locator(".welcome")).to_be_visible()


def test_the_picker_follows_the_packs_and_suggestions_follow_the_picker(page_for: PageFor, app: FakeApp) -> None:
    page = page_for("ana")
    expect(page.locator(".welcome section")).to_have_count(3)
    app.packs.disable("travel")
    expect(page.locator(".welcome section")).to_have_count(2, timeout=8_000)
    page.click("#domain input")
    page.click("[role=option]:has-text('Health information')")
    expect(page.locator(".welcome h2")).to_have_text("Health information")
    expect(page.locator(".suggestion")).to_have_count(3)
    page.click(".suggestion >> nth=1")
    expect(page.locator("#history .question")).to_have_text("When is my refund paid?")


def test_a_password_is_changed_only_with_the_old_one(page_for: PageFor, app: FakeApp, caller: CallerFor) -> None:
    page, elsewhere = page_for("ana"), caller("ana")
    page.click("#tab-account-button")
    for old, expected in (("wrong", "The current password is wrong."), ("ana-password", "Your password was changed.")):
        page.fill("#password-old input", old)
        page.fill("#password-new input", "another-password")
        page.fill("#password-again input", "another-password")
        page.click("#password-change")
        expect(page.locator(".toast-wrap")).to_contain_text(expected)
    assert app.users.check("ana", "another-password")
    assert elsewhere.http.get("config").status_code == 401


def test_the_server_itself_calls_nobody(page_for: PageFor, calls_out: list[Any]) -> None:
    page = page_for("ana")
    ask(page, "How long can I return it?")
    page.click("#tab-domains-button")
    expect(page.locator("#pack-medical")).to_be_visible()
    assert calls_out == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window(page_for: PageFor, width: int, scheme: str) -> None:
    page = page_for("ada", viewport={"width": width, "height": 820}, color_scheme=scheme)
    ask(page, "How long can I return it?")
    for tab in ("chat", "review", "knowledge", "label", "domains", "adapters", "users", "account"):
        if width > 390:
            page.click(f"#tab-{tab}-button")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(17, 22, 21)") == (scheme == "dark")
