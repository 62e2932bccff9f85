"""Loan, savings and fee arithmetic in Decimal, with questions for what is missing.

Not a source of rates or advice: it computes only with the numbers the user wrote.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from domains.api import Exchange, Reply, Request

LOAN, SAVINGS, FEE = "loan_calculator", "savings_calculator", "fee_calculator"
CENT = Decimal("0.01")
MAX_AMOUNT = Decimal(10) ** 12
MAX_RATE = Decimal(1000)  # percent a year
MAX_MONTHS = 1200

# The wording is also the memory: a question found in the last answer says which slot comes next.
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    LOAN: {
        "amount": "Which amount do you want to borrow, for example 200,000?",
        "rate": "Which yearly interest rate should I use for the loan, for example 4.5%?",
        "term": "Which term should the loan have, for example 30 years or 18 months?",
    },
    SAVINGS: {
        "amount": "Which amount do you want to save, for example 10,000 once or 200 a month?",
        "rate": "Which yearly growth rate should I assume for the savings, for example 3%?",
        "term": "Which time should the savings grow, for example 10 years?",
    },
    FEE: {
        "amount": "Which amount is the fee charged on, for example 450 EUR?",
        "rate": "Which fee should I apply, for example 2.99% or 3% + 0.30?",
    },
}
RESULT_MARKS = {LOAN: "total interest is", SAVINGS: "not a forecast", FEE: ""}

_NUMBER = r"\d+(?:[.,' ]\d{3})*(?:[.,]\d+)?"
_SCALE = r"(?:\s?(?P<scale>thousand|million|mio|mn|bn|billion|k|m|grand)\b)?"
_CURRENCY = r"usd|eur|gbp|chf|cad|aud|sek|nok|dkk|pln|jpy|inr|dollars?|euros?|pounds?|bucks|quid"
_AMOUNT = re.compile(
    rf"(?P<sign>-\s?)?(?P<before>[$€£¥₹]|\b(?:{_CURRENCY})\b)?\s?(?P<minus>-\s?)?"
    rf"(?<![\d.,])(?P<number>{_NUMBER}){_SCALE}(?:\s?(?P<after>[$€£¥₹]|(?:{_CURRENCY})\b))?",
    re.I,
)
_NOT_MONEY = re.compile(
    r"\s?(?:%|per ?cent|pct|-?\s?(?:years?|yrs?|y|months?|mths?|mos?|weeks?|days?|cents?|pence)\b|(?:st|nd|rd|th)\b)",
    re.I,
)
_RATE = re.compile(
    r"(?P<sign>-\s?)?(?<![\d.,])(?P<number>\d+(?:[.,]\d+)?)\s?(?:%|percent\b|per cent\b|pct\b)"
    r"(?:\s?(?:interest\s)?(?:a|an|per|each|every)\s(?P<per>day|week|month)\b"
    r"|\s(?P<adverb>daily|weekly|monthly)\b(?! (?:payment|repayment|instal)))?",
    re.I,
)
_TERM = re.compile(
    r"(?P<sign>-\s?)?(?<![\d.,])(?P<number>\d+(?:[.,]\d+)?)\s?-?\s?(?P<unit>years?|yrs?|y|months?|mths?|mos?)\b", re.I
)
_MONTHLY = re.compile(r"^\s?(?:(?:a|per|each|every)\s?(?:single\s)?months?|monthly|/\s?mo(?:nth)?|p\.?m\b)", re.I)
_WORDS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "fifteen": "15", "twenty": "20", "twenty-five": "25", "thirty": "30", "forty": "40",
}  # fmt: skip
_WORD_TERM = re.compile(rf"\b({'|'.join(sorted(_WORDS, key=len, reverse=True))})[ -](?=years?\b|months?\b)", re.I)

_LOAN_NOUN = re.compile(
    r"\b(?:loans?|mortgages?|borrow(?:ing|ed|s)?|lend|credit of|financ(?:e|ed|ing)|amorti[sz]\w*)\b", re.I
)
_LOAN_CUE = re.compile(
    r"\b(?:calculat\w+|compute|work out|amorti[sz]\w*|total interest|total cost|instal?lments?|repayments?|monthly"
    r"|pay(?:ments?)? (?:per|each|every|a) month|a month|per month|each month"
    r"|how much (?:\w+ ){0,3}(?:interest|pay|repay|cost)|what (?:would|will|does|do) [^.?!]{0,60}\b(?:cost|pay))\b",
    re.I,
)
_LOAN_TALK = re.compile(
    r"\b(?:interest\b[^.?!]{0,20}\bpay|pay\b[^.?!]{0,20}\binterest|monthly (?:rate|payments?|instal?ments?)|calculate|repay(?:ments?)?"
    r"|(?:cost|pay|be|is|come to)\b[^.?!]{0,25}\b(?:a|per|each|every) month|(?:a|per|each|every) month\b[^.?!]{0,20}\b(?:cost|pay))\b",
    re.I,
)
_NOT_LOAN = re.compile(
    r"\b(?:early repayment|prepay\w*|overpay\w*|extra|fees?|charges?|points?|stamp duty|closing costs?|insurance|pmi|tax(?:es)?"
    r"|interest[- ]only|balloon|pcp|offset|should i|can i (?:get|afford|have)|qualify|approved|eligib\w+|deductib\w+"
    r"|salary|income|arm|heloc|scams?|upfront|threshold|401 ?\(?k)\b",
    re.I,
)
_SAVE_WORD = re.compile(
    r"\b(?:sav(?:e|es|ed|ing|ings)|invest(?:ed|ing|s)?|grow\w*|compound\w*|put (?:aside|away|in)|put(?: \S+){1,3} (?:a|per|every|each) month"
    r"|deposit(?:ed|ing)?|set aside|become|end up with|future value)\b",
    re.I,
)
_SAVE_CUE = re.compile(
    r"\b(?:calculat\w+|compute|work out|how much (?:money )?(?:will|would|do|could|can)"
    r"|what (?:will|would|is|do) [^.?!]{0,60}\b(?:be|have|worth|get|become|grow)"
    r"|grow (?:to|into)|worth (?:after|in)|end up|future value|become)\b|^\W*compound\b",
    re.I,
)
_NOT_SAVE = re.compile(
    r"\b(?:should|loans?|mortgages?|tax(?:es|ed)?|bitcoin|crypto\w*|insured|protected|guaranteed?"
    r"|fees?|inflation|401 ?\(?k\)?|isa|ira|scams?)\b",
    re.I,
)
_FREQUENCY = re.compile(r"\bcompound\w* (?P<each>monthly|quarterly|daily|weekly|annually|yearly)\b", re.I)
_PER_YEAR = {"monthly": 12, "quarterly": 4, "daily": 365, "weekly": 52, "annually": 1, "yearly": 1}
_FEE_SHAPE = re.compile(
    rf"(?:%|percent|per cent|pct)[^?!]{{0,60}}?\b(?:on|of|for|from)\b[^?!%]{{0,30}}?[$€£¥]?\s?-?\s?{_NUMBER}"
    r"|\bfees? (?:for|on|of)\b[^?!%]{0,30}\d[^?!]{0,15}\bat\b[^?!]{0,12}(?:%|percent)",
    re.I,
)
_FEE_CUE = re.compile(
    r"\b(?:how much|what(?:'s| is| are| would| will| does)|calculat\w+|compute|work out|equals?|cost me)\b|^\W*(?:\d|fee\b)",
    re.I,
)
_FEE_ASK = re.compile(
    r"\b(?:calculate|compute|work out) (?:me )?(?:a|an|the|my|this)?\s?(?:[\w.,%-]+ ){0,4}(?:fee|charge|commission|surcharge|markup)\b",
    re.I,
)
_NOT_FEE = re.compile(
    r"\b(?:interest|apr|apy|aer|years?|months?|loans?|mortgages?|sav(?:e|ings?)|invest\w*|inflation|yield|ltv|penalt\w+|compound\w*"
    r"|per (?:day|annum)|early repayment)\b",
    re.I,
)
_CENTS = r"(?P<unit>cents?|pence|p\b|c\b)?"
_FIXED = (
    re.compile(
        rf"(?:\+|\bplus\b|\band\b)\s?[$€£]?\s?(?P<number>{_NUMBER})(?![\d.,]*\s?(?:%|percent))\s?{_CENTS}", re.I
    ),  # "3% + 0.30"
    re.compile(
        rf"(?P<number>{_NUMBER})\s?{_CENTS}(?:\s?(?:{_CURRENCY}))?\s?(?:\+|\bplus\b|\band\b)\s?\d+(?:[.,]\d+)?\s?(?:%|percent)",
        re.I,
    ),  # "30 cents + 3%"
)
_MINIMUM = re.compile(rf"\b(?:minimum|min\.?|at least)\s(?:fee )?(?:of )?[$€£]?\s?(?P<number>{_NUMBER})", re.I)
_UNSURE = re.compile(r"\b(?:don'?t know|do not know|not sure|no idea|unsure|dunno)\b", re.I)
_FOLLOW_UP = re.compile(r"^\W*(?:and|what about|how about|what if|or|same|instead|now|with|over|at)\b", re.I)
_CODES = {
    "dollar": "USD",
    "dollars": "USD",
    "bucks": "USD",
    "euro": "EUR",
    "euros": "EUR",
    "pound": "GBP",
    "pounds": "GBP",
    "quid": "GBP",
}
_SCALES = {"k": 3, "thousand": 3, "grand": 3, "m": 6, "mn": 6, "mio": 6, "million": 6, "bn": 9, "billion": 9}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount as written, with the currency as written."""

    value: Decimal
    currency: str = ""  # "$", "EUR", or "" when none was named
    monthly: bool = False  # "200 a month"
    start: int = 0  # where it stands in the text


@dataclass(frozen=True, slots=True)
class Slots:
    """What is known so far."""

    amounts: tuple[Money, ...] = ()
    rate: Decimal | None = None  # percent a year
    months: Decimal | None = None


def respond(request: Request) -> Reply | None:
    """Answer a calculation, ask for one missing number, or decline with None."""
    text = _clean(request.text)
    return _continue(text, request.history) or _start(text, request.intent)


def _clean(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("–", "-").replace("’", "'").strip()
    text = re.sub(r"\binterest[- ]free\b|\b(?:no|without|zero) interest\b", "0%", text, flags=re.I)
    text = re.sub(r"\b(?:an?|one) hundred thousand\b", "100000", text, flags=re.I)
    text = re.sub(r"\b(?:in|since|until|by|year) (?:19|20)\d\d\b(?![,.]\d)", "", text, flags=re.I)
    text = re.sub(r"\bminus (?=[$€£]?\d)", "-", text, flags=re.I)
    return _WORD_TERM.sub(lambda word: _WORDS[word[1].lower()] + " ", text)


def _start(text: str, intent: str) -> Reply | None:
    slots = _read(text)
    known = sum((bool(slots.amounts), slots.rate is not None, slots.months is not None))
    if _wants_loan(text, known, intent):
        return _loan(slots)
    if _wants_savings(text, slots, known):
        return _savings(text, slots)
    if _wants_fee(text):
        return _fee(text)
    return None


def _wants_loan(text: str, known: int, intent: str) -> bool:
    if _NOT_LOAN.search(text):
        return False
    if not _LOAN_NOUN.search(text):
        return known == 3 and bool(_LOAN_TALK.search(text)) and not _SAVE_WORD.search(text)
    asked = re.search(r"\b(?:calculate|compute|work out|loan calculator|mortgage calculator)\b", text, re.I)
    if asked and not re.search(r"\b(?:how (?:is|are|do|does)|explain|what is)\b", text, re.I):
        return True
    return known == 3 or (
        known >= 1 and bool(_LOAN_CUE.search(text)) and (known == 2 or intent == LOAN or _money_leads(text))
    )


def _money_leads(text: str) -> bool:
    """Whether the text names a sum for the loan itself, and no other question hides in it."""
    large = any(money.currency or abs(money.value) >= 100 for money in _amounts(text))
    return large and not re.search(r"\b(?:if|when|why|because|after|rules?|owe|stolen|default)\b", text, re.I)


def _wants_savings(text: str, slots: Slots, known: int) -> bool:
    if _NOT_SAVE.search(text) or not _SAVE_WORD.search(text):
        return False
    if re.search(r"\b(?:savings|compound interest) calculator\b", text, re.I):
        return True
    return bool(_SAVE_CUE.search(text)) and bool(slots.amounts) and known >= 2


def _wants_fee(text: str) -> bool:
    if _NOT_FEE.search(text):
        return False
    return bool(_FEE_ASK.search(text) or (_FEE_SHAPE.search(text) and _FEE_CUE.search(text)))


def _continue(text: str, history: Sequence[Exchange]) -> Reply | None:
    """Take up our own question, or a change to our own result."""
    if not history:
        return None
    tool, slot = _pending(history[-1].answer)
    if not tool:
        return None
    chain = _chain(history, tool)
    if not slot:
        changed = _read(text)
        known = changed.rate is not None or changed.months is not None or bool(changed.amounts)
        return (
            _finish(tool, [*chain, (text, "")])
            if known and _FOLLOW_UP.search(text) and len(text.split()) <= 9
            else None
        )
    if _UNSURE.search(text) and len(text.split()) <= 12:
        return Reply(
            f"No problem: try a typical figure from an offer, and change it later. {QUESTIONS[tool][slot]}",
            tool,
            complete=False,
        )
    return _finish(tool, [*chain, (text, slot)]) if _fits(text, slot) else None


def _pending(answer: str) -> tuple[str, str]:
    """The tool and slot that an earlier answer asked for; the slot is empty for a result."""
    for tool, questions in QUESTIONS.items():
        for slot, question in questions.items():
            if question in answer:
                return tool, slot
    return next(((tool, "") for tool, mark in RESULT_MARKS.items() if mark and mark in answer), ("", ""))


def _chain(history: Sequence[Exchange], tool: str) -> list[tuple[str, str]]:
    """The user's texts of this calculation, oldest first, each with the slot it was asked for."""
    chain: list[tuple[str, str]] = []
    for position in range(len(history) - 1, -1, -1):
        if _pending(history[position].answer)[0] != tool:
            break
        before = _pending(history[position - 1].answer) if position else ("", "")
        chain.insert(0, (_clean(history[position].question), before[1] if before[0] == tool else ""))
    return chain


def _fits(text: str, slot: str) -> bool:
    slots = _read(text)
    explicit = {"amount": bool(slots.amounts), "rate": slots.rate is not None, "term": slots.months is not None}[slot]
    return len(text.split()) <= 14 and (explicit or (bool(re.search(r"\d", text)) and len(text.split()) <= 6))


def _finish(tool: str, chain: Sequence[tuple[str, str]]) -> Reply | None:
    texts = [
        text if slot != "rate" or _read(text).rate is not None or tool == FEE else re.sub(r"(\d)(?!.*\d)", r"\1%", text)
        for text, slot in chain
    ]
    texts = [
        text if slot != "term" or _read(text).months is not None else f"{text} years"
        for text, (_, slot) in zip(texts, chain, strict=True)
    ]
    if tool == FEE:
        return _fee(" on ".join(sorted(texts, key=lambda text: "%" not in text)))
    merged = Slots()
    for text in texts:
        new = _read(text)
        merged = Slots(
            new.amounts or merged.amounts,
            merged.rate if new.rate is None else new.rate,
            merged.months if new.months is None else new.months,
        )
    return _loan(merged) if tool == LOAN else _savings(" ".join(texts), merged)


def _decimal(number: str) -> Decimal:
    """Read 250,000 and 250.000 as thousands, 4,5 and 4.5 as decimals."""
    number = number.replace(" ", "").replace("'", "")
    if "," in number and "." in number:
        thousands, point = (",", ".") if number.rfind(".") > number.rfind(",") else (".", ",")
        return Decimal(number.replace(thousands, "").replace(point, "."))
    if re.fullmatch(r"[1-9]\d{0,2}([.,]\d{3})+", number):
        return Decimal(re.sub(r"[.,]", "", number))
    return Decimal(number.replace(",", "."))


def _amounts(text: str) -> tuple[Money, ...]:
    found: list[Money] = []
    for match in _AMOUNT.finditer(text):
        if _NOT_MONEY.match(text[match.end() :]) and not (match["after"] or match["before"]):
            continue
        sign = -1 if match["minus"] or (match["sign"] and not re.search(r"\w$", text[: match.start()])) else 1
        value = sign * _decimal(match["number"]) * Decimal(10) ** _SCALES.get((match["scale"] or "").lower(), 0)
        currency = (match["before"] or match["after"] or "").strip()
        monthly = bool(_MONTHLY.match(text[match.end() :]))
        found.append(Money(value, _CODES.get(currency.lower(), currency.upper()), monthly, match.start("number")))
    return tuple(found)


def _read(text: str) -> Slots:
    return Slots(_amounts(text), _rate(text), _months(text))


def _rate(text: str) -> Decimal | None:
    match = _RATE.search(text)
    if not match:
        return None
    per = (match["per"] or match["adverb"] or "").lower()
    times = {"day": 365, "daily": 365, "week": 52, "weekly": 52, "month": 12, "monthly": 12}.get(per, 1)
    return Decimal(match["number"].replace(",", ".")) * times * (-1 if match["sign"] else 1)


def _months(text: str) -> Decimal | None:
    matches = list(_TERM.finditer(text))
    if not matches:
        return None
    total = Decimal(0)
    for match in matches[:2]:  # "2 years and 6 months"
        length = Decimal(match["number"].replace(",", ".")) * (12 if match["unit"][0].lower() == "y" else 1)
        total += -length if match["sign"] else length
    return total.quantize(Decimal(1), ROUND_HALF_UP)


def _ask(tool: str, slot: str, problem: str = "") -> Reply:
    return Reply(f"{problem} {QUESTIONS[tool][slot]}".strip(), tool, complete=False)


def _problem(tool: str, slots: Slots, amounts: Sequence[Money]) -> Reply | None:
    """A question for the first missing or impossible number, or None when all can be used."""
    if not amounts:
        return _ask(tool, "amount")
    if any(money.value <= 0 for money in amounts):
        return _ask(tool, "amount", "The amount has to be greater than zero.")
    if any(money.value > MAX_AMOUNT for money in amounts):
        return _ask(tool, "amount", "I calculate with amounts up to 1 trillion; that one looks like a typing error.")
    if slots.rate is None:
        return _ask(tool, "rate")
    if not 0 <= slots.rate <= MAX_RATE:
        return _ask(tool, "rate", f"A rate of {_plain(slots.rate)}% a year looks wrong; I calculate with 0% to 1,000%.")
    if slots.months is None:
        return _ask(tool, "term")
    if not 1 <= slots.months <= MAX_MONTHS:
        return _ask(tool, "term", "The term has to be between 1 month and 100 years.")
    return None


def _loan(slots: Slots) -> Reply:
    amounts = [money for money in slots.amounts if not money.monthly]
    if len(amounts) > 1:
        return _ask(LOAN, "amount", "I found more than one amount.")
    problem = _problem(LOAN, slots, amounts)
    if problem or slots.rate is None or slots.months is None:
        return problem or _ask(LOAN, "rate")
    money, months = amounts[0], int(slots.months)
    payment = monthly_payment(money.value, slots.rate, months)
    total = payment * months
    return Reply(
        f"The monthly payment is {_money(payment, money.currency)} for a loan of {_money(money.value, money.currency)} "
        f"at {_plain(slots.rate)}% a year over {_length(months)}. "
        f"The total interest is {_money(total - money.value, money.currency)}, and the total paid is {_money(total, money.currency)}. "
        "The calculation assumes a fixed rate, equal monthly payments and no fees.",
        LOAN,
    )


def monthly_payment(amount: Decimal, rate: Decimal, months: int) -> Decimal:
    """The unrounded instalment of an amortised loan; ``rate`` is nominal percent a year."""
    if rate == 0:
        return amount / months
    monthly = rate / 1200
    return amount * monthly / (1 - (1 + monthly) ** -months)


def _savings(text: str, slots: Slots) -> Reply:
    problem = _problem(SAVINGS, slots, slots.amounts)
    if problem or slots.rate is None or slots.months is None:
        return problem or _ask(SAVINGS, "rate")
    once = sum((money.value for money in slots.amounts if not money.monthly), Decimal(0))
    monthly = sum((money.value for money in slots.amounts if money.monthly), Decimal(0))
    frequency = _FREQUENCY.search(text)
    each = frequency["each"].lower() if frequency else "yearly"
    months, currency = int(slots.months), next((money.currency for money in slots.amounts if money.currency), "")
    final = future_value(once, monthly, slots.rate, months, _PER_YEAR[each])
    paid_in = once + monthly * months
    return Reply(
        f"The final amount is {_money(final, currency)} after {_length(months)} at {_plain(slots.rate)}% a year, compounded {each}. "
        f"The money paid in is {_money(paid_in, currency)}, and the growth is {_money(final - paid_in, currency)}. "
        "The calculation is an example without tax and fees, not a forecast.",
        SAVINGS,
    )


def future_value(once: Decimal, monthly: Decimal, rate: Decimal, months: int, per_year: int) -> Decimal:
    """Compound growth of a first sum and of deposits at each month's end; ``rate`` in percent a year."""
    growth = (1 + rate / 100 / per_year) ** (Decimal(per_year) / 12)  # per month
    if growth == 1:
        return once + monthly * months
    total: Decimal = once * growth**months + monthly * (growth**months - 1) / (growth - 1)
    return total


def _fee(text: str) -> Reply:
    fixed_match = next(filter(None, (pattern.search(text) for pattern in _FIXED)), None)
    minimum_match, rate_match = _MINIMUM.search(text), _RATE.search(text)
    taken = [match.span("number") for match in (fixed_match, minimum_match) if match]
    bases = [money for money in _amounts(text) if not any(start <= money.start < end for start, end in taken)]
    fixed = _fixed(fixed_match)
    if not bases:
        return _ask(FEE, "amount")
    if rate_match is None:
        return _ask(FEE, "rate")
    base, rate = bases[-1], _rate(rate_match[0]) or Decimal(0)
    if base.value <= 0 or base.value > MAX_AMOUNT:
        return _ask(FEE, "amount", "The amount has to be greater than zero and at most 1 trillion.")
    if not 0 <= rate <= MAX_RATE:
        return _ask(FEE, "rate", "A fee has to be between 0% and 1,000%.")
    share = (base.value * rate / 100).quantize(CENT, ROUND_HALF_UP)
    fee = max(share + fixed, _decimal(minimum_match["number"]) if minimum_match else Decimal(0))
    return Reply(_fee_text(base, rate, share, fixed, fee), FEE)


def _fixed(match: re.Match[str] | None) -> Decimal:
    if match is None:
        return Decimal(0)
    return _decimal(match["number"]) / (100 if match["unit"] else 1)


def _fee_text(base: Money, rate: Decimal, share: Decimal, fixed: Decimal, fee: Decimal) -> str:
    text = f"{_plain(rate)}% of {_money(base.value, base.currency)} is {_money(share, base.currency)}."
    if fee != share:
        reason = f"With the fixed {_money(fixed, base.currency)}" if fee == share + fixed else "With the minimum"
        text += f" {reason}, the fee is {_money(fee, base.currency)}."
    return (
        text
        + f" Added, that makes {_money(base.value + fee, base.currency)}; deducted, {_money(base.value - fee, base.currency)}."
    )


def _money(value: Decimal, currency: str) -> str:
    number = f"{value.quantize(CENT, ROUND_HALF_UP):,}"
    return f"{number} {currency}" if currency.isalpha() else f"{currency}{number}"


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _length(months: int) -> str:
    if months % 12:
        return f"{months} months" if months != 1 else "1 month"
    return f"{months // 12} years" if months != 12 else "1 year"
