"""The order_status tool of the customer_service pack, on a real SQLite file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from domains.api import Exchange, Request
from domains.customer_service import hooks

PACK = Path(hooks.__file__).parent


def ask(data: Path, text: str, intent: str = "", *, after: str | None = None) -> Request:
    history = () if after is None else (Exchange("Where is my order?", after),)
    return Request(text=text, intent=intent, history=history, pack=PACK, data=data)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("LF-204801", "is being processed"),
        ("LF-204804", "is packed"),
        ("LF-204807", "was shipped on 23 November 2026 by DPD"),
        ("LF-204815", "is out for delivery"),
        ("LF-204820", "was delivered"),
        ("LF-204831", "11 December 2026"),
        ("LF-204840", "was cancelled"),
        ("LF-204850", "is being checked"),
        ("LF-204860", "was refunded"),
    ],
)
def test_every_status_has_its_own_sentence(tmp_path: Path, number: str, words: str) -> None:
    reply = hooks.respond(ask(tmp_path, f"Where is my order {number}?", "order_status"))
    assert reply is not None
    assert (reply.tool, reply.complete) == ("order_status", True)
    assert number in reply.text
    assert words in reply.text


@pytest.mark.parametrize(
    "text",
    [
        "where is lf-204815",
        "Status of LF204815 please",
        "track LF 204 815",
        "when will lf - 204815 arrive",
        "when does order 204815 arrive?",
        "LF\u2013204815",
        "\uff2c\uff26-\uff12\uff10\uff14\uff18\uff11\uff15",
    ],
)
def test_an_order_number_is_understood_however_it_is_typed(tmp_path: Path, text: str) -> None:
    reply = hooks.respond(ask(tmp_path, text))
    assert reply is not None
    assert "LF-204815 is out for delivery" in reply.text


def test_a_missing_number_is_asked_for_and_taken_from_the_next_turn(tmp_path: Path) -> None:
    question = hooks.respond(ask(tmp_path, "Where is my parcel?", "order_status"))
    assert question is not None
    assert not question.complete
    reply = hooks.respond(ask(tmp_path, "204807", after=question.text))
    assert reply is not None
    assert "LF-204807 was shipped" in reply.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LF-2048", "not complete"),
        ("2048155", "not complete"),
        ("I can't find it", "confirmation email"),
        ("LF-999999", "cannot find an order LF-999999"),
    ],
)
def test_a_wrong_answer_to_the_question_gets_help(tmp_path: Path, text: str, words: str) -> None:
    reply = hooks.respond(ask(tmp_path, text, after=hooks.ASK))
    assert reply is not None
    assert words in reply.text


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("How long does delivery take?", "delivery"),
        ("I want to return LF-204820", "returns"),
        ("LF-204820 arrived damaged", "delivery_problem"),
        ("cancel LF-204801", "orders"),
        ("What does the status packed mean?", "order_status"),
        ("How do I track my order?", "order_status"),
        ("Where is my neighbour's order LF-204815?", "order_status"),
        ("I paid 204815 cents", "payment"),
        ("Hello", "greeting"),
    ],
)
def test_it_declines_what_is_not_a_question_about_the_status_of_an_order(
    tmp_path: Path, text: str, intent: str
) -> None:
    assert hooks.respond(ask(tmp_path, text, intent)) is None


def test_a_change_of_subject_after_the_question_is_left_to_retrieval(tmp_path: Path) -> None:
    assert (
        hooks.respond(ask(tmp_path, "Never mind. How much is express delivery to France?", "delivery", after=hooks.ASK))
        is None
    )


def test_no_reply_shows_a_postcode_a_product_or_an_amount(tmp_path: Path) -> None:
    hooks.respond(ask(tmp_path, "LF-204801"))
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database:
        rows = database.execute("SELECT number, postcode, items, printf('%.2f', total_eur) FROM orders").fetchall()
    assert len(rows) >= 25
    for number, *private in rows:
        reply = hooks.respond(
            ask(tmp_path, f"What is the address, postcode, total and what items are in {number}?", "order_status")
        )
        assert reply is not None
        assert hooks.PRIVATE in reply.text
        assert not [value for value in private if value in reply.text.replace(number, "").replace(hooks.PRIVATE, "")]


def test_text_that_looks_like_sql_changes_nothing(tmp_path: Path) -> None:
    reply = hooks.respond(ask(tmp_path, "Where is LF-204815'; DROP TABLE orders; --", "order_status"))
    assert reply is not None
    assert "out for delivery" in reply.text
    assert hooks.find(ask(tmp_path, ""), "LF-204815' OR '1'='1") is None


def test_many_threads_may_ask_first_at_once(tmp_path: Path) -> None:
    requests = [ask(tmp_path, "Where is LF-204815?", "order_status") for _ in range(32)]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(hooks.respond, requests))
    assert {reply.text for reply in replies if reply} == {replies[0].text if replies[0] else ""}
    assert [path.name for path in tmp_path.iterdir()] == ["orders.db"]


def test_at_most_three_orders_are_looked_up_at_once(tmp_path: Path) -> None:
    reply = hooks.respond(ask(tmp_path, "status of LF-204801, LF-204804, LF-204807 and LF-204815", "order_status"))
    assert reply is not None
    assert "LF-204807" in reply.text
    assert "LF-204815" not in reply.text


def test_records_that_cannot_be_read_are_reported_kindly(tmp_path: Path) -> None:
    (tmp_path / "orders.db").write_bytes(b"not a database, whatever its name says" * 40)
    reply = hooks.respond(ask(tmp_path, "Where is LF-204815?", "order_status"))
    assert reply is not None
    assert reply.text == hooks.UNAVAILABLE
