"""Word, PowerPoint and Excel. Hidden text, slides and sheets are left out, and said."""

from __future__ import annotations

import io
from collections.abc import Iterator
from zipfile import BadZipFile

import docx
import openpyxl
import pptx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph

from retrieval.files.text import PAGE_BREAK, Content, FileError, iso, paragraphs, plain, table

ROWS = 50_000  # of a sheet


def word(raw: bytes) -> Content:
    """A .docx file."""
    try:
        document = docx.Document(io.BytesIO(raw))
    except (BadZipFile, KeyError, ValueError, PackageNotFoundError) as error:
        raise FileError(f"it is not a Word document: {error}") from error
    parts: list[str] = []
    title, hidden = document.core_properties.title or "", 0
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            parts.append(table([[cell.text for cell in row.cells] for row in block.rows]))
            continue
        unseen = sum(bool(run.font.hidden and run.text.strip()) for run in block.runs)
        hidden += unseen
        text = plain("".join(run.text for run in block.runs if not run.font.hidden) if unseen else block.text)
        if text and block.style is not None and block.style.name == "Title":
            title = text
        elif text:
            parts.append(_mark(block) + text)
    notes = (f"{hidden} pieces of hidden text were left out",) if hidden else ()
    changed = document.core_properties.modified or document.core_properties.created
    return Content(title, _joined(parts), iso(changed.isoformat() if changed else ""), notes=notes)


def slides(raw: bytes) -> Content:
    """A .pptx file; every slide is a page."""
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
        for shape in slide.shapes:
            if shape.has_text_frame and (head is None or shape.shape_id != head.shape_id):
                parts += [f"- {plain(one.text)}" for one in shape.text_frame.paragraphs if one.text.strip()]
            elif shape.has_table:
                parts.append(table([[cell.text for cell in row.cells] for row in shape.table.rows]))
        pages.append(_joined(parts))
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
    parts, notes = [], []
    for one in book.worksheets:
        if one.sheet_state != "visible":
            notes.append(f"the hidden sheet {one.title!r} was left out")
            continue
        rows = [row for row in one.iter_rows(values_only=True, max_row=ROWS) if any(cell is not None for cell in row)]
        if (one.max_row or 0) > ROWS:
            notes.append(f"sheet {one.title!r} was read up to row {ROWS:,}")
        if rows:
            parts.append(f"## {plain(one.title)}\n\n{table([[_value(cell) for cell in row] for row in rows])}")
    changed = book.properties.modified
    book.close()
    return Content(book.properties.title or "", paragraphs(parts), iso(changed), notes=tuple(notes))


def _value(cell: object) -> str:
    if cell is None:
        return ""
    return iso(cell) if str(cell).endswith(" 00:00:00") else str(cell)


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
