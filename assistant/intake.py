"""From a file to what would go in: its title, where it is from, its passages, and what a person should know first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath

from assistant import safety
from retrieval.files.read import KINDS, Read, Skipped, files, read
from retrieval.passage import Document, Passage, passages

__all__ = ["KINDS", "PREFIX", "About", "Draft", "Skipped", "drafts", "redraft"]

PREFIX = "files/"  # of a document's id, so that it never passes for an article of the pack
_BREAK = re.compile(r"\s*\f\s*")
_PAGE = re.compile(r"[ \t]*\n?‹page \d+›\n?")


@dataclass(frozen=True, slots=True)
class About:
    """What a person says about files; what is empty is taken from the file."""

    title: str = ""
    source: str = ""
    date: str = ""  # ISO 8601
    licence: str = ""
    access: str = ""  # the group that may read them; empty: everybody


@dataclass(frozen=True, slots=True)
class Draft:
    """A document that could go in."""

    file: str
    document: Document
    passages: tuple[Passage, ...]
    left_out: tuple[str, ...]  # of the file, and why
    warnings: tuple[str, ...] = ()  # what looks wrong in the passages

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before it goes in."""
        return self.left_out + self.warnings

    @property
    def editable(self) -> str:
        """Its text for a person to edit: Markdown, with a visible mark where a page begins."""
        pages = self.document.text.split("\f")
        return pages[0] + "".join(
            f"\n‹page {number}›\n{text.lstrip()}" for number, text in enumerate(pages[1:], start=2)
        )


def drafts(path: Path, about: About, name: str | None = None) -> Iterator[Draft | Skipped]:
    """What the file, the folder or the archive at ``path`` would become; what cannot be read is named with its reason.

    Args:
        path: where it is.
        about: what holds for all of it.
        name: what it is called, if not as its path: an upload has a temporary one.
    """
    if not path.exists():
        yield Skipped(str(path), "there is no such file or folder")
    for file in files(path) if path.exists() else ():
        called = name or (file.relative_to(path).as_posix() if path.is_dir() else file.name)
        for one in read(file, called):
            yield _draft(one, about) if isinstance(one, Read) else one


def redraft(draft: Draft, about: About, text: str) -> Draft:
    """The draft after a person edited its text and what is said about it."""
    return _cut(draft.file, text.strip("\n "), draft.document, about, draft.left_out)


def _draft(found: Read, about: About) -> Draft | Skipped:
    content = found.content
    stem = PurePosixPath(found.file).stem.replace("_", " ").strip()
    first = re.match(r"\s*#\s+(.+)", content.text)
    title = content.title or (first[1].strip() if first else stem)
    text = re.sub(rf"\A\s*#{{1,6}}\s+{re.escape(title)}\s*\n", "", content.text, flags=re.IGNORECASE).strip("\n ")
    known = Document(identity(found.file), title, text, content.source or found.file, content.date, content.licence)
    draft = _cut(found.file, text, known, about, content.notes)
    return draft if draft.passages else Skipped(found.file, "; ".join(["there is no text in it", *content.notes]))


def identity(file: str) -> str:
    """The id of the document that comes from a file: the same name again is a new version of it."""
    return PREFIX + re.sub(r"[^\w./-]+", "-", file.strip().lower()).strip("-./")


def _cut(file: str, text: str, known: Document, about: About, notes: tuple[str, ...]) -> Draft:
    document = replace(
        known,
        text=_paged(_PAGE.sub("\f", text)),
        title=about.title or known.title,
        source=about.source or known.source,
        date=_day(about.date) or known.date or date.today().isoformat(),
        licence=about.licence or known.licence,
        access=about.access,
    )
    corpus = tuple(passages(document))
    planted = [one.heading for one in corpus if safety.is_order(one.text)]
    warned = [f"“{heading}” gives orders to an assistant; it will not be answered from" for heading in planted]
    return Draft(file, document, corpus, notes, tuple(warned))


def _paged(text: str) -> str:
    """Page breaks inside a paragraph, or between two."""
    return _BREAK.sub(lambda gap: " \f" if text[gap.end() : gap.end() + 1].islower() else "\n\f\n", text)


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat() if text.strip() else ""
    except ValueError:
        return ""
