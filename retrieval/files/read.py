"""A path, and what can be read in it: one file, a folder's, an archive's, a mail's with its attachments.

One broken file never stops the others: it comes back named, with its reason.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from retrieval.files import ocr, office, pdf, plain, web
from retrieval.files.budget import BIGGEST, Budget, unpacked
from retrieval.files.text import Content, FileError

NESTED = 2  # archives and mails inside each other
READERS: dict[str, Callable[[bytes], Content]] = {
    ".pdf": pdf.document,
    ".docx": office.word,
    ".pptx": office.slides,
    ".xlsx": office.workbook,
    ".csv": plain.sheet,
    ".tsv": plain.sheet,
    ".html": web.page,
    ".htm": web.page,
    ".md": plain.markdown,
    ".markdown": plain.markdown,
    ".txt": plain.text,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), ocr.picture),
}
CONTAINERS = (".zip", ".eml")
PACKED = (".docx", ".pptx", ".xlsx")  # a zip inside
KINDS = (*READERS, *CONTAINERS)


@dataclass(frozen=True, slots=True)
class Read:
    """A file whose content was read."""

    file: str  # its path; inside an archive "archive.zip/folder/file.pdf"
    content: Content


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, and why."""

    file: str
    reason: str


def files(path: Path) -> list[Path]:
    """The files that a path names: itself, or all in a folder, hidden ones not."""
    if not path.is_dir():
        return [path]
    below = (one for one in path.rglob("*") if one.is_file())
    return sorted(one for one in below if not any(part.startswith(".") for part in one.relative_to(path).parts))


def read(path: Path, name: str | None = None) -> Iterator[Read | Skipped]:
    """What is in a file, or in every file in it. ``name`` is what it is called, if not as its path."""
    shown = name or path.name
    try:
        size = path.stat().st_size
        if size > BIGGEST:
            yield Skipped(shown, f"it has {size:,} bytes, and at most {BIGGEST:,} are read")
        else:
            yield from _read(shown, path.read_bytes(), 0, Budget())
    except OSError as error:
        yield Skipped(shown, f"it cannot be opened: {error.strerror or error}")


def _read(name: str, raw: bytes, depth: int, budget: Budget) -> Iterator[Read | Skipped]:
    kind = PurePosixPath(name).suffix.lower()
    try:
        if not raw:
            yield Skipped(name, "it is empty")
        elif depth > NESTED:
            yield Skipped(name, f"it lies deeper than {NESTED} archives or mails")
        elif kind == ".zip":
            yield from _archive(name, raw, depth, budget)
        elif kind == ".eml":
            content, attached = web.mail(raw)
            yield Read(name, _clean(content))
            budget.spend(sum(len(part) for _, part in attached), len(attached))
            for file, part in attached:
                yield from _read(f"{name}/{PurePosixPath(file).name}", part, depth + 1, budget)
        elif kind in READERS:
            if kind in PACKED:
                budget.spend(unpacked(io.BytesIO(raw)))
            yield Read(name, _clean(READERS[kind](raw)))
        else:
            yield Skipped(name, f"{kind or 'a file without an ending'} is not read; read are {', '.join(KINDS)}")
    except FileError as error:
        yield Skipped(name, str(error))
    except Exception as error:  # noqa: BLE001 - parsers fail on damaged files in any way; the others must go in
        yield Skipped(name, f"it is damaged: {type(error).__name__}: {error}")


def _archive(name: str, raw: bytes, depth: int, budget: Budget) -> Iterator[Read | Skipped]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        inside = [one for one in archive.infolist() if not one.is_dir() and not _is_junk(one.filename)]
        budget.spend(sum(one.file_size for one in inside), len(inside))
        for one in inside:
            if one.flag_bits & 1:
                yield Skipped(f"{name}/{one.filename}", "it needs a password")
            else:
                with archive.open(one) as file:
                    content = file.read(BIGGEST + 1)  # what it says of its size may be a lie
                if len(content) > BIGGEST:
                    raise FileError(f"{one.filename} unpacks to more than {BIGGEST:,} bytes")
                yield from _read(f"{name}/{one.filename}", content, depth + 1, budget)


def _is_junk(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _clean(content: Content) -> Content:
    """Without characters that show nothing."""
    text = plain.visible(content.text)
    unseen = len(content.text) - len(text)
    notes = (*content.notes, f"{unseen} characters that show nothing were left out") if unseen else content.notes
    return replace(content, title=plain.visible(content.title).strip(), text=text, notes=notes)
