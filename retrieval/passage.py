"""Documents, the passages they are cut into, and the sentences inside a passage."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_WORDS = 160  # a longer section is cut at sentence ends; MiniLM reads 256 word pieces

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)
_BREAK = re.compile(r"(?<=[.!?。！？])[\"')\]”’]*\s+(?=[\"'(\[“‘]?[A-Z0-9À-ÖØ-Þ])|(?<=[。！？])|\n+(?:[-*•]\s+)?")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Nos|Art|Fig|Inc|Ltd|Co)|\b[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Document:
    """A source text before it is cut. ``text`` is Markdown; a form feed in it starts the next page."""

    id: str
    title: str
    text: str
    source: str
    date: str = ""  # ISO 8601
    licence: str = ""
    access: str = ""  # the group that may read it; empty: everybody


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that stands alone, the unit of search and of citation."""

    id: str  # "document#section-slug", stable while the section keeps its heading
    document: str
    title: str
    section: str  # its heading, after the headings above it: "Fees > Late fee"
    text: str
    source: str
    date: str
    licence: str
    sha256: str  # of ``text``, UTF-8
    page: int | None = None  # on which it begins, where the source has pages
    access: str = ""  # the group that may read it; empty: everybody

    @property
    def heading(self) -> str:
        """Title and section in one line."""
        return f"{self.title} > {self.section}" if self.section else self.title

    @property
    def intact(self) -> bool:
        """Whether the text is what its digest was taken of."""
        return hashlib.sha256(self.text.encode()).hexdigest() == self.sha256


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
    known: tuple[float, ...] = ()  # … to the closest known question that each of them answers; 0 where there is none


def passages(document: Document) -> Iterator[Passage]:
    """Cut a document at its headings, and a long section at sentence ends."""
    used: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for section, body, start in _sections(document.text):
        for text, offset in _pieces(body):
            words = (section, " ".join(text.split()))
            if words in seen:
                continue  # the same words under the same heading twice: a running header, or a copy
            seen.add(words)
            slug = re.sub(r"\W+", "-", section.lower()).strip("-") or "start"
            name, number = slug, 1
            while name in used:
                number += 1
                name = f"{slug}-{number}"
            used.add(name)
            yield cut(document, name, section, text, _page(document.text, start + offset))


def cut(document: Document, name: str, section: str, text: str, page: int | None = None) -> Passage:
    """One passage of a document. ``name`` is unique in it."""
    text = text.replace("\f", "")
    return Passage(
        id=f"{document.id}#{name}",
        document=document.id,
        title=document.title,
        section=section,
        text=text,
        source=document.source,
        date=document.date,
        licence=document.licence,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        page=page,
        access=document.access,
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


def _sections(text: str) -> Iterator[tuple[str, str, int]]:
    """Path of headings, body, and where the body begins."""
    heads = list(_HEADING.finditer(text))
    path: list[tuple[int, str]] = []
    first = heads[0].start() if heads else len(text)
    if text[:first].strip():
        yield "", *_trimmed(text, 0, first)
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        level = len(head[1])
        path = [*((above, name) for above, name in path if above < level), (level, head[2])]
        end = following.start() if following else len(text)
        if text[head.end() : end].strip():
            yield " > ".join(name for _, name in path), *_trimmed(text, head.end(), end)


def _trimmed(text: str, start: int, end: int) -> tuple[str, int]:
    body = text[start:end]
    return body.strip(), start + len(body) - len(body.lstrip())


def _page(text: str, offset: int) -> int | None:
    return 1 + text.count("\f", 0, offset) if "\f" in text else None


def _pieces(body: str) -> Iterator[tuple[str, int]]:
    """The text of each passage, and where in ``body`` it begins."""
    spans = sentences(body)
    if not spans:
        return  # a ruler or empty list marks: there is nothing to find or to quote
    if _length(body) <= MAX_WORDS:
        yield body, 0
    else:
        yield from _group(body, spans)


def _group(body: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    start, words = spans[0][0], 0
    for index, span in enumerate(spans):
        length = _length(body[slice(*span)])
        if words and words + length > MAX_WORDS:
            yield body[start : spans[index - 1][1]], start
            start, words = span[0], 0
        words += length
    yield body[start : spans[-1][1]], start


def _length(text: str) -> int:
    """Words; three Chinese or Japanese characters, which no space parts, count as two."""
    return len(text.split()) + len(_UNSPACED.findall(text)) * 2 // 3
