"""Lines as they stand on pages become Markdown: paragraphs joined, headings by their size, running headers dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from retrieval.files.text import PAGE_BREAK

HEADING = 1.15  # times the size of the running text


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, or a table."""

    text: str
    size: float  # of its letters, in the unit of top and bottom; 0 for a table
    bold: bool
    top: float
    bottom: float


def markdown(pages: Sequence[list[Line]]) -> str:
    """The text of all pages, a form feed between two."""
    return f" {PAGE_BREAK}".join(_markdown(_without_furniture(pages)))


def body(pages: Sequence[list[Line]]) -> float:
    """The size of the running text; 0 where there is none."""
    sizes = Counter[float]()
    for line in (line for page in pages for line in page):
        sizes[line.size] += len(line.text) if line.size else 0
    return sizes.most_common(1)[0][0] if sizes else 0.0


def scaled(lines: Sequence[Line], factor: float) -> list[Line]:
    """Lines in another unit of length."""
    return [
        replace(line, size=line.size * factor, top=line.top * factor, bottom=line.bottom * factor) for line in lines
    ]


def _without_furniture(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """Pages without the lines at their top and bottom that come back on most of them: headers, footers, numbers."""
    if len(pages) < 3:
        return list(pages)
    edges = Counter(key for page in pages for key in {_repeating(line) for line in [*page[:2], *page[-2:]]})
    often = {key for key, times in edges.items() if times >= max(3, 0.6 * len(pages))}
    return [
        [line for at, line in enumerate(page) if 2 <= at < len(page) - 2 or _repeating(line) not in often]
        for page in pages
    ]


def _repeating(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text)


def _markdown(pages: Sequence[list[Line]]) -> Iterator[str]:
    """Each page's text: lines joined to paragraphs, headings marked by their size."""
    running = body(pages)
    larger = sorted({line.size for page in pages for line in page if _is_heading(line, running)}, reverse=True)
    levels = {size: min(6, place) for place, size in enumerate(larger, start=1)}
    for page in pages:
        text, before = "", None
        for line in page:
            level = levels.get(line.size) if _is_heading(line, running) else None
            text += _between(before, line, level, levels) + (f"{'#' * level} {line.text}" if level else line.text)
            before = line
        yield re.sub(r"(?<=[a-zà-ÿ])\u00ad ?|(?<=[a-zà-ÿ])- (?=[a-zà-ÿ])(?!and |or |und |oder )", "", text)


def _is_heading(line: Line, running: float) -> bool:
    short = 0 < len(line.text.split()) <= 15 and line.size > 0 and not line.text.endswith((".", ",", ";"))
    return short and (line.size >= HEADING * running or (line.bold and line.size >= running))


def _between(before: Line | None, line: Line, level: int | None, levels: dict[float, int]) -> str:
    """What stands between two lines: a space inside a paragraph, else a break."""
    if before is None:
        return "\n\n" if level or not line.size else ""
    if level or not line.size or not before.size or (before.size in levels and before.size != line.size):
        return "\n\n"
    if re.match(r"(?:[-*•–▪]|\d+[.)])\s", line.text):
        return "\n"
    return " " if line.top - before.bottom < 0.8 * line.size and before.size == line.size else "\n\n"
