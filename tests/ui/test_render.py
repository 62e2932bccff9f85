"""Turns and lists as HTML, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, cast

import pytest

from assistant.exams import Sat
from assistant.graph import Graph
from assistant.record import Author, Explanation, Influence, Related, Sentence
from assistant.users import User
from domains.api import Finding
from tests.ui.fake_app import FakeApp
from tests.ui.fake_script import (
    EVIL,
    PASSAGE,
    QUOTES,
    Conversation,
    Decision,
    Problem,
    State,
    StoredTurn,
    Ticket,
    answered,
    citation,
    domain,
    hit,
    reading,
    turn,
)
from ui import graph, panels, render

if TYPE_CHECKING:
    from assistant.record import Stale, Turn

NAMES = {"customer_service": domain("customer_service", "Customer service", "Orders.").manifest}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALLOWED = frozenset(
    "a article b blockquote button code dd details div dl dt form h2 h3 header i input li mark nav p section span "
    "summary table td textarea th time tr ul svg g title line rect text".split()
)


class Tags(HTMLParser):
    """Collects tags and attributes, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "input":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def stored(whole: Turn, state: State = "final", *, last: bool = False) -> str:
    return render.stored(cast(Any, StoredTurn(7, NOW, whole, state)), NAMES, last=last)


def evil_turn() -> Turn:
    cited = replace(
        citation(0), heading=EVIL, source=f"{EVIL} javascript:alert(1)", sha256=EVIL, text=EVIL, start=0, end=9
    )
    bad = hit(EVIL)
    bad = replace(bad, passage=replace(bad.passage, title=EVIL, section=EVIL, source=EVIL))
    finding = Finding(EVIL, "block", EVIL, EVIL)
    return turn(
        EVIL, EVIL, author="tool", tool=EVIL, sentences=(EVIL,), citations=(cited,), hits=(bad,), dropped=(EVIL,),
        findings=(finding,), adapter=EVIL, index=EVIL, reasons=(EVIL,), timings={EVIL: 0.1},
        reading=replace(reading(None), domain=EVIL, intent=EVIL, candidates=(EVIL,), sentiment=cast(Any, EVIL)),
    )  # fmt: skip


def evil_pages() -> dict[str, Callable[[], str]]:
    app = FakeApp()
    pack = replace(app.packs.live()[0], domain=domain("evil", EVIL, EVIL), index=cast(Any, app.packs.live()[0].index))
    ticket = Ticket(1, 2, EVIL, NOW, 0, (EVIL,), "open", True, evil_turn())
    decision = Decision(1, 2, EVIL, EVIL, EVIL, EVIL, NOW, EVIL, EVIL)
    unrouted = replace(evil_turn(), outcome="clarify", reading=replace(reading(None), candidates=(EVIL,)))
    sat = Sat(1, ((EVIL, EVIL),))
    everything: Any = panels  # the fakes stand in for the App's own types
    return {
        "turn": lambda: stored(evil_turn()),
        "unknown": lambda: stored(replace(evil_turn(), outcome="unknown")),
        "crisis": lambda: stored(replace(evil_turn(), outcome="escalated")),
        "clarify": lambda: stored(unrouted, last=True),
        "edited": lambda: stored(replace(evil_turn(), author="human"), "edited"),
        "held": lambda: stored(replace(evil_turn(), held=True), "held"),
        "running": lambda: stored(evil_turn(), "running"),
        "live": lambda: render.live(EVIL, EVIL, reading(), [Sentence(EVIL, evil_turn().citations)], NAMES),
        "notice": lambda: render.notice(EVIL, EVIL),
        "header": lambda: everything.header(User(EVIL, cast(Any, EVIL))),
        "conversations": lambda: everything.conversations([Conversation(1, EVIL, NOW)], 1),
        "welcome": lambda: everything.welcome([domain("evil", EVIL, EVIL)], "evil"),
        "queue": lambda: everything.queue([ticket], 1, NAMES),
        "ticket": lambda: everything.ticket_detail(ticket, NAMES),
        "decisions": lambda: everything.decisions([decision]),
        "facts": lambda: render.related([Related(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)]),
        "graph": lambda: graph.drawn(Graph([Related(EVIL, EVIL, EVIL + "x", EVIL, EVIL, EVIL)]).around(""), EVIL),
        "no graph": lambda: graph.drawn(Graph().around(EVIL), EVIL),
        "packs": lambda: everything.packs([pack], [Problem(EVIL, EVIL)], {pack.domain.name: sat}, admin=True),
        "users": lambda: everything.users([User(EVIL, cast(Any, EVIL))]),
    }


@pytest.mark.parametrize("name", evil_pages())
def test_no_text_becomes_markup_whoever_wrote_it(name: str) -> None:
    page = evil_pages()[name]()
    tags = Tags(page)
    assert {tag for tag, _ in tags.seen} <= ALLOWED
    assert not [key for _, attributes in tags.seen for key in attributes if key.startswith("on") or key == "style"]
    addresses = [
        value or "" for _, attributes in tags.seen for key, value in attributes.items() if key in ("href", "src")
    ]
    assert all(address.startswith("http") for address in addresses)
    assert tags.open == []
    assert "window.pwned" in page  # it is shown, as text
    assert "${" not in page and "{{" not in page and "`" not in page  # and inert in Gradio's template


@pytest.mark.parametrize(
    ("stale", "words"), [("changed", "was changed after it was quoted"), ("gone", "is no longer among the documents")]
)
def test_a_stale_citation_says_so_beside_the_quote_as_it_was(stale: Stale, words: str) -> None:
    whole = answered("How long can I return it?")
    fresh = stored(whole)
    page = stored(replace(whole, citations=tuple(replace(one, stale=stale) for one in whole.citations)))
    assert words in page and words not in fresh
    assert f"<mark>{QUOTES[0]}</mark>" in page


def test_a_citation_opens_the_passage_with_its_quote_marked() -> None:
    page = stored(answered("How long can I return it?"))
    assert f"<mark>{QUOTES[0]}</mark>" in page
    buttons = [attributes for tag, attributes in Tags(page).seen if attributes.get("class") == "cite"]
    details = {attributes.get("id") for tag, attributes in Tags(page).seen if tag == "details"}
    assert [button["data-cite"] for button in buttons] == ["cite-7-1", "cite-7-2"]
    assert {"cite-7-1", "cite-7-2"} <= details
    assert 'href="https://larkfield.example/returns"' in page
    assert hit().passage.sha256[:12] in page


def test_the_numbers_stand_behind_the_sentences_they_support() -> None:
    text = Tags(render.answer(f"{QUOTES[0]} {QUOTES[1]} Not advice.", QUOTES, (citation(0), citation(1, 2)), "1")).text
    assert text == f"{QUOTES[0]}1 {QUOTES[1]}2 Not advice."


def test_a_citation_of_a_sentence_that_is_not_found_is_still_shown() -> None:
    assert Tags(render.answer("Another text.", QUOTES, (citation(0),), "1")).text == "Another text.1"


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "abcdef"),
        ([(1, 3)], "a<mark>bc</mark>def"),
        ([(4, 6), (0, 2)], "<mark>ab</mark>cd<mark>ef</mark>"),
        ([(0, 4), (2, 5)], "<mark>abcd</mark><mark>e</mark>f"),
        ([(0, 5), (1, 2)], "<mark>abcde</mark>f"),
        ([(4, 99)], "abcd<mark>ef</mark>"),
        ([(9, 12)], "abcdef"),
    ],
)
def test_marked_spans_may_overlap_and_run_over_the_end(spans: list[tuple[int, int]], expected: str) -> None:
    assert render.marked("abcdef", spans) == expected


def test_two_quotes_of_one_passage_share_a_disclosure() -> None:
    page = render.sources((citation(0), citation(1)), "1")
    assert page.count("<details") == 1
    assert page.count("<mark>") == 2


@pytest.mark.parametrize(
    ("author", "tool", "label"),
    [
        ("model", None, "From the model, checked"),
        ("quote", None, "Quoted from the sources"),
        ("tool", "order_status", "Tool: order_status"),
        ("policy", None, "Policy"),
        ("human", None, "Answered by a person"),
    ],
)
def test_every_answer_says_who_speaks(author: Author, tool: str | None, label: str) -> None:
    assert label in stored(replace(answered("?"), author=author, tool=tool))


@pytest.mark.parametrize("state", ["held", "running"])
def test_an_answer_that_waits_for_a_person_is_not_on_the_page(state: State) -> None:
    page = stored(replace(answered("May I?"), held=True), state)
    assert "May I?" in page
    assert not any(quote in page for quote in QUOTES)
    assert "Returns are always free." not in page


def test_a_withdrawn_draft_is_not_on_the_page() -> None:
    assert QUOTES[0] not in stored(answered("?"), "rejected")


@pytest.mark.parametrize(
    ("state", "label"), [("released", "Checked and released by a person"), ("edited", "Corrected by a person")]
)
def test_a_decided_answer_says_so(state: State, label: str) -> None:
    assert label in stored(answered("?"), state)


def test_an_unknown_answer_shows_the_nearest_articles() -> None:
    page = stored(turn("?", "I don't know.", "unknown", hits=(hit(),)))
    assert "Nearest articles" in page and PASSAGE in page


def test_a_crisis_is_announced_as_an_alert() -> None:
    assert '<div class="crisis" role="alert">' in stored(turn("?", "Call 112.", "escalated"))


@pytest.mark.parametrize(("last", "buttons"), [(True, 2), (False, 0)])
def test_only_the_last_question_back_can_be_answered_by_a_button(last: bool, buttons: int) -> None:
    page = stored(turn("?", "Which?", "clarify", reading=reading(None)), last=last)
    assert page.count('data-act="clarify"') == buttons


def test_a_tool_that_asks_back_offers_no_domains() -> None:
    assert 'data-act="clarify"' not in stored(turn("?", "Which order?", "clarify", author="tool"), last=True)


def test_the_panel_says_why() -> None:
    page = stored(replace(answered("?"), reasons=("weak evidence",)))
    for expected in (
        "94%",
        "5f5f5f5f5f5f",
        "gen-0001",
        "total 0.61 s",
        "Returns are always free.",
        "0.81",
        "weak evidence",
    ):
        assert expected in page


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("NHS, https://nhs.uk/a.", 'NHS, <a href="https://nhs.uk/a"'),
        ("https://x.example/?a=1&b=2", 'href="https://x.example/?a=1&amp;b=2"'),
    ],
)
def test_addresses_in_a_source_become_links(source: str, expected: str) -> None:
    assert expected in render.linked(source)


@pytest.mark.parametrize("source", ["javascript:alert(1)", "data:text/html,x", "our own policy", 'https://"><script>'])
def test_nothing_else_becomes_a_link_that_acts(source: str) -> None:
    tags = Tags(render.linked(source))
    assert all((attributes.get("href") or "").startswith("https://") for _, attributes in tags.seen)
    assert "script" not in {tag for tag, _ in tags.seen}


def test_a_chosen_domain_is_not_shown_as_a_guess() -> None:
    assert "Customer service chosen" in render.reading_chips(reading(chosen=True), NAMES)
    assert "Customer service 93%" in render.reading_chips(reading(), NAMES)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (panels.conversations([], None), "Your conversations will be listed here"),
        (panels.welcome([], ""), "No domain is live yet"),
        (panels.queue([], None, {}), "Nothing to review"),
        (panels.decisions([]), "No decision yet"),
        (panels.packs([], [], {}, admin=False), "No domain is live"),
    ],
)
def test_empty_states_say_what_will_be_here(page: str, text: str) -> None:
    assert text in page


def test_only_an_admin_sees_the_buttons_of_a_pack_and_no_one_can_remove_a_shipped_one() -> None:
    live: Any = FakeApp().packs.live()
    assert "data-act" not in panels.packs(live, [], {}, admin=False)
    shown = panels.packs(live, [], {}, admin=True)
    assert shown.count('data-act="disable"') == 3
    assert shown.count('data-act="remove"') == 1


def test_why_names_the_words_for_and_against_a_reading_and_the_nearest_examples() -> None:
    words = (Influence(EVIL, 1.24), Influence("card", -0.31))
    page = stored(turn("q", "a", explanations=(Explanation("intent", "lost_card", words, (EVIL,)),)))
    seen = Tags(page)
    assert "Intent: lost card" in seen.text and "Nearest known examples" in seen.text
    assert f"{EVIL} +1.2" in seen.text and "card -0.3" in seen.text
    assert "speaks against it" in page and {tag for tag, _ in seen.seen} <= ALLOWED
    assert "because of these words" not in stored(turn("q", "a"))


def test_a_sentiment_that_is_a_guess_is_not_shown() -> None:
    unsure = replace(reading(sentiment="negative"), sentiment_probability=0.55)
    assert "Negative" not in render.reading_chips(unsure, {})
    assert "Negative 90%" in render.reading_chips(reading(sentiment="negative"), {})


def test_a_policy_exam_is_reported_with_what_fails() -> None:
    live: Any = FakeApp().packs.live()
    name = live[0].domain.name
    whole = panels.packs(live, [], {name: Sat(9, ())}, admin=False)
    assert whole.count("Policy exam: 9 of 9 as they must be") == 1 and "dropped" not in whole
    broken = panels.packs(live, [], {name: Sat(9, ((EVIL, "expected refused, it was answered"),))}, admin=False)
    assert "8 of 9" in broken and "expected refused, it was answered" in broken and "<img" not in broken
