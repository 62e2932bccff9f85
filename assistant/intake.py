"""From a file to what would go in: its title, where it is from, its passages, and what a person should know first."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath

from assistant import safety
from retrieval.files.read import KINDS, Read, Skipped, files, read
from retrieval.library import Entry
from retrieval.passage import Document, Passage, passages

__all__ = ["KINDS", "PREFIX", "About", "Draft", "IntakeError", "Skipped", "drafts", "redraft"]

PREFIX = "files/"  # of a document's id, so that it never passes for an article of the pack
KEPT = ("title", "source", "licence")  # what a person said holds for the next version, too
_BREAK = re.compile(r"\s*\f\s*")
_PAGE = re.compile(r"[ \t]*\n?‹page \d+›\n?")
_LOST = re.compile(r"[^\w\s./-]")


class IntakeError(Exception):
    """What a person says about a file cannot be taken."""


@dataclass(frozen=True, slots=True)
class About:
    """What a person says about files; what is empty is as in the version that is stored, or as the file has it.

    Raises:
        IntakeError: the date is none.
    """

    title: str = ""
    source: str = ""
    date: str = ""  # ISO 8601
    licence: str = ""
    access: str | None = None  # the group that may read them; empty: everybody; None: who may read what is stored

    def __post_init__(self) -> None:
        """Refuse a date that is none."""
        _day(self.date)


@dataclass(frozen=True, slots=True)
class Draft:
    """A document that could go in."""

    file: str
    found: Document  # as the file has it, with the text as a person edited it
    about: About
    document: Document  # as it goes in
    passages: tuple[Passage, ...]
    left_out: tuple[str, ...]  # of the file, and why
    warnings: tuple[str, ...] = ()  # what looks wrong in the passages, and in who may read them
    replaces: Entry | None = None  # the version that is stored

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before it goes in."""
        return (*self.left_out, *self.warnings, *filter(None, [self.replacing]))

    @property
    def replacing(self) -> str:
        """Which version it replaces, and who may read it now and then; empty when it is new."""
        if self.replaces is None:
            return ""
        now, before = (one or "everybody" for one in (self.document.access, self.replaces.access))
        then = f"; that one is for {before}" if before != now else ""
        return f"replaces the version of {self.replaces.changed[:10]}, for {now}{then}"

    @property
    def said(self) -> frozenset[str]:
        """Which of title, source and licence a person set, for this version or an earlier one."""
        return frozenset(name for name in KEPT if _said(self.about, self.replaces, name))

    @property
    def editable(self) -> str:
        """Its text for a person to edit: Markdown, with a visible mark where a page begins."""
        pages = self.document.text.split("\f")
        return pages[0] + "".join(
            f"\n‹page {number}›\n{text.lstrip()}" for number, text in enumerate(pages[1:], start=2)
        )


def drafts(
    path: Path, about: About, name: str | None = None, taken: dict[str, str] | None = None
) -> Iterator[Draft | Skipped]:
    """What the file, the folder or the archive at ``path`` would become; what cannot be read is named with its reason.

    Args:
        path: where it is.
        about: what holds for all of it.
        name: what it is called, if not as its path: an upload has a temporary one.
        taken: ids of other files that go in at the same time, and where each is from; those found are added.
    """
    taken = {} if taken is None else taken
    root = path if path.is_dir() else path.parent
    if not path.exists():
        yield Skipped(str(path), "there is no such file or folder")
    for file in files(path) if path.exists() else ():
        day = "" if name else date.fromtimestamp(file.stat().st_mtime).isoformat()  # an upload's is that of its copy
        for one in read(file, name or file.relative_to(root).as_posix()):
            found = _draft(one, about, day) if isinstance(one, Read) else one
            if isinstance(found, Draft) and (first := taken.get(found.document.id)):
                found = Skipped(found.file, f"{first} has its name; rename one, or add the folder that holds both")
            elif isinstance(found, Draft):
                taken[found.document.id] = found.file if name else str(root / found.file)
            yield found


def redraft(draft: Draft, about: About, text: str) -> Draft:
    """The draft after a person edited its text and what is said about it; what is as it was, nobody said."""
    shown = asdict(draft.document)
    said = {name: value for name, value in asdict(about).items() if value is not None and value != shown[name]}
    found = replace(draft.found, text=_edited(text.strip("\n ")))
    return _cut(replace(draft, found=found, about=replace(draft.about, **said)))


def fitted(draft: Draft, stored: Entry | None, groups: Collection[str] | None = None) -> Draft:
    """The draft as the next version of what is stored: it keeps who may read it, and what else a person said of that.

    Args:
        draft: what would go in.
        stored: the document with its id, if there is one.
        groups: those that somebody is in, to warn of another; None: nobody looked.
    """
    fit = _cut(replace(draft, replaces=stored)) if stored != draft.replaces else draft
    access = fit.document.access
    lonely = f"nobody is in group {access} yet"
    if groups is None or not access or access in groups or lonely in fit.warnings:
        return fit
    return replace(fit, warnings=(*fit.warnings, lonely))


def identity(file: str) -> str:
    """The id of the document that comes from a file: the same name again is a new version of it.

    A name with characters that an id has not ends in eight digits of its SHA-256.
    """
    name = unicodedata.normalize("NFC", file).strip().lower()
    lost = hashlib.sha256(name.encode()).hexdigest()[:8] if _LOST.search(name) else ""
    return "-".join(filter(None, [slug(name), lost]))


def slug(file: str) -> str:
    """The id without those digits, under which older versions are stored; C++.md and C#.md share it."""
    return PREFIX + re.sub(r"[^\w./-]+", "-", file.strip().lower()).strip("-./")


def _draft(read: Read, about: About, day: str) -> Draft | Skipped:
    content = read.content
    stem = PurePosixPath(read.file).stem.replace("_", " ").strip()
    first = re.match(r"\s*#\s+(.+)", content.text)
    title = content.title or (first[1].strip() if first else stem)
    text = re.sub(rf"\A\s*#{{1,6}}\s+{re.escape(title)}\s*\n", "", content.text, flags=re.IGNORECASE).strip("\n ")
    known = Document(identity(read.file), title, _edited(text), content.source, content.date or day, content.licence)
    draft = _cut(Draft(read.file, known, about, known, (), content.notes))
    return draft if draft.passages else Skipped(read.file, "; ".join(["there is no text in it", *content.notes]))


def _cut(draft: Draft) -> Draft:
    """The draft with its document made anew of what is said, what is stored and what the file has, in this order."""
    found, about, stored = draft.found, draft.about, draft.replaces
    document = replace(
        found,
        id=stored.id if stored else found.id,
        title=_said(about, stored, "title") or found.title,
        source=_said(about, stored, "source") or found.source or (stored.source if stored else draft.file),
        date=_day(about.date) or found.date,
        licence=_said(about, stored, "licence") or found.licence or (stored.licence if stored else ""),
        access=about.access if about.access is not None else stored.access if stored else "",
    )
    corpus = tuple(passages(document))
    planted = [one.heading for one in corpus if safety.is_order(one.text)]
    warned = [f"“{heading}” gives orders to an assistant; it will not be answered from" for heading in planted]
    return replace(draft, document=document, passages=corpus, warnings=tuple(warned))


def _said(about: About, stored: Entry | None, name: str) -> str:
    """What a person says of a title, source or licence, now or of the stored version; empty: nothing."""
    now: str = getattr(about, name)
    return now or (getattr(stored, name) if stored and name in stored.said else "")


def _edited(text: str) -> str:
    """Text as a person may have edited it, with its page breaks, inside a paragraph or between two."""
    return _BREAK.sub(
        lambda gap: " \f" if gap.string[gap.end() : gap.end() + 1].islower() else "\n\f\n", _PAGE.sub("\f", text)
    )


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat() if text.strip() else ""
    except ValueError as error:
        raise IntakeError(f"{text!r} is no date; write YYYY-MM-DD") from error
