"""Looks up the status of an order by its number.

Shows the status, dates, carrier and tracking number only: anyone may type a number, so never a name, place or purchase.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import tempfile
import unicodedata
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from domains.api import Reply, Request

TOOL = "order_status"
MOST_AT_ONCE = 3  # orders in one answer
FORMAT = "order number: LF- and six digits, for example LF-204815"  # every question of this tool contains it
ASK = f"Which order is it? Please give me the {FORMAT}. You find it in your confirmation email or under My orders."
MALFORMED = f"That order number is not complete or has a typing error. Please give me the {FORMAT}."
NO_NUMBER = (
    "You find the order number in your confirmation email and under My orders in your account. "
    "Without it, the Larkfield team can find your order after checking who you are: help@larkfield.example."
)
UNAVAILABLE = (
    "I cannot reach the order records at the moment. Please try again in a few minutes or look under My orders."
)
PRIVATE = (
    "For privacy, I do not show addresses, products or amounts here. You see them under My orders after signing in."
)

_WITH_PREFIX = re.compile(
    r"(?<![a-z0-9])LF[\s\-\u2010-\u2015_.:#]{0,3}([0-9](?:[ -]?[0-9]){5})(?![0-9])", re.IGNORECASE
)
_AFTER_ORDER = re.compile(r"\border\s*(?:number|no\.?|nr\.?)?\s*(?:is\s+)?[:#]?\s*([0-9]{6})(?![0-9])", re.IGNORECASE)
_BARE = re.compile(r"(?<![\w.,€$£-])([0-9]{6})(?!\w|[.,][0-9])")
_BROKEN = re.compile(r"(?<![a-z0-9])LF[\s\-\u2010-\u2015_.:#]{0,3}[0-9]|(?<!\w)[0-9]{4,9}(?!\w)", re.IGNORECASE)
_LF = re.compile(r"(?<![a-z0-9])LF[\s\-\u2010-\u2015_.:#]{0,3}[0-9]", re.IGNORECASE)
_LF_WHOLE = re.compile(r"(?<![a-z0-9])LF[\s\-\u2010-\u2015_.:#0-9]{1,14}", re.IGNORECASE)
_STATUS = re.compile(
    r"\b(?:where|when|status|track\w*|arriv\w+|late|delay\w*|shipped|sent|dispatch\w*|deliver\w*|cancell?ed|refunded|"
    r"returned|on its way|check|look\s?up|find|happen\w*|news|updates?|received?|coming|gone|get here)\b",
    re.IGNORECASE,
)
_OTHER_TASK = re.compile(
    r"\b(?:return|exchange|swap|cancel|chang(?:e|ing)|damaged|broken|smashed|cracked|faulty|wrong|missing|empty|warranty|"
    r"invoice|receipt|complain\w*|compensat\w*|stolen|vouchers?|policy|how (?:do|can) i)\b",
    re.IGNORECASE,
)
_GENERAL = re.compile(
    r"\b(?:means?|meaning|difference|statuses|how (?:do|can|would|could) (?:i|we|you) (?:track|find|see|follow|check)|"
    r"where (?:do|can) i (?:find|see|look)|tracking (?:link|number) (?:is|isn't|not|does|doesn't|has)|(?:can|do) you ship)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"\b(?:neighbou?r|ex|boyfriend|girlfriend|husband|wife|colleague|boss|friend|customer|stranger|sister|brother)'?s\b"
    r"[^.?!]{0,25}\border|\bsomeone else'?s?\b|\b(?:his|her|their) order\b",
    re.IGNORECASE,
)
_HAS_NONE = re.compile(
    r"\b(?:don'?t|do not|can'?t|cannot|can not|lost|no|without|forgot\w*|deleted|dunno)\b[^?!]{0,40}"
    r"\b(?:have|find|know|number|email|it|remember)\b|\bdunno\b|\bno idea\b",
    re.IGNORECASE,
)
_PRIVATE_DETAIL = re.compile(
    r"\b(?:address|post ?code|zip|items?|contents?|products?|total|price|amount|how much|what did i (?:order|buy)|what'?s in)\b",
    re.IGNORECASE,
)
_SENTENCES = {
    "processing": "Order {number} is being processed.{due} It can still be changed or cancelled under My orders.",
    "packed": "Order {number} is packed and waits for the carrier.{due}",
    "shipped": "Order {number} was shipped{on_date}{carrier}.{tracking}{due}",
    "out for delivery": "Order {number} is out for delivery{carrier}.{tracking}{due}",
    "delivered": "Order {number} was delivered{carrier}.{tracking} If you cannot find it, report it within 14 days of the delivery date.",
    "delayed": "Order {number} is delayed, and we are sorry.{due}{tracking}",
    "cancelled": "Order {number} was cancelled. It will not be sent, and any payment is released or refunded.",
    "returned": "The return of order {number} is at our warehouse and is being checked. "
    "The refund is started within 5 working days after the parcel arrived.",
    "refunded": "Order {number} was refunded to the original payment method. The refund email has the date and a reference number.",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What may be shown of an order. Dates are ISO 8601; None where there is none yet."""

    number: str
    status: str
    placed: str
    shipped: str | None
    expected: str | None
    carrier: str | None
    tracking: str | None


def respond(request: Request) -> Reply | None:
    """The status of the order in question, a question for its number, or None when nobody asked for one."""
    text = unicodedata.normalize("NFKC", request.text).replace("\u2019", "'")
    if _OTHERS.search(text):
        return None
    asked = bool(request.history) and FORMAT in request.history[-1].answer
    numbers = order_numbers(text, bare=asked or request.intent == TOOL)
    if numbers:
        return _answer(request, text, numbers) if asked or _wants_status(text, request.intent) else None
    if asked:
        return _without_number(text, request.intent)
    if _BROKEN.search(text) and (request.intent == TOOL or (_LF.search(text) and _wants_status(text, request.intent))):
        return Reply(MALFORMED, TOOL, complete=False)
    if request.intent == TOOL and not _GENERAL.search(text):
        return (
            Reply(NO_NUMBER, TOOL)
            if _HAS_NONE.search(text) and "number" in text.lower()
            else Reply(ASK, TOOL, complete=False)
        )
    return None


def order_numbers(text: str, *, bare: bool) -> tuple[str, ...]:
    """Order numbers in the text as LF-000000, in order, without repeats. ``bare``: six digits alone count too."""
    patterns = (_WITH_PREFIX, _AFTER_ORDER, _BARE) if bare else (_WITH_PREFIX, _AFTER_ORDER)
    found = sorted(
        (match.start(1), re.sub("[ -]", "", match[1])) for pattern in patterns for match in pattern.finditer(text)
    )
    return tuple(dict.fromkeys(f"LF-{digits}" for _, digits in found))


def _wants_status(text: str, intent: str) -> bool:
    if intent == TOOL:
        return True
    rest = _AFTER_ORDER.sub(" ", _LF_WHOLE.sub(" ", text))
    if len(re.findall(r"\w+", rest)) <= 2 and not _OTHER_TASK.search(rest):
        return True  # little more than the number itself
    return bool(_STATUS.search(rest)) and not _OTHER_TASK.search(rest) and not _GENERAL.search(rest)


def _without_number(text: str, intent: str) -> Reply | None:
    """What to say when we asked for the number and this is what came back."""
    short = len(text.split()) <= 6
    if _BROKEN.search(text) and short:
        return Reply(MALFORMED, TOOL, complete=False)
    if _HAS_NONE.search(text) and (short or "number" in text.lower()):
        return Reply(NO_NUMBER, TOOL)
    if intent == TOOL and not _GENERAL.search(text):
        return Reply(ASK, TOOL, complete=False)
    return None


def _answer(request: Request, text: str, numbers: tuple[str, ...]) -> Reply:
    try:
        orders = [(number, find(request, number)) for number in numbers[:MOST_AT_ONCE]]
    except (sqlite3.Error, OSError):
        _log.exception("order records cannot be read")
        return Reply(UNAVAILABLE, TOOL)
    parts = [describe(order) if order else _unknown(number) for number, order in orders]
    if len(numbers) > MOST_AT_ONCE:
        parts.append(f"I can look up {MOST_AT_ONCE} orders at a time, so please ask again for the others.")
    if _PRIVATE_DETAIL.search(text) and any(order for _, order in orders):
        parts.append(PRIVATE)
    return Reply(" ".join(parts), TOOL, complete=any(order for _, order in orders))


def find(request: Request, number: str) -> Order | None:
    """The order of that number, read from the pack's database."""
    with closing(_open(request)) as database:
        row = database.execute(
            "SELECT number, status, placed, shipped, expected, carrier, tracking FROM orders WHERE number = ?",
            (number,),
        ).fetchone()
    return Order(*row) if row else None


def _open(request: Request) -> sqlite3.Connection:
    path = request.data.resolve() / "orders.db"
    if not path.exists():
        _seed(path, (request.pack / "orders.sql").read_text(encoding="utf-8"))
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)


def _seed(path: Path, script: str) -> None:
    """Fill a private file and move it into place, so that no thread ever sees half a database."""
    handle, name = tempfile.mkstemp(prefix="orders-", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        with closing(sqlite3.connect(name)) as database:
            database.executescript(script)
            database.commit()
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def describe(order: Order) -> str:
    """One to four sentences about an order."""
    text = _SENTENCES[order.status].format(
        number=order.number,
        due=_due(order),
        on_date=f" on {_day(order.shipped)}" if order.shipped else "",
        carrier=f" by {order.carrier}" if order.carrier else "",
        tracking=f" The tracking number is {order.tracking}." if order.tracking else "",
    )
    return f"{text} It was placed on {_day(order.placed)}."


def _due(order: Order) -> str:
    if order.expected is None:
        return ""
    words = {"delayed": "The new expected delivery date is", "out for delivery": "It is expected on"}
    return f" {words.get(order.status, 'It should arrive by')} {_day(order.expected)}."


def _day(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day.day} {day:%B %Y}"


def _unknown(number: str) -> str:
    return f"I cannot find an order {number}. Please check the {FORMAT}."
