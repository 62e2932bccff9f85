"""Scanned pages and pictures become text with headings and tables; without the extra they are named, and no more."""

from __future__ import annotations

import io
import socket
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFont

from retrieval.files import ocr
from retrieval.files.layout import Line
from retrieval.files.read import read
from tests.retrieval.test_files import PDF, content, line, pdf, reason

BOOK = "Vehicles are booked in the calendar at least two days before they are needed."
FEES = [
    "- Vehicle: Car; Fee per day: 3 euros; Deposit: none",
    "- Vehicle: Van; Fee per day: 5 euros; Deposit: 50 euros",
]
FORM = "- Name: Ana Marin"
WRITTEN = [
    (20, 88, "Fleet handbook"), (140, 46, "Booking"), (220, 30, "Vehicles are booked in the calendar at least two"),
    (264, 30, "days before they are needed."), (350, 46, "Fees"), (420, 30, "Vehicle|Fee per day|Deposit"),
    (470, 30, "Car|3 euros|none"), (520, 30, "Van|5 euros|50 euros"), (620, 46, "Keys"), (690, 30, "Name:|Ana Marin"),
    (740, 30, "Room:|B 214"), (790, 30, "Phone:|extension 77"),
]  # fmt: skip


def page(angle: float = 0.0) -> Image.Image:
    """A page as a scanner sees it: top, size and cells of each line."""
    made = Image.new("L", (1100, 900), "white")
    pen = ImageDraw.Draw(made)
    for top, size, text in WRITTEN:
        for place, cell in enumerate(text.split("|")):
            pen.text((60 + 330 * place, top), cell, font=ImageFont.load_default(size=size), fill=25)
    return made.rotate(angle, fillcolor="white", resample=Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, *more: Image.Image) -> bytes:
    file = io.BytesIO()
    pages = {"save_all": True, "append_images": more} if more else {}
    image.save(file, kind, **pages)
    return file.getvalue()


def drawn(image: Image.Image, *, high: int = 800) -> str:
    """A content stream that draws a picture across a page, from its lower edge up."""
    data = zlib.compress(image.tobytes()).hex()
    size = f"/W {image.width} /H {image.height} /CS /G /BPC 8"
    return f"q 600 0 0 {high} 0 0 cm BI {size} /F [/AHx /Fl] ID {data}> EI Q\n"


def scanned() -> str:
    """A page that a scanner put into a PDF, with room for a stamp at its top."""
    sheet = Image.new("L", (1100, 1467), "white")
    sheet.paste(page(), (0, 100))
    return drawn(sheet)


def joined(*parts: bytes) -> bytes:
    """One PDF of several."""
    file = io.BytesIO()
    with pypdfium2.PdfDocument.new() as made:
        for part in parts:
            with pypdfium2.PdfDocument(part) as one:
                made.import_pages(one)
        made.save(file)
    return file.getvalue()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)


@pytest.fixture
def loaded_anew() -> Iterator[None]:
    ocr._engine.cache_clear()
    yield
    ocr._engine.cache_clear()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("scan.pdf", saved(page(), "PDF")),
        ("crooked.pdf", saved(page(1.5), "PDF")),
        ("page.png", saved(page(), "PNG")),
        ("page.jpg", saved(page(-1.0), "JPEG")),
    ],
)
def test_a_picture_gives_its_headings_paragraphs_and_tables_in_order(tmp_path: Path, name: str, raw: bytes) -> None:
    found = content(tmp_path, name, raw)
    parts = ["# Fleet handbook\n", "## Booking\n", f"\n{BOOK}\n", "## Fees\n", *FEES, "## Keys\n", FORM]
    places = [found.text.index(part) for part in parts]
    assert places == sorted(places)
    assert found.notes[0].endswith("was read from a picture")


def test_columns_of_a_scan_are_read_one_after_the_other(tmp_path: Path) -> None:
    made = Image.new("L", (1300, 520), "white")
    pen = ImageDraw.Draw(made)
    sides = [[f"{side} column, line {number} of text" for number in "abcdefgh"] for side in ("Left", "Right")]
    for place, side in enumerate(sides):
        for at, text in enumerate(side):
            pen.text((60 + 640 * place, 40 + 50 * at), text, font=ImageFont.load_default(size=30), fill=25)
    assert content(tmp_path, "a.png", saved(made, "PNG")).text.strip() == " ".join(sides[0] + sides[1])


def test_a_scan_between_pages_of_text_keeps_its_place_and_is_named(tmp_path: Path) -> None:
    raw = joined(pdf(PDF), saved(page(), "PDF"), pdf(line("The last page.", 100)))
    found = content(tmp_path, "mixed.pdf", raw)
    first, second, third = found.text.split("\f")
    assert "# Fleet handbook" in first and third.strip() == "The last page."
    assert f"\n{BOOK}\n" in second and f"# {BOOK}" not in second  # its letters are no larger than the text around it
    assert found.notes == ("page 2 was read from a picture",)


@pytest.mark.parametrize(
    ("stamp", "first"),
    [(line("Page 1 of 9", 20), "Page 1 of 9\n"), (line("Box 12", 20, before="3 Tr"), "Box 12\n")],
    ids=["seen", "of another reader"],
)
def test_a_scan_with_a_stamp_is_read_and_the_stamp_stays_once(tmp_path: Path, stamp: str, first: str) -> None:
    found = content(tmp_path, "stamped.pdf", pdf(scanned() + stamp))
    assert all(part in found.text for part in (f"\n{BOOK}\n", *FEES, FORM))
    assert found.text.strip().startswith(first) and found.text.count(first.strip()) == 1
    assert found.notes[0] == "page 1 was read from a picture"


def test_without_the_extra_a_scan_with_a_stamp_is_named(tmp_path: Path, without: None) -> None:
    found = content(tmp_path, "stamped.pdf", pdf(PDF, scanned() + line("Page 2 of 9", 20)))
    assert "Page 2 of 9" in found.text
    assert found.notes == (
        "pictures with few words or none: page 2; text in pictures is read after: pip install 'domain-assistant[ocr]'",
    )


@pytest.mark.parametrize(
    ("high", "text"),
    [
        (450, line("A map", 20)),
        (800, "".join(line("Vehicles are booked in the calendar.", 20 * row) for row in range(1, 5))),
        (800, line("", 20, font="F3").replace("()", f"<{'您可以在三十天内退货，运费由买家承担。'.encode('utf-16-be').hex() * 2}>")),
    ],
    ids=["a small picture", "many words", "many words without spaces"],
)  # fmt: skip
def test_a_page_with_a_picture_and_text_of_its_own_is_no_scan(
    tmp_path: Path, high: int, text: str, without: None
) -> None:
    assert content(tmp_path, "a.pdf", pdf(drawn(Image.new("L", (3, 4), 200), high=high) + text)).notes == ()


def test_every_page_of_a_tiff_is_read(tmp_path: Path) -> None:
    small = [page().crop((0, 200, 1100, 310)), page().crop((0, 680, 1100, 830))]
    text = content(tmp_path, "fax.tiff", saved(small[0], "TIFF", small[1])).text
    assert [part.strip().split("\n")[0] for part in text.split("\f")] == [BOOK, FORM]


def test_letters_on_a_page_without_pictures_are_read_where_they_are_drawn_as_outlines(tmp_path: Path) -> None:
    found = reason(tmp_path, "drawing.pdf", pdf("100 100 m 200 300 300 300 400 100 c S"))
    assert found == "there is no text in it; nothing was read in the pictures of page 1"


def test_without_the_extra_a_scanned_page_is_named_and_the_rest_goes_in(tmp_path: Path, without: None) -> None:
    found = content(tmp_path, "mixed.pdf", joined(pdf(PDF), saved(page(), "PDF")))
    assert "Vehicles are booked in the calendar." in found.text and "Deposit" not in found.text
    assert found.notes == (
        "pictures with few words or none: page 2; text in pictures is read after: pip install 'domain-assistant[ocr]'",
    )


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("a.png", saved(page(), "PNG"), "it is a picture, and text in pictures is read after: pip install 'domain-assistant[ocr]'"),
        ("a.pdf", saved(page(), "PDF"), "there is no text in it; pictures with few words or none: page 1; text in pictures is read after: pip install 'domain-assistant[ocr]'"),
    ],
)  # fmt: skip
def test_without_the_extra_a_picture_says_what_to_install(
    tmp_path: Path, name: str, raw: bytes, why: str, without: None
) -> None:
    assert reason(tmp_path, name, raw) == why


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("a.png", b"\x89PNG broken", "it is no picture that can be read"),
        ("a.jpg", saved(page(), "JPEG")[:5000], "it is no picture that can be read (image file is truncated"),
        ("a.png", saved(Image.new("L", (300, 200), "white"), "PNG"), "there is no text in it"),
        ("a.png", saved(Image.new("1", (10_000, 9_000)), "PNG"), "page 1 has 10,000 x 9,000 pixels; at most 500 pages"),
    ],
    ids=["broken", "cut off", "blank", "too big"],
)  # fmt: skip
def test_a_picture_that_cannot_be_read_says_why(tmp_path: Path, name: str, raw: bytes, why: str) -> None:
    assert reason(tmp_path, name, raw).startswith(why)


def test_text_on_a_see_through_ground_is_read_as_it_is_shown_on_white(tmp_path: Path) -> None:
    seen = page().crop((0, 200, 1100, 310))
    clear = Image.merge("LA", (Image.new("L", seen.size, 0), seen.point(lambda grey: 255 - grey)))
    assert content(tmp_path, "a.png", saved(clear, "PNG")).text.strip() == BOOK


def test_a_changed_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> None:
    name, _ = ocr.MODELS["Rec"]
    monkeypatch.setitem(ocr.MODELS, "Rec", (name, "0" * 64))
    why = reason(tmp_path, "a.png", saved(page(), "PNG"))
    assert f"{name}: sha256 is 6f327246b50388f3, expected 0000000000000000; install again" in why


def test_reading_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (tmp_path / "a.png").write_bytes(saved(page().crop((0, 200, 1100, 310)), "PNG"))
    assert [type(one).__name__ for one in read(tmp_path / "a.png")] == ["Read"]


def test_lines_that_the_model_doubts_are_shown() -> None:
    doubted = tuple(f"l1ne {number}" for number in range(4))
    scan = ocr.Scan([Line("line", 1.0, False, 0.0, 1.0)], doubted)
    assert ocr.note("page 3", {3: scan}) == (
        "page 3 was read from a picture; 4 lines are doubtful: “l1ne 0”, “l1ne 1”, “l1ne 2” …"
    )
