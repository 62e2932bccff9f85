"""PDF: lines in reading order, headings by their size, tables by their rules, and no text that the eye does not see."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pdfplumber
import pypdfium2
from pdfplumber.page import Page
from pdfplumber.table import Table
from pdfplumber.utils.exceptions import PdfminerException
from PIL import Image
from pypdfium2.raw import (
    FPDF_PAGEOBJ_IMAGE,
    FPDF_PAGEOBJ_TEXT,
    FPDF_TEXTRENDERMODE_INVISIBLE,
    FPDFTextObj_GetTextRenderMode,
)

from retrieval.files import ocr
from retrieval.files.columns import Spot, blocks
from retrieval.files.layout import Line, body, markdown, scaled
from retrieval.files.text import Content, FileError, iso, plain, table

PAGES = 2_000
SMALLEST = 3.0  # points; what is smaller nobody reads
WHITE = 0.97  # from this grey on, text on a white page cannot be seen
COVERED = 0.6  # of a page; where pictures cover more, few words beside them are a stamp on a scan
STAMP = 20  # words; from this many on the page has a text of its own
Box = tuple[float, float, float, float]  # x0, top, x1, bottom, in points from the upper left corner
_WORD = re.compile(r"[\u3040-\u9fff]|[^\s\u3040-\u9fff]+")  # no space parts Chinese or Japanese


def document(raw: bytes) -> Content:
    """A PDF.

    Raises:
        FileError: it is damaged, needs a password, or holds no text at all.
    """
    try:
        with pdfplumber.open(io.BytesIO(raw)) as pdf, pypdfium2.PdfDocument(raw) as seen:
            if len(pdf.pages) > PAGES:
                raise FileError(f"it has {len(pdf.pages):,} pages, and at most {PAGES:,} are read")
            pages, hidden, pictures, scans = [], 0, [], dict[int, ocr.Scan]()
            for number, page in enumerate(pdf.pages, start=1):
                shown, unseen = _visible(page, _invisible(seen[number - 1], page))
                hidden += unseen
                pages.append(list(_lines(shown)))
                if _is_picture(page, pages[-1]):
                    pictures.append(number)
                    if ocr.available():
                        scans[number] = ocr.scan(_rendered(seen[number - 1]))
                page.close()
            meta = {key: plain(value) for key, value in (pdf.metadata or {}).items()}
    except (PdfminerException, pypdfium2.PdfiumError) as error:
        locked = "password" in str(error).lower() or "PDFPasswordIncorrect" in repr(error)
        raise FileError("it needs a password" if locked else f"it is no PDF that can be read ({error})") from error
    running = body(pages) or 1.0
    for number, one in scans.items():
        pages[number - 1] = _together(pages[number - 1], scaled(one.lines, running))
    notes = [f"{hidden} characters that cannot be seen were left out"] if hidden else []
    notes += _of_pictures(pictures, scans)
    if not any(pages):
        raise FileError("; ".join(["there is no text in it", *notes]))
    return Content(meta.get("Title", ""), markdown(pages), _day(meta.get("CreationDate", "")), notes=tuple(notes))


def _is_picture(page: Page, lines: Sequence[Line]) -> bool:
    """Whether its text is drawn: a scan, with a stamp on it or none, or letters as outlines."""
    if not lines:
        return bool(page.images or page.curves)
    x0, top, x1, bottom = page.bbox
    covered = sum(
        max(0.0, min(box[2], x1) - max(box[0], x0)) * max(0.0, min(box[3], bottom) - max(box[1], top))
        for box in map(_box, page.images)
    )
    words = sum(len(_WORD.findall(line.text)) for line in lines)
    return words < STAMP and covered > COVERED * (x1 - x0) * (bottom - top)


def _together(written: Sequence[Line], read: Sequence[Line]) -> list[Line]:
    """What was read of a scan, and before it what is written on the page and was not read with it."""
    known = _letters(" ".join(line.text for line in read))
    return [*(line for line in written if _letters(line.text) not in known), *read]


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).casefold()


def _rendered(page: pypdfium2.PdfPage) -> Image.Image:
    picture: Image.Image = page.render(scale=ocr.LONGEST / max(page.get_size())).to_pil()
    return picture.convert("RGB")


def _of_pictures(pages: Sequence[int], scans: dict[int, ocr.Scan]) -> list[str]:
    """What was read, or was not, of the pages that are pictures."""
    if pages and not scans:
        return [f"pictures with few words or none: {_ranges(pages)}; text in pictures is read after: {ocr.INSTALL}"]
    blank = [number for number in pages if not scans[number].lines]
    found = {number: one for number, one in scans.items() if one.lines}
    notes = [f"nothing was read in the pictures of {_ranges(blank)}"] if blank else []
    return [*notes, ocr.note(_ranges(list(found)), found)] if found else notes


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
    """Lines and tables as they are read: from top to bottom, and one column after the other."""
    tables = page.find_tables()
    boxes = [found.bbox for found in tables]
    rest = page.filter(lambda thing: thing.get("object_type") != "char" or not _inside(thing, boxes)) if boxes else page
    words = [Spot(*_box(word)) for word in rest.extract_words()]
    spots = [*words, *(Spot(*box, words=0) for box in boxes)]
    parts = blocks(spots)
    for part in parts:
        area = rest if len(parts) == 1 else rest.within_bbox(_around([spots[at] for at in part]), strict=False)
        found = [_line(line) for line in area.extract_text_lines() if line["text"].strip()]
        found += [_table(tables[at - len(words)]) for at in part if at >= len(words)]
        yield from sorted((line for line in found if line.text), key=lambda line: line.top)


def _line(line: dict[str, Any]) -> Line:
    return Line(
        plain(line["text"]),
        Counter(round(char["size"], 1) for char in line["chars"]).most_common(1)[0][0],
        all("bold" in char["fontname"].lower() for char in line["chars"] if char["text"].strip()),
        line["top"],
        line["bottom"],
    )


def _table(found: Table) -> Line:
    rows = [[cell or "" for cell in row] for row in found.extract()]
    return Line(table(rows), 0.0, False, found.bbox[1], found.bbox[3])


def _around(spots: Sequence[Spot]) -> Box:
    """The box that holds all of them, with a little air: letters may stand out of their words."""
    left, top = min(spot.left for spot in spots), min(spot.top for spot in spots)
    return left - 1, top - 1, max(spot.right for spot in spots) + 1, max(spot.bottom for spot in spots) + 1


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
    shown = ", ".join(map(str, pages[:8])) + (f" and {len(pages) - 8} more" if len(pages) > 8 else "")
    return f"page {shown}" if len(pages) == 1 else f"pages {shown}"


def _day(date: str) -> str:
    found = re.match(r"D:(\d{4})(\d{2})(\d{2})", date)
    return iso("-".join(found.groups())) if found else ""
