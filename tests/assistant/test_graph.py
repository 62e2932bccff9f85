"""Facts beside an answer: linked by name and by article, never by a number alone, and drawn in columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.graph import DRAWN, Graph, graph_of
from assistant.record import Related
from domains.pack import load
from retrieval.passage import Document, Hit, passages

FACTS = [
    ("late fee", "is", "0.25 euros a day", "fees"),
    ("late fee", "is never above", "10 euros", "fees"),
    ("fee", "is paid at", "the desk", "fees"),
    ("book", "is lent for", "21 days", "loans"),
    ("film", "is lent for", "7 days", "loans"),
    ("warfarin", "must not be taken with", "aspirin", "drugs"),
    ("aspirin", "is", "a painkiller", "drugs"),
    ("cold", "lasts", "a week", "colds"),
    ("flu", "lasts", "a week", "flu"),
]
GRAPH = Graph([Related(a, b, c, d, d.title(), f"Source of {d}") for a, b, c, d in FACTS])


def hit(article: str, text: str = "Some text.") -> Hit:
    (one,) = passages(Document(article, article.title(), f"{text} A cold.", "s"))
    return Hit(one, 1.0, 1.0, 1.0, 1.0, (0, len(text)))


@pytest.mark.parametrize(
    ("question", "articles", "found"),
    [
        ("How high is the late fee?", (), ["0.25 euros a day", "10 euros"]),
        ("Late fees, please", (), ["0.25 euros a day", "10 euros"]),
        ("May I take aspirin?", (), ["a painkiller", "aspirin"]),
        ("How many books for a week?", (), ["21 days"]),
        ("How long are films lent?", ("loans",), ["7 days"]),
        ("Is a book lent for long?", ("loans",), ["21 days"]),
        ("Where is the zoo?", ("loans", "fees"), []),
        ("", ("loans",), []),
    ],
)
def test_facts_of_what_a_question_names_are_near(question: str, articles: tuple[str, ...], found: list[str]) -> None:
    assert sorted(one.object for one in GRAPH.near(question, [hit(name) for name in articles])) == sorted(found)


@pytest.mark.parametrize(
    ("question", "text", "found"),
    [
        ("Is this painkiller safe with my tablets?", "Aspirin thins the blood.", ["a painkiller"]),
        ("Is a cold worse than this painkiller?", "Aspirin thins the blood.", ["a week", "a painkiller"]),
        ("What do I pay if I bring it late?", "The late fee is due.", []),  # no word beside the entity's own
        ("Is it due after 10 days?", "The late fee is due.", ["0.25 euros a day"]),
        ("Is it due after 10 hours?", "The late fee is due.", []),  # a number is not enough
        ("How many days?", "The fee is due.", []),
        ("Is this painkiller safe?", "It thins the blood.", []),
    ],
)
def test_facts_of_what_the_best_sentences_name_come_after_those_of_the_question(
    question: str, text: str, found: list[str]
) -> None:
    assert [one.object for one in GRAPH.near(question, [hit("other", text)])] == found


def test_other_numbers_are_other_entities() -> None:
    labels = [node.label for node in GRAPH.around("late fee").nodes]
    assert labels[0] == "late fee" and {"0.25 euros a day", "10 euros"} <= set(labels)


def test_a_picture_reaches_two_steps_and_says_where_each_fact_is_from() -> None:
    picture = GRAPH.around("Warfarin!")
    assert [(node.label, node.column) for node in picture.nodes] == [
        ("warfarin", 0), ("aspirin", 1), ("a painkiller", 2)
    ]  # fmt: skip
    assert [(a, b, fact.source) for a, b, fact in picture.edges] == [
        (0, 1, "Source of drugs"), (1, 2, "Source of drugs")
    ]  # fmt: skip
    assert all(0 <= node.place < node.others for node in picture.nodes)


def test_what_no_fact_names_has_no_picture_and_nothing_written_shows_the_best_known() -> None:
    assert GRAPH.around("zoo").nodes == () == Graph().around("").nodes
    assert GRAPH.around("").nodes[0].column == 0


@pytest.mark.parametrize("name", ["customer_service", "finance", "medical"])
def test_every_fact_of_a_shipped_pack_is_in_its_graph_with_its_article(name: str) -> None:
    domain = load(Path(__file__).parents[2] / "domains" / name, trust_code=True)
    graph = graph_of(domain)
    assert len(graph) == len(domain.facts) >= 60
    for entity in graph.entities()[:20]:
        picture = graph.around(entity)
        assert picture.nodes[0].label == entity and 0 < len(picture.edges) <= DRAWN
        assert all(fact.source and fact.title for _, _, fact in picture.edges)
