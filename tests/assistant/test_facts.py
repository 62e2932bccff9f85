"""A document that gives another figure than the pack's fact is caught; one about something narrower is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant import facts
from domains.pack import Fact, load
from retrieval.passage import sentences

PACKS = Path(__file__).parents[2] / "domains"
FACTS = (
    Fact("Standard delivery", "costs", "€4.95", "delivery"),
    Fact("Express delivery", "takes", "1 to 2 working days", "delivery"),
    Fact("US return label", "costs", "€14.95", "returns"),
    Fact("Late fee", "is never above", "10 euros", "fees"),
    Fact("Complaint, step 1", "is answered within", "10 working days", "complaints"),
    Fact("Guest checkout", "requires", "an email address", "orders"),
)


@pytest.mark.parametrize(
    "sentence",
    [
        "Standard delivery costs €5.95.",
        "Standard delivery costs 5.95 euros from May on.",
        "Express delivery takes 3 to 5 working days.",
        "Express delivery takes three working days.",
        "The US return label costs €15.00.",
        "A complaint in step 1 is answered within 20 working days.",
        "The late fee is never above 12 euros.",
    ],
)
def test_another_figure_of_the_same_thing_is_a_contradiction(sentence: str) -> None:
    (found,) = facts.contradictions(sentence, FACTS)
    assert (found.code, found.severity, found.where) == (facts.CONTRADICTED, "block", "output")
    assert found.quote.startswith("the pack's fact is: ")


@pytest.mark.parametrize(
    "sentence",
    [
        "Standard delivery costs €4.95.",
        "Standard delivery costs 4.95 euros.",
        "Standard delivery costs €4.95, or nothing from €60.",
        "Standard delivery costs nothing for members.",
        "Standard delivery takes 3 to 5 working days.",  # says something else
        "Standard delivery costs as much as 2 coffees.",  # another unit
        "Express delivery takes two working days.",
        "Express delivery to islands takes 6 working days.",  # something narrower
        "The removal of a sofa costs €29.00 together with a standard delivery.",
        "A return label costs €3.95.",  # "US" is no stop word
        "A complaint in step 2 is answered within 15 working days.",
        "Guest checkout requires 2 clicks.",
        "",
    ],
)
def test_what_is_narrower_or_says_something_else_is_none(sentence: str) -> None:
    assert list(facts.contradictions(sentence, FACTS)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("€4.95", {("4.95", "eur")}),
        ("1,200 dollars and 5 %", {("1200", "usd"), ("5", "%")}),
        ("two working days", {("2", "work day")}),
        ("2 days", {("2", "day")}),
        ("38 °C, 7.0 mmol/L", {("38", "°c"), ("7", "mmol/l")}),
        ("no figure", set()),
    ],
)
def test_a_measure_is_a_figure_with_its_unit(text: str, found: set[facts.Measure]) -> None:
    assert facts.measures(text) == found


@pytest.mark.parametrize("name", ["customer_service", "finance", "medical"])
def test_no_article_that_ships_contradicts_a_fact_that_ships(name: str) -> None:
    domain = load(PACKS / name, trust_code=True)
    said = [article.text[start:end] for article in domain.articles for start, end in sentences(article.text)]
    assert len(said) > 1000
    assert [(one, list(found)) for one in said if (found := tuple(facts.contradictions(one, domain.facts)))] == []
