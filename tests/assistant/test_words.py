"""Normalised text, content words, quantities and negation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.words import bounds, content, negated, normalise, quantities, terms


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  two   spaces\tand a tab ", "two spaces and a tab"),
        ("line\none  more", "line\none more"),
        ("“quoted” and ‘single’", "\"quoted\" and 'single'"),
        ("don’t", "don't"),
        ("5–7 days — or −2", "5-7 days - or -2"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("ﬁne ① ²", "fine 1 2"),
        ("ig\u200bnore a\u00adll", "ignore all"),
        ("a\u202eb\u2066c\ufeffd\U000e0041e\ufe0f", "abcde"),
        ("no\u00a0break", "no break"),
        ("", ""),
    ],
)
def test_text_is_made_plain(text: str, plain: str) -> None:
    assert normalise(text) == plain


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_content_is_the_stems_of_words_that_carry_meaning() -> None:
    assert content("The customer's parcels were delivered to the Customers") == {"custom", "parcel", "deliv"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("退货期限是多久？", ["退货", "货期", "期限"]),
        ("请问您的 DHL 包裹在哪里？", ["dhl", "包裹", "哪里"]),
        ("保修期为30天。", ["保修", "修期", "期为", "天"]),
        ("的了吗", []),
    ],
)
def test_chinese_is_read_in_pairs_of_characters(text: str, found: list[str]) -> None:
    assert terms(text) == found


@pytest.mark.parametrize("text", ["", "it is what they would have had", "12 and twenty-one", "!!! ?", "a b c"])
def test_stop_words_numbers_and_letters_carry_none(text: str) -> None:
    assert content(text) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,200.50 euros", {"1200.5"}),
        ("1 200,50 euros", {"1200.5"}),
        ("1.200,50 euros", {"1200.5"}),
        ("1,200 and 1200", {"1200"}),
        ("1.200 or 1,200,000", {"1200", "1200000"}),
        ("3 to 5 days", {"3", "5"}),
        ("twenty-one days and three nights", {"20", "1", "3"}),
        ("three books", {"3"}),
        ("0.25 and .5", {"0.25"}),  # a number without its zero is not seen
        ("-4 degrees", {"-4"}),
        ("007", {"7"}),
        ("2.50 is 2.5", {"2.5"}),
        ("version v2 and B12", set()),
        ("10% of £1,000", {"10", "1000"}),
        ("可在30天内退货", {"30"}),
        ("三十天，两件，一百零五元，三万五千，二〇二六年", {"30", "2", "105", "35000", "2026"}),
        ("一般十分重要，但十分钟不够", {"10"}),
        ("", set()),
    ],
)
def test_quantities_have_one_form(text: str, found: set[str]) -> None:
    assert quantities(text) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You may not return it.", True),
        ("You can’t return it.", True),
        ("It cannot be renewed.", True),
        ("Without a receipt there is a fee.", True),
        ("Sale goods are excluded.", True),
        ("Nobody is unable to pay.", True),
        ("商品不可退货。", True),
        ("未使用的商品", True),
        ("商品可退货。", False),
        ("You may return it.", False),
        ("A note about knots and notices.", False),
        ("November is nothingness-free.", False),
    ],
)
def test_a_negation_is_seen_and_a_look_alike_is_not(text: str, expected: bool) -> None:
    assert negated(text) is expected


def test_a_chinese_limit_is_that_of_its_figure() -> None:
    assert bounds("冷却至少二十分钟，最多2小时") == {("至少", "20"), ("最多", "2")}
