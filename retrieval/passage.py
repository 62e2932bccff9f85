"""Documents, the passages they are cut into, and the sentences inside a passage."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_WORDS = 160  # a longer section is cut at sentence ends; MiniLM reads 256 word pieces

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)
_BREAK = re.compile(r"(?<=[.!?。！？])[\"')\]”’]*\s+(?=[\"'(\[“‘]?[A-Z0-9À-ÖØ-Þ])|(?<=[。！？])|\n+(?:[-*•]\s+)?")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Nos|Art|Fig|Inc|Ltd|Co)|\b[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Document:
    """A source text before it is cut. ``text`` is Markdown."""

    id: str
    title: str
    text: str
    source: str
    date: str = ""  # ISO 8601
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that stands alone, the unit of search and of citation."""

    id: str  # "document#section-slug", stable while the section keeps its heading
    document: str
    title: str
    section: str
    text: str
    source: str
    date: str
    licence: str
    sha256: str  # of ``text``, UTF-8

    @property
    def heading(self) -> str:
        """Title and section in one line."""
        return f"{self.title} > {self.section}" if self.section else self.title


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that a search found."""

    passage: Passage
    score: float  # reciprocal-rank fusion, higher is better
    cosine: float  # similarity of question and passage, [-1, 1]
    bm25: float  # lexical relevance, 0 where no word matched
    sentence: float  # similarity of the question to its closest sentence, [-1, 1]
    span: tuple[int, int]  # where that sentence stands in the passage's text
    similarities: tuple[float, ...] = ()  # of the question to each of its sentences, in order


def passages(document: Document) -> Iterator[Passage]:
    """Cut a document at its headings, and a long section at sentence ends."""
    used: set[str] = set()
    for section, body in _sections(document.text):
        for text in _pieces(body):
            slug = re.sub(r"\W+", "-", section.lower()).strip("-") or "start"
            name, number = slug, 1
            while name in used:
                number += 1
                name = f"{slug}-{number}"
            used.add(name)
            yield Passage(
                id=f"{document.id}#{name}",
                document=document.id,
                title=document.title,
                section=section,
                text=text,
                source=document.source,
                date=document.date,
                licence=document.licence,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
            )


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans ``(start, end)`` of the sentences and list items of ``text``, end exclusive."""
    spans: list[tuple[int, int]] = []
    start = 0
    for gap in [*_BREAK.finditer(text), None]:
        end = gap.start() if gap else len(text)
        if gap and "\n" not in gap[0] and _ABBREVIATION.search(text, start, end):
            continue
        span = _trim(text, start, end)
        if span:
            spans.append(span)
        start = gap.end() if gap else end
    return spans


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip(" \t\n-*•"))
    kept = piece.strip(" \t\n-*•")
    return (start + left, start + left + len(kept)) if kept else None


def _sections(text: str) -> Iterator[tuple[str, str]]:
    heads = list(_HEADING.finditer(text))
    lead = text[: heads[0].start()] if heads else text
    if lead.strip():
        yield "", lead.strip()
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        body = text[head.end() : following.start() if following else len(text)].strip()
        if body:
            yield head[2], body


def _pieces(body: str) -> Iterator[str]:
    spans = sentences(body)
    if not spans:
        return  # a ruler or empty list marks: there is nothing to find or to quote
    if len(body.split()) <= MAX_WORDS:
        yield body
    else:
        yield from _group(body, spans)


def _group(body: str, spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    start, words = spans[0][0], 0
    for index, span in enumerate(spans):
        length = len(body[slice(*span)].split())
        if words and words + length > MAX_WORDS:
            yield body[start : spans[index - 1][1]]
            start, words = span[0], 0
        words += length
    yield body[start : spans[-1][1]]
