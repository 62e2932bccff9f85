"""Markdown, plain text and CSV."""

from __future__ import annotations

import csv
import re

import yaml

from retrieval.files.text import Content, FileError, decoded, iso, plain, table

_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TABLE = re.compile(r"^\|.*\|[ \t]*\n\|[-:| \t]+\|[ \t]*\n(?:\|.*\|[ \t]*(?:\n|\Z))*", re.MULTILINE)
_TITLE = re.compile(r"\A\s*#\s+(.+?)\s*#*\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def markdown(raw: bytes) -> Content:
    """A Markdown file; its front matter may hold title, source, date and licence."""
    text = decoded(raw)
    head = _FRONT.match(text)
    front = _front(head[1]) if head else {}
    body = text[head.end() :] if head else text
    shown = _COMMENT.sub("", body)
    notes = ("comments, which a reader does not see, were left out",) if shown != body else ()
    title = _TITLE.match(shown)
    return Content(
        title=front.get("title") or (plain(title[1]) if title else ""),
        text=_TABLE.sub(_rows, shown[title.end() :] if title else shown),
        date=iso(front.get("date")),
        source=front.get("source", ""),
        licence=front.get("licence", ""),
        notes=notes,
    )


def text(raw: bytes) -> Content:
    """Plain text: lines of a paragraph are joined, a form feed starts a page."""
    blocks = re.split(r"\n[ \t]*\n+", decoded(raw).replace("\f", "\n\n\f"))
    return Content("", "\n\n".join(_unwrapped(block) for block in blocks))


def sheet(raw: bytes) -> Content:
    """CSV, TSV, or with semicolons; the first row names the columns."""
    body = decoded(raw)
    try:
        dialect = csv.Sniffer().sniff(body[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column, or too little to tell
    try:
        return Content("", table(csv.reader(body.splitlines(), dialect)))
    except csv.Error as error:
        raise FileError(f"it is not CSV: {error}") from error


def visible(text: str) -> str:
    """Text without characters that show nothing: controls, zero widths, changes of direction, tags."""
    return _CONTROL.sub("", text)


def _front(text: str) -> dict[str, str]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _rows(found: re.Match[str]) -> str:
    lines = [line.strip().strip("|").split("|") for line in found[0].strip().splitlines()]
    return table([lines[0], *lines[2:]]) + "\n"


def _unwrapped(block: str) -> str:
    """One line a paragraph, and one a list item or heading."""
    return re.sub(r"(?<!\n)\n(?!\s*(?:[-*•#]|\d+[.)])\s)", " ", block.strip("\n"))
