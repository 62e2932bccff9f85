"""Personal data: what is found, where exactly, how it is masked, and what only looks like it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.pii import find, mask


@pytest.mark.parametrize(
    ("text", "spans", "masked"),
    [
        ("Write to ana.b+x@mail.example.org.", [(9, 33, "email")], "Write to [email]."),
        ("Card 4111 1111 1111 1111 please", [(5, 24, "card")], "Card [card] please"),
        ("4111-1111-1111-1111", [(0, 19, "card")], "[card]"),
        ("378282246310005 is an Amex", [(0, 15, "card")], "[card] is an Amex"),
        ("IBAN DE89 3704 0044 0532 0130 00 ok", [(5, 32, "iban")], "IBAN [iban] ok"),
        ("gb82west12345698765432", [(0, 22, "iban")], "[iban]"),
        ("SSN 536-90-4399", [(4, 15, "ssn")], "SSN [ssn]"),
        ("NHS 943 476 5919", [(4, 16, "nhs_number")], "NHS [nhs_number]"),
        ("NI AB 12 34 56 C", [(3, 16, "national_insurance")], "NI [national_insurance]"),
        ("from 192.168.10.4 today", [(5, 17, "ip_address")], "from [ip_address] today"),
        ("account number: 12345678.", [(16, 24, "account")], "account number: [account]."),
        ("I was born on 4 May 1985 here", [(14, 24, "birth_date")], "I was born on [birth_date] here"),
        ("DOB: 04/05/1985", [(5, 15, "birth_date")], "DOB: [birth_date]"),
        ("I live at 12 Baker Street now", [(10, 25, "address")], "I live at [address] now"),
        ("my name is Ana Berger, hello", [(11, 21, "name")], "my name is [name], hello"),
        ("Dear Theodora Quillfeather, hello", [(5, 26, "name")], "Dear [name], hello"),
        ("身份证11010519491231002X，", [(3, 21, "national_id")], "身份证[national_id]，"),
        ("手机13812345678。", [(2, 13, "phone")], "手机[phone]。"),
        ("卡号4111111111111111", [(2, 18, "card")], "卡号[card]"),
        ("DNI 12345678Z ok", [(4, 13, "national_id")], "DNI [national_id] ok"),
        ("CF RCCMNL83S18D969H ok", [(3, 19, "national_id")], "CF [national_id] ok"),
        ("CPF 390.533.447-05 ok", [(4, 18, "national_id")], "CPF [national_id] ok"),
        ("Call +44 20 7946 0958 now", [(5, 21, "phone")], "Call [phone] now"),
        ("Call (212) 555-2368 now", [(5, 19, "phone")], "Call [phone] now"),
        (
            "My name is Ana, a@b.example, +49 30 901820",
            [(11, 14, "name"), (16, 27, "email"), (29, 42, "phone")],
            "My name is [name], [email], [phone]",
        ),
    ],
)
def test_personal_data_is_found_and_masked(text: str, spans: list[tuple[int, int, str]], masked: str) -> None:
    assert [(one.start, one.end, one.kind) for one in find(text)] == spans
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Where is my order LF-204815?",
        "LF-204815 and LF-100042 came together",
        "It costs 1,299.99 euros, was 1.499,00.",
        "The meeting is on 2026-11-24 at 10:30.",
        "between 01/02/2025 and 28/02/2025",
        "Take 500 mg four times a day, at most 4000 mg.",
        "I owe 1234567890 cents",
        "a mortgage of 2500000000 yen",
        "1234 5678 9012 3456 is no card",
        "0000 0000 0000 0000",
        "the 4111 1111 1111 1112 typo",
        "version 10.2.300.4 of the app",
        "999.999.999.999",
        "Call 112, 911 or 999.",
        "Samaritans 116 123",
        "HbA1c 48 mmol/mol, LDL 2.6",
        "article no. 12 of 45",
        "user@localhost",
        "This is urgent",
        "This is about Monday",
        "I was born in the summer",
        "DE00 1234 1234 1234 1234 00",
    ],
)
def test_what_only_looks_personal_stays(text: str) -> None:
    assert mask(text) == text


def test_places_and_dates_are_masked_beside_a_person_and_not_alone() -> None:
    assert mask("It opened in 1977 and moved on 3 May.") == "It opened in 1977 and moved on 3 May."
    assert "Leeds" not in mask("My name is Ana Berger, I live at 44 Elm Grove, Leeds")


def test_a_public_text_is_kept_and_the_rest_is_masked() -> None:
    source = "Write to help@shop.example or call +44 20 7946 0958."
    assert mask(source, [source]) == source
    assert mask("Not help@shop.example but me@home.example", [source]) == "Not help@shop.example but [email]"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("0123456789 -+.@abcXYZ(),\n"), max_size=80))
def test_spans_are_ordered_disjoint_and_inside_the_text(text: str) -> None:
    found = find(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(left.end <= right.start for left, right in pairwise(found))
