"""What every reader returns, and how text and tables become Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from charset_normalizer import from_bytes

from retrieval.embedder import RetrievalError

PAGE_BREAK = "\f"


class FileError(RetrievalError):
    """A file cannot be read; the message is the reason, without its name."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file. ``text`` is Markdown; a form feed in it starts the next page."""

    title: str
    text: str
    date: str = ""  # ISO 8601
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()  # what was left out and why


def decoded(raw: bytes) -> str:
    """Text of bytes in any common encoding.

    Raises:
        FileError: it is no text.
    """
    for encoding in ("utf-8-sig", "utf-16") if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        best = from_bytes(raw).best()
        if best is None:
            raise FileError("it is not text in any known encoding")
        text = str(best)
    if "\0" in text:
        raise FileError("it holds binary data, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def plain(text: object) -> str:
    """One line without marks that Markdown would take for its own."""
    return re.sub(r"^(#+\s|[-*•]\s+)", "", " ".join(str(text or "").replace(PAGE_BREAK, " ").split()))


def table(rows: Iterable[Sequence[object]]) -> str:
    """A table as a list: one line a row, every cell with the name of its column, so that a row stands alone."""
    cells = [[plain(cell) for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if len(cells) < 2 or len(cells[0]) == 1:
        return "\n".join(f"- {'; '.join(filter(None, row))}" for row in cells)
    head, *body = cells
    return "\n".join(
        f"- {'; '.join(_cell(name, value) for name, value in zip(head, row, strict=False) if value)}" for row in body
    )


def _cell(name: str, value: str) -> str:
    return f"{name.rstrip(':')}: {value}" if name else value


def paragraphs(parts: Iterable[str]) -> str:
    """Blocks of Markdown, one below the other."""
    return "\n\n".join(part for part in parts if part.strip())


def iso(date: object) -> str:
    """The day of a date or time, or nothing."""
    found = re.match(r"\d{4}-\d{2}-\d{2}", str(date or ""))
    return found[0] if found else ""
