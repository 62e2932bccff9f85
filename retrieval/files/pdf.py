"""PDF: lines in reading order, headings by their size, tables by their rules, and no text that the eye does not see."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pdfplumber
import pypdfium2
from pdfplumber.page import Page
from pdfplumber.utils.exceptions import PdfminerException
from pypdfium2.raw import (
    FPDF_PAGEOBJ_IMAGE,
    FPDF_PAGEOBJ_TEXT,
    FPDF_TEXTRENDERMODE_INVISIBLE,
    FPDFTextObj_GetTextRenderMode,
)

from retrieval.files.text import PAGE_BREAK, Content, FileError, iso, plain, table

PAGES = 2_000
SMALLEST = 3.0  # points; what is smaller nobody reads
HEADING = 1.15  # times the size of the running text
WHITE = 0.97  # from this grey on, text on a white page cannot be seen
Box = tuple[float, float, float, float]  # x0, top, x1, bottom, in points from the upper left corner


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, or a table."""

    text: str
    size: float  # points; 0 for a table
    bold: bool
    top: float
    bottom: float


def document(raw: bytes) -> Content:
    """A PDF.

    Raises:
        FileError: it is damaged, needs a password, or holds no text at all.
    """
    try:
        with pdfplumber.open(io.BytesIO(raw)) as pdf, pypdfium2.PdfDocument(raw) as seen:
            if len(pdf.pages) > PAGES:
                raise FileError(f"it has {len(pdf.pages):,} pages, and at most {PAGES:,} are read")
            pages, hidden, scans = [], 0, []
            for number, page in enumerate(pdf.pages, start=1):
                shown, unseen = _visible(page, _invisible(seen[number - 1], page))
                hidden += unseen
                pages.append(list(_lines(shown)))
                if not pages[-1] and page.images:
                    scans.append(number)
                page.close()
            meta = {key: plain(value) for key, value in (pdf.metadata or {}).items()}
    except (PdfminerException, pypdfium2.PdfiumError) as error:
        locked = "password" in str(error).lower() or "PDFPasswordIncorrect" in repr(error)
        raise FileError("it needs a password" if locked else f"it is no PDF that can be read ({error})") from error
    notes = [f"{hidden} characters that cannot be seen were left out"] if hidden else []
    notes += [f"pages without text, only images: {_ranges(scans)}; they were not read"] if scans else []
    if not any(pages):
        raise FileError("; ".join(["there is no text in it", *notes]))
    text = f" {PAGE_BREAK}".join(_markdown(_without_furniture(pages)))
    return Content(meta.get("Title", ""), text, _day(meta.get("CreationDate", "")), notes=tuple(notes))


def _visible(page: Page, invisible: Sequence[Box]) -> tuple[Page, int]:
    """The page without characters that cannot be seen, and how many those were."""
    painted = [_box(rect) for rect in page.rects if rect.get("fill") and not _is_white(rect.get("non_stroking_color"))]
    painted += [_box(image) for image in page.images]

    def seen(thing: dict[str, Any]) -> bool:
        if thing.get("object_type") != "char" or not thing["text"].strip():
            return True
        if thing["size"] < SMALLEST or not _inside(thing, (page.bbox,)) or _inside(thing, invisible):
            return False
        return not _is_white(thing.get("non_stroking_color")) or _inside(thing, painted)

    shown = page.filter(seen)
    return shown, len(page.chars) - len(shown.chars)


def _invisible(page: pypdfium2.PdfPage, plumbed: Page) -> list[Box]:
    """Where text is drawn that shows nothing; over a scan that is what an OCR wrote, and is kept."""
    if any(True for _ in page.get_objects(filter=(FPDF_PAGEOBJ_IMAGE,))):
        return []
    top = float(plumbed.bbox[3])
    boxes: list[Box] = []
    for one in page.get_objects(filter=(FPDF_PAGEOBJ_TEXT,)):
        if FPDFTextObj_GetTextRenderMode(one.raw) == FPDF_TEXTRENDERMODE_INVISIBLE:
            left, low, right, high = one.get_bounds()
            boxes.append((left - 1, top - high - 1, right + 1, top - low + 1))
    return boxes


def _lines(page: Page) -> Iterator[Line]:
    """Lines and tables from top to bottom."""
    tables = page.find_tables()
    boxes = [found.bbox for found in tables]
    rest = page.filter(lambda thing: thing.get("object_type") != "char" or not _inside(thing, boxes)) if boxes else page
    found = [
        Line(
            plain(line["text"]),
            Counter(round(char["size"], 1) for char in line["chars"]).most_common(1)[0][0],
            all("bold" in char["fontname"].lower() for char in line["chars"] if char["text"].strip()),
            line["top"],
            line["bottom"],
        )
        for line in rest.extract_text_lines()
        if line["text"].strip()
    ]
    found += [
        Line(table([[cell or "" for cell in row] for row in one.extract()]), 0.0, False, one.bbox[1], one.bbox[3])
        for one in tables
    ]
    yield from sorted((line for line in found if line.text), key=lambda line: line.top)


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
    sizes = Counter[float]()
    for line in (line for page in pages for line in page):
        sizes[line.size] += len(line.text) if line.size else 0
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted({line.size for page in pages for line in page if _is_heading(line, body)}, reverse=True)
    levels = {size: min(6, place) for place, size in enumerate(larger, start=1)}
    for page in pages:
        text, before = "", None
        for line in page:
            level = levels.get(line.size) if _is_heading(line, body) else None
            text += _between(before, line, level, levels) + (f"{'#' * level} {line.text}" if level else line.text)
            before = line
        yield re.sub(r"(?<=[a-zà-ÿ])\u00ad ?|(?<=[a-zà-ÿ])- (?=[a-zà-ÿ])(?!and |or |und |oder )", "", text)


def _is_heading(line: Line, body: float) -> bool:
    short = 0 < len(line.text.split()) <= 15 and line.size > 0 and not line.text.endswith((".", ",", ";"))
    return short and (line.size >= HEADING * body or (line.bold and line.size >= body))


def _between(before: Line | None, line: Line, level: int | None, levels: dict[float, int]) -> str:
    """What stands between two lines: a space inside a paragraph, else a break."""
    if before is None:
        return "\n\n" if level or not line.size else ""
    if level or not line.size or not before.size or (before.size in levels and before.size != line.size):
        return "\n\n"
    if re.match(r"(?:[-*•–▪]|\d+[.)])\s", line.text):
        return "\n"
    return " " if line.top - before.bottom < 0.8 * line.size and before.size == line.size else "\n\n"


def _box(thing: dict[str, Any]) -> Box:
    return thing["x0"], thing["top"], thing["x1"], thing["bottom"]


def _inside(thing: dict[str, Any], boxes: Sequence[Box]) -> bool:
    x, y = (thing["x0"] + thing["x1"]) / 2, (thing["top"] + thing["bottom"]) / 2
    return any(x0 <= x <= x1 and top <= y <= bottom for x0, top, x1, bottom in boxes)


def _is_white(colour: object) -> bool:
    values = colour if isinstance(colour, tuple | list) else (colour,)
    if not values or not all(isinstance(value, int | float) for value in values):
        return False
    return (
        bool(max(values) <= 1 - WHITE) if len(values) == 4 else bool(min(values) >= WHITE)
    )  # four are ink: cyan to black


def _ranges(pages: Sequence[int]) -> str:
    shown = ", ".join(map(str, pages[:8]))
    return f"{shown} and {len(pages) - 8} more" if len(pages) > 8 else shown


def _day(date: str) -> str:
    found = re.match(r"D:(\d{4})(\d{2})(\d{2})", date)
    return iso("-".join(found.groups())) if found else ""
