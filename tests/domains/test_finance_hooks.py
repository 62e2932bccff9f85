"""The finance pack's calculators: what they compute, what they ask for, and when they stay silent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from domains.api import Exchange, Reply, Request
from domains.finance import hooks


def say(text: str, history: tuple[Exchange, ...] = (), intent: str = "") -> Reply | None:
    return hooks.respond(Request(text, intent, history, Path(), Path()))


def talk(*turns: str) -> Reply:
    """Play the turns and return the last reply."""
    history: tuple[Exchange, ...] = ()
    reply = None
    for turn in turns:
        reply = say(turn, history)
        history = (*history, Exchange(turn, reply.text if reply else "Something else."))
    assert reply is not None
    return reply


@pytest.mark.parametrize(
    ("text", "tool", "words"),
    [
        (
            "What would a 200,000 loan at 4.5% over 30 years cost per month?",
            hooks.LOAN,
            ("1,013.37", "164,813.42", "364,813.42"),
        ),
        ("monthly payment for 200k mortgage 4.5% 30 years", hooks.LOAN, ("1,013.37",)),
        ("Calculate a loan of €1.2 million at 3,5 percent for 25 years", hooks.LOAN, ("€6,007.48",)),
        (
            "how much would i pay per month on a loan of 250.000 EUR at 4% over thirty years",
            hooks.LOAN,
            ("1,193.54 EUR",),
        ),
        (
            "Loan of 1,200 interest-free over 12 months, what are the repayments?",
            hooks.LOAN,
            ("100.00", "interest is 0.00"),
        ),
        (
            "I borrow $5000 at 2% per month for 12 months, how much interest do I pay?",
            hooks.LOAN,
            ("24% a year", "$472.80"),
        ),
        ("How much would a car loan of 15,000 at 6.9% over 18 months cost per month?", hooks.LOAN, ("879.59",)),
        ("how much would 300000 at 5 percent over 25 years cost me each month", hooks.LOAN, ("1,753.77",)),
        ("what would 200k at 4.5% for 30 years be per month", hooks.LOAN, ("1,013.37",)),
        ("If I put 200 a month at 5% for 10 years what will it be", hooks.SAVINGS, ("30,872.63",)),
        ("What will 10,000 grow to at 4% over 10 years if I save it?", hooks.SAVINGS, ("14,802.44",)),
        ("If I save 100 a month at 0% for 2 years, how much will I have?", hooks.SAVINGS, ("2,400.00",)),
        ("How much will £1,000 be worth after 2 years at 5% if I invest it?", hooks.SAVINGS, ("£1,102.50",)),
        ("I invest 1000 at 12% compounded monthly for 1 year, how much will I have?", hooks.SAVINGS, ("1,126.83",)),
        ("What is a 2.99% foreign transaction fee on 450 EUR?", hooks.FEE, ("13.46 EUR",)),
        ("3% + 0.30 on 80", hooks.FEE, ("2.70", "77.30")),
        ("How much is 2.9% plus 30 cents on $80?", hooks.FEE, ("$2.62",)),
        ("What is a 3% balance transfer fee on 5,000?", hooks.FEE, ("150.00",)),
        ("what is a fee of 30 cents plus 2.9% on 80 dollars", hooks.FEE, ("fixed 0.30 USD", "2.62 USD")),
        ("how much is a fee of 1% with a minimum of 5 on 200", hooks.FEE, ("5.00",)),
        ("What is 20% VAT on £250?", hooks.FEE, ("£50.00", "£300.00")),
    ],
)
def test_a_complete_question_is_calculated(text: str, tool: str, words: tuple[str, ...]) -> None:
    reply = say(text)
    assert reply is not None
    assert (reply.tool, reply.complete) == (tool, True)
    assert all(word in reply.text for word in words), reply.text


@pytest.mark.parametrize(
    ("text", "tool", "slot"),
    [
        ("Calculate my mortgage payment", hooks.LOAN, "amount"),
        ("What is the monthly payment on a 200k mortgage?", hooks.LOAN, "rate"),
        ("monthly payment on a loan of 20,000 at 6%", hooks.LOAN, "term"),
        ("savings calculator", hooks.SAVINGS, "amount"),
        ("How much will I have if I save 200 a month for 20 years?", hooks.SAVINGS, "rate"),
        ("Calculate a 3% fee", hooks.FEE, "amount"),
        ("Calculate the fee on 450 EUR", hooks.FEE, "rate"),
    ],
)
def test_a_missing_number_is_asked_for(text: str, tool: str, slot: str) -> None:
    assert say(text) == Reply(hooks.QUESTIONS[tool][slot], tool, complete=False)


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        (("Calculate my mortgage payment", "200k", "4.5", "30"), "1,013.37"),
        (("What is the monthly payment on a $200k mortgage?", "4.5 percent please", "360 months"), "$1,013.37"),
        (("What would a $20,000 car loan at 7% cost me monthly?", "six years"), "$340.98"),
        (("savings calculator", "10,000", "4%", "10 years"), "14,802.44"),
        (("savings calculator", "100 a month", "0%", "2 years"), "2,400.00"),
        (("Calculate a 3% fee", "on 5,000"), "150.00"),
        (("Calculate the fee on 450 EUR", "2.99%"), "13.46 EUR"),
        (("monthly payment on a loan of 20,000 at 6%", "I don't know", "5 years"), "386.66"),
        (("monthly payment for 200k mortgage 4.5% 30 years", "and over 15 years?"), "1,529.99"),
        (("Loan of 10,000 at -5% over 5 years, what is the monthly payment?", "5%"), "188.71"),
    ],
)
def test_the_conversation_fills_the_slots_one_by_one(turns: tuple[str, ...], words: str) -> None:
    reply = talk(*turns)
    assert reply.complete, reply.text
    assert words in reply.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("monthly payment on a loan of -5000 at 5% over 2 years", "greater than zero"),
        ("monthly payment on a loan of 0 at 5% over 2 years", "greater than zero"),
        ("monthly payment on a loan of 5000 at 5000% over 2 years", "looks wrong"),
        ("monthly payment on a loan of 5000 at -3% over 2 years", "looks wrong"),
        ("monthly payment on a loan of 5000 at 5% over 200 years", "100 years"),
        ("monthly payment on a loan of 5000 at 5% over 0 months", "1 month"),
        ("What is a 3% fee on -80?", "greater than zero"),
        ("What is the monthly payment on a mortgage of 300k or 250k at 5% over 30 years?", "more than one amount"),
    ],
)
def test_an_absurd_number_gets_a_helpful_question(text: str, words: str) -> None:
    reply = say(text)
    assert reply is not None
    assert not reply.complete
    assert words in reply.text


@pytest.mark.parametrize(
    "text",
    [
        "What is a mortgage?",
        "How is a monthly loan payment calculated?",
        "What does amortisation mean?",
        "Should I take a 200k mortgage at 4.5% over 30 years?",
        "Can I get a loan of 20,000 with bad credit?",
        "How much does the FDIC insure?",
        "Is 100,000 EUR protected in my savings account?",
        "What is the early repayment charge on a 200k mortgage?",
        "How much do I owe if 50 USD was stolen from my card?",
        "I sent 3,000 to a scammer",
        "How much can I put in an ISA in 2026?",
        "What does 5/1 ARM mean?",
        "What is the 50/30/20 rule?",
        "Will bitcoin grow 20% in 2 years?",
        "hello",
        "",
    ],
)
def test_other_questions_are_left_to_retrieval(text: str) -> None:
    assert say(text) is None


def test_a_change_of_subject_ends_the_calculation() -> None:
    asked = say("Calculate my mortgage payment")
    assert asked is not None
    assert say("Never mind, what is an IBAN?", (Exchange("Calculate my mortgage payment", asked.text),)) is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("200k", "200000"),
        ("1.2 million", "1200000"),
        ("250,000", "250000"),
        ("250.000", "250000"),
        ("1.234,56", "1234.56"),
        ("£1,234.56", "1234.56"),
        ("250 000 EUR", "250000"),
        ("99.9 USD", "99.9"),
    ],
)
def test_amounts_are_read_as_people_write_them(written: str, value: str) -> None:
    assert [money.value for money in hooks._amounts(written)] == [Decimal(value)]


def test_the_last_payment_clears_the_loan_exactly() -> None:
    owed, payment = Decimal(1000), hooks.monthly_payment(Decimal(1000), Decimal(12), 10)
    for _ in range(10):
        owed = owed * Decimal("1.01") - payment
    assert abs(owed) < Decimal("1e-20")
