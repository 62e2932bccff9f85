"""A pack's facts as a graph: which of them stand near a question and its passages, and how a part of it is drawn.

Facts explain an answer and make none: whatever is said still needs a span of a passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from assistant.record import Related
from assistant.words import content, quantities
from domains.pack import Domain, Fact
from retrieval.passage import Hit

MOST = 6  # facts beside an answer
DRAWN = 24  # facts in a picture
STEPS = 2  # from the entity in the middle of a picture


@dataclass(frozen=True, slots=True)
class Node:
    """An entity in a picture. Columns and places are counted from 0."""

    label: str
    column: int  # steps from the entity in the middle
    place: int  # in its column
    others: int  # how many stand in its column


@dataclass(frozen=True, slots=True)
class Picture:
    """A part of the graph, laid out in columns."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int, Related], ...]  # positions of subject and object in ``nodes``


class Graph:
    """The facts of one pack. An entity is the words of its name, whatever their endings."""

    def __init__(self, facts: Sequence[Related] = ()) -> None:
        self._graph: nx.MultiDiGraph[frozenset[str]] = nx.MultiDiGraph()
        for fact in facts:
            ends = [_words(text) for text in (fact.subject, fact.object)]
            for end, text in zip(ends, (fact.subject, fact.object), strict=True):
                if end not in self._graph:
                    self._graph.add_node(end, label=text)
            self._graph.add_edge(*ends, fact=fact)

    def __len__(self) -> int:
        """How many facts there are."""
        return int(self._graph.number_of_edges())

    def entities(self) -> list[str]:
        """The names of all subjects, by the number of facts that touch them."""
        subjects = [node for node in self._graph if self._graph.out_degree(node)]
        return [self._label(node) for node in sorted(subjects, key=lambda one: (-self._graph.degree(one), sorted(one)))]

    def near(self, question: str, hits: Sequence[Hit]) -> tuple[Related, ...]:
        """The facts of what a question names, and of what its passages name and their own articles say; best first."""
        asked, words = _words(question), content(question)
        named = self._named(asked)
        shown = set().union(*(self._named(_words(hit.passage.text[slice(*hit.span)])) for hit in hits))
        articles = {hit.passage.document: rank for rank, hit in enumerate(hits)}
        scored: dict[Related, tuple[int, int, int]] = {}
        for subject, object_, fact in self._facts():
            whole = subject | object_ | _words(fact.predicate)
            # "a week" is the object of many facts, and an entity only where something is said of it
            ends = [end for end in (subject, object_) if end == subject or self._graph[end]]
            linked = [end for end in ends if end in named]
            told = fact.article in articles and len(whole & asked) > 1
            beside = any(end in shown and (whole - end) & words for end in ends)
            if linked or told or beside:
                place = articles.get(fact.article, len(articles))
                scored[fact] = (-len(linked), place, -len((subject | object_) & asked))
        return tuple(sorted(scored, key=lambda fact: scored[fact])[:MOST])

    def around(self, entity: str) -> Picture:
        """The facts within two steps of an entity, or of the one that shares most words with what was written."""
        words = _words(entity) if entity else frozenset()
        middle = max(self._graph, key=lambda one: _likeness(one, words, self._graph.degree(one)), default=None)
        if middle is None or (words and not middle & words):
            return Picture((), ())
        far = nx.single_source_shortest_path_length(self._graph.to_undirected(as_view=True), middle, cutoff=STEPS)
        edges = sorted(self._facts(), key=lambda one: far.get(one[0], 9) + far.get(one[1], 9))
        return _drawn(
            [edge for edge in edges if edge[0] in far and edge[1] in far][:DRAWN],
            far,
            {one: self._label(one) for one in far},
        )

    def _named(self, words: frozenset[str]) -> set[frozenset[str]]:
        """The entities that stand among the words of a text; "late fee" says more than "fee"."""
        found = {node for node in self._graph if node <= words}
        return {node for node in found if not any(node < other for other in found)}

    def _facts(self) -> Iterator[tuple[frozenset[str], frozenset[str], Related]]:
        return ((subject, object_, data["fact"]) for subject, object_, data in self._graph.edges(data=True))

    def _label(self, node: frozenset[str]) -> str:
        return str(self._graph.nodes[node]["label"])


def graph_of(domain: Domain) -> Graph:
    """The graph of a pack's facts, each with the article that it is from."""
    return Graph([_related(domain, fact) for fact in domain.facts])


def _related(domain: Domain, fact: Fact) -> Related:
    article = next(one for one in domain.articles if one.id == fact.source.partition("#")[0])
    return Related(fact.subject, fact.predicate, fact.object, article.id, article.title, article.source)


def _words(text: str) -> frozenset[str]:
    return frozenset(content(text) | quantities(text)) or frozenset([text.lower()])


def _likeness(node: frozenset[str], words: frozenset[str], degree: int) -> tuple[float, int]:
    """How much a name and what was written have in common; then how much is known of it."""
    return (len(node & words) / max(1, len(node | words)), degree)


def _drawn(
    edges: Sequence[tuple[frozenset[str], frozenset[str], Related]],
    column: Mapping[frozenset[str], int],
    labels: Mapping[frozenset[str], str],
) -> Picture:
    ends: Iterable[frozenset[str]] = dict.fromkeys(end for edge in edges for end in edge[:2])
    columns: dict[int, list[frozenset[str]]] = {}
    for end in ends:
        columns.setdefault(column[end], []).append(end)
    nodes = {
        end: Node(labels[end], number, place, len(members))
        for number, members in sorted(columns.items())
        for place, end in enumerate(members)
    }
    order = {end: number for number, end in enumerate(nodes)}
    return Picture(tuple(nodes.values()), tuple((order[a], order[b], fact) for a, b, fact in edges))
