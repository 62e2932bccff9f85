"""Word, PowerPoint and Excel. Hidden text, slides and sheets are left out, and said."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any
from zipfile import BadZipFile

import docx
import openpyxl
import pptx
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.document import CT_Body
from docx.oxml.table import CT_Tc
from docx.table import Table
from docx.text.paragraph import Paragraph
from openpyxl.cell.read_only import EmptyCell, ReadOnlyCell
from pptx.shapes.group import GroupShape
from pptx.slide import Slide

from retrieval.files.text import PAGE_BREAK, Content, FileError, iso, paragraphs, plain, table

ROWS = 50_000  # of a sheet
_HIDDEN = './/w:r[w:rPr/w:vanish[not(@w:val="0" or @w:val="false" or @w:val="off")]]'
_WRAPPED = (  # what Word shows as part of the text around it; a table of contents would only repeat the headings
    ".//w:ins | .//w:moveTo | .//w:smartTag | .//w:customXml | .//w:fldSimple | .//w:sdtContent | "
    './/w:sdt[not(w:sdtPr/w:docPartObj/w:docPartGallery[@w:val="Table of Contents"])]'
)
_LITERAL = re.compile(r'"[^"]*"|\\.')  # of a number format
_PERCENT = re.compile(r"(?:\.([0#?]+))?[^.]*%")  # with its decimal places


def word(raw: bytes) -> Content:
    """A .docx file, its tracked changes accepted."""
    try:
        document = docx.Document(io.BytesIO(raw))
    except (BadZipFile, KeyError, ValueError, PackageNotFoundError) as error:
        raise FileError(f"it is not a Word document: {error}") from error
    parts: list[str] = []
    title, hidden = document.core_properties.title or "", _without_hidden(document.element.body)
    _unwrap(document.element.body)
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            parts.append(table(_rows(block)))
            continue
        text = plain(block.text)
        if text and block.style is not None and block.style.name == "Title":
            title = text
        elif text:
            parts.append(_mark(block) + text)
    notes = (f"{hidden} pieces of hidden text were left out",) if hidden else ()
    changed = document.core_properties.modified or document.core_properties.created
    return Content(title, _joined(parts), iso(changed.isoformat() if changed else ""), notes=notes)


def slides(raw: bytes) -> Content:
    """A .pptx file; every slide is a page, its speaker notes at the end."""
    try:
        deck = pptx.Presentation(io.BytesIO(raw))
    except (BadZipFile, KeyError, ValueError, pptx.exc.PackageNotFoundError) as error:
        raise FileError(f"it is not a PowerPoint file: {error}") from error
    pages, hidden = [], 0
    for slide in deck.slides:
        if slide._element.get("show") == "0":
            hidden += 1
            pages.append("")
            continue
        head = slide.shapes.title
        parts = [f"## {plain(head.text_frame.text)}"] if head is not None and head.text_frame.text.strip() else []
        for shape in _shapes(slide.shapes):
            if shape.has_text_frame and (head is None or shape.shape_id != head.shape_id):
                parts += [f"- {plain(one.text)}" for one in shape.text_frame.paragraphs if one.text.strip()]
            elif shape.has_table:
                parts.append(table([[cell.text for cell in row.cells] for row in shape.table.rows]))
        pages.append(_joined([*parts, *_spoken(slide)]))
    notes = (f"{hidden} hidden slides were left out",) if hidden else ()
    properties = deck.core_properties
    text = f"\n\n{PAGE_BREAK}".join(pages)
    return Content(properties.title or "", text, iso(properties.modified or properties.created), notes=notes)


def workbook(raw: bytes) -> Content:
    """An .xlsx file; every sheet is a section, its first row names the columns."""
    try:
        book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
    except (BadZipFile, KeyError, ValueError, OSError) as error:
        raise FileError(f"it is not an Excel workbook: {error}") from error
    parts, notes, blank = [], [], dict[str, set[str]]()
    for one in book.worksheets:
        if one.sheet_state != "visible":
            notes.append(f"the hidden sheet {one.title!r} was left out")
            continue
        rows, blank[one.title] = list[list[str]](), set()
        for row in one.iter_rows(max_row=ROWS):
            rows.append([_value(cell) for cell in row])
            blank[one.title].update(cell.coordinate for cell in row if _is_blank(cell))
        if (one.max_row or 0) > ROWS:
            notes.append(f"sheet {one.title!r} was read up to row {ROWS:,}")
        if any(map(any, rows)):
            parts.append(f"## {plain(one.title)}\n\n{table(rows)}")
    changed = book.properties.modified
    book.close()
    notes += _formulas(raw, {sheet: cells for sheet, cells in blank.items() if cells})
    return Content(book.properties.title or "", paragraphs(parts), iso(changed), notes=tuple(notes))


def _without_hidden(body: CT_Body) -> int:
    """Remove the runs that are not shown; returns how many held text."""
    found = body.xpath(_HIDDEN)
    for run in found:
        run.getparent().remove(run)
    return sum(bool(run.text.strip()) for run in found)


def _unwrap(body: CT_Body) -> None:
    """Put what stands in insertions and controls in their place, where it is looked for."""
    for wrapper in body.xpath(_WRAPPED):
        for child in list(wrapper):
            wrapper.addprevious(child)
        wrapper.getparent().remove(wrapper)


def _rows(grid: Table) -> Iterator[list[str]]:
    """Texts of the cells; a merged one once a row, so that each stands alone, and not again below the head."""
    head: set[CT_Tc] = set()
    for row in grid.rows:
        seen, texts = set(head), []
        for cell in row.cells:
            texts.append("" if cell._tc in seen else cell.text)
            seen.add(cell._tc)
        head = head or seen
        yield texts


def _spoken(slide: Slide) -> list[str]:
    """Its speaker notes, a paragraph each."""
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    return [plain(one.text) for one in frame.paragraphs if one.text.strip()] if frame is not None else []


def _shapes(shapes: Iterable[Any]) -> Iterator[Any]:
    """Those in groups as well."""
    for shape in shapes:
        if isinstance(shape, GroupShape):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _value(cell: ReadOnlyCell | EmptyCell) -> str:
    """What is in it; a share in per cent, as it is shown, and a day without its hour."""
    if cell.value is None:
        return ""
    percent = _PERCENT.search(_LITERAL.sub("", cell.number_format).split(";")[0]) if cell.data_type == "n" else None
    if percent:
        return f"{cell.value:.{len(percent[1] or '')}%}"
    return iso(cell.value) if str(cell.value).endswith(" 00:00:00") else str(cell.value)


def _is_blank(cell: ReadOnlyCell | EmptyCell) -> bool:
    """Whether it is written in the file, with a format or a formula, and has no value."""
    return isinstance(cell, ReadOnlyCell) and cell.value is None and cell.data_type == "n"


def _formulas(raw: bytes, blank: dict[str, set[str]]) -> Iterator[str]:
    """Notes on the blank cells, by sheet, that hold a formula: a program wrote it, and no spreadsheet worked it out."""
    if not blank:
        return
    book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True)
    for sheet, cells in blank.items():
        written = (cell for row in book[sheet].iter_rows(max_row=ROWS) for cell in row)
        found = sum(cell.data_type == "f" and cell.coordinate in cells for cell in written)
        if found:
            yield (
                f"{found} formulas of sheet {sheet!r} were left out: the file holds no results of them; "
                "open it in Excel, save it and read it again"
            )
    book.close()


def _mark(block: Paragraph) -> str:
    """What Markdown puts before a paragraph of this style."""
    name = block.style.name if block.style is not None and block.style.name else ""
    if name.startswith("Heading ") and name[8:].isdigit():
        return "#" * min(6, int(name[8:])) + " "
    return "- " if name.startswith("List") else ""


def _joined(parts: list[str]) -> str:
    """Blocks one below the other; the items of a list without a blank line between them."""
    return "".join(_spaced(parts))


def _spaced(parts: list[str]) -> Iterator[str]:
    for before, part in zip(["", *parts], parts, strict=False):
        yield "" if not before else "\n" if before.startswith("- ") and part.startswith("- ") else "\n\n"
        yield part
