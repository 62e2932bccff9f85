"""What Word, PowerPoint and Excel show is read as they show it: changes, controls, groups, notes, shares."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement
from docx.table import _Cell
from docx.text.paragraph import Paragraph
from pptx.util import Inches

from tests.retrieval.test_files import BOOK, FEE_LINES, FEES, ORDER, content, saved


def wrapped(element: BaseOxmlElement, *tags: str) -> BaseOxmlElement:
    """Put an element into others, the outermost first; returns that one."""
    outer = inner = OxmlElement(tags[0])
    element.addprevious(outer)
    for tag in tags[1:]:
        inner.append(OxmlElement(tag))
        inner = inner[-1]
    inner.append(element)
    return outer


def deleted(paragraph: Paragraph, text: str) -> None:
    """A deletion that Word still tracks."""
    run = paragraph.add_run(text)._r
    for one in run.xpath("w:t"):
        one.tag = qn("w:delText")
    wrapped(run, "w:del")


def test_tracked_insertions_are_read_and_deletions_are_not(tmp_path: Path) -> None:
    document = docx.Document()
    paragraph = document.add_paragraph("The fee is ")
    deleted(paragraph, "3 euros")
    wrapped(paragraph.add_run("5 euros")._r, "w:ins")
    paragraph.add_run(" a day.")
    deleted(paragraph, " It is paid in cash.")
    assert content(tmp_path, "a.docx", saved(document.save)).text == "The fee is 5 euros a day."


def test_content_controls_are_read_in_their_place_and_a_table_of_contents_is_not(tmp_path: Path) -> None:
    document = docx.Document()
    contents = wrapped(document.add_paragraph("Booking 1")._p, "w:sdt", "w:sdtContent")
    kind = OxmlElement("w:docPartGallery")
    kind.set(qn("w:val"), "Table of Contents")
    contents.insert(0, OxmlElement("w:sdtPr"))
    contents[0].append(OxmlElement("w:docPartObj"))
    contents[0][0].append(kind)
    document.add_heading("Booking", 1)
    paragraph = document.add_paragraph("Vehicles are booked ")
    wrapped(paragraph.add_run("in the calendar.")._r, "w:sdt", "w:sdtContent")
    wrapped(paragraph._p, "w:sdt", "w:sdtContent")  # one in the other
    table = document.add_table(3, 2)
    for row, values in zip(table.rows, FEES, strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    wrapped(table.rows[2]._tr, "w:sdt", "w:sdtContent")
    wrapped(table._tbl, "w:sdt", "w:sdtContent")
    assert content(tmp_path, "a.docx", saved(document.save)).text == f"# Booking\n\n{BOOK}\n\n{FEE_LINES}"


def test_hidden_text_is_left_out_of_tables_and_beside_links_as_well(tmp_path: Path) -> None:
    document = docx.Document()
    paragraph = document.add_paragraph()
    wrapped(paragraph.add_run("Vehicles are booked")._r, "w:hyperlink")
    paragraph.add_run(ORDER).font.hidden = True
    paragraph.add_run(" in the calendar.").font.hidden = False
    cell = document.add_table(1, 1).cell(0, 0).paragraphs[0]
    cell.add_run("Washing is free.")
    cell.add_run(ORDER).font.hidden = True
    found = content(tmp_path, "a.docx", saved(document.save))
    assert found.text == f"{BOOK}\n\n- Washing is free."
    assert found.notes == ("2 pieces of hidden text were left out",)


@pytest.mark.parametrize(
    ("first", "last", "lines"),
    [
        ((0, 0), (0, 2), "- A: d; e; f\n- A: g; h; i"),
        ((1, 1), (1, 2), "- A: d; B: e\n- A: g; B: h; C: i"),
        ((0, 0), (1, 0), "- B: e; C: f\n- A: g; B: h; C: i"),
        ((1, 0), (2, 0), "- A: d; B: e; C: f\n- A: d; B: h; C: i"),
    ],
    ids=["head across", "cells across", "head down", "cells down: for each row"],
)
def test_a_merged_cell_is_read_once_a_row(
    tmp_path: Path, first: tuple[int, int], last: tuple[int, int], lines: str
) -> None:
    document = docx.Document()
    table = document.add_table(3, 3)
    cells: list[list[_Cell]] = [list(row.cells) for row in table.rows]
    cells[first[0]][first[1]].merge(cells[last[0]][last[1]])
    for row, letters in zip(cells, ("ABC", "def", "ghi"), strict=True):
        for cell, letter in zip(row, letters, strict=True):
            cell.text = letter
    cells[first[0]][first[1]].text = "ABC"[first[1]] if first[0] == 0 else "def"[first[1]]
    assert content(tmp_path, "a.docx", saved(document.save)).text == lines


def test_groups_and_speaker_notes_of_a_slide_are_read(tmp_path: Path) -> None:
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[5])
    slide.shapes.title.text = "Booking"
    outer = slide.shapes.add_group_shape()
    inner = outer.shapes.add_group_shape()
    for group, text in ((outer, "Fuel is paid by card."), (inner, "Washing is free.")):
        group.shapes.add_textbox(Inches(1), Inches(1), Inches(2), Inches(1)).text_frame.text = text
    slide.notes_slide.notes_text_frame.text = BOOK
    secret = slides.slides.add_slide(slides.slide_layouts[5])
    secret.notes_slide.notes_text_frame.text = ORDER
    secret._element.set("show", "0")
    found = content(tmp_path, "a.pptx", saved(slides.save))
    assert sorted(found.text.split("\n\n")[1].split("\n")) == ["- Fuel is paid by card.", "- Washing is free."]
    assert found.text.startswith("## Booking\n\n- ") and f"\n\n{BOOK}\n\n\f" in found.text
    assert ORDER not in found.text


@pytest.mark.parametrize(
    ("value", "shape", "read"),
    [
        (0.0499, "0.00%", "4.99%"),
        (0.0499, "0%", "5%"),
        (-0.5, "#,##0.0 %;[Red]-0.0 %", "-50.0%"),
        (4.99, '0.00"%"', "4.99"),
        (0.0499, "0.00", "0.0499"),
        ("none", "0.00%", "none"),
        (datetime(2026, 3, 2), "dd/mm/yy", "2026-03-02"),
        (datetime(2026, 3, 2, 10, 30), "dd/mm/yy hh:mm", "2026-03-02 10:30:00"),
    ],
)
def test_a_cell_is_read_as_the_figure_that_it_shows(
    tmp_path: Path, value: float | str | datetime, shape: str, read: str
) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Rate"])
    book.active["A2"] = value
    book.active["A2"].number_format = shape
    assert content(tmp_path, "a.xlsx", saved(book.save)).text == f"## Sheet\n\n- Rate\n- {read}"


def test_formulas_without_a_result_are_counted(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["Fee", "Tax", "Sum"], [3, "=A2*0.19", "=A2+B2"], [None, None, None]):
        book.active.append(row)
    book.active["C3"].number_format = "0.00%"  # in the file, and empty
    found = content(tmp_path, "a.xlsx", saved(book.save))
    note = "2 formulas of sheet 'Sheet' were left out: the file holds no results of them; open it in Excel, save it and read it again"
    assert found.text == "## Sheet\n\n- Fee: 3" and found.notes == (note,)
