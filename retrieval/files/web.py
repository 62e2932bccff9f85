"""HTML and e-mail. What a reader of the page would not see is left out, and said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Any

from bs4 import BeautifulSoup, Comment, Tag
from markdownify import MarkdownConverter

from retrieval.files.text import Content, FileError, decoded, iso, paragraphs, plain, table

_FURNITURE = ("script", "style", "noscript", "template", "nav", "aside", "form", "button", "svg", "iframe", "object")
_HIDDEN = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|font-size:0(?![.\d])|font-size:[01](?:\.\d+)?p|opacity:0(?![.\d])|"
    r"(?<![-\w])color:(?:white|#fff(?:fff)?|transparent|rgba?\(255,255,255)|text-indent:-\d{3,}|left:-\d{3,}|clip:rect\(0",
    re.IGNORECASE,
)
_STYLE: dict[str, Any] = {
    "heading_style": "ATX",
    "bullets": "-",
    "strip": ["a", "img", "b", "strong", "em", "i", "code", "pre"],
    "escape_asterisks": False,
    "escape_underscores": False,
    "escape_misc": False,
}
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}  # what is sent under the old names often has later characters
_PAINTED = re.compile(r"background", re.IGNORECASE)


def page(raw: bytes | str) -> Content:
    """A web page: its main part, without navigation and without hidden text."""
    soup = BeautifulSoup(raw, "lxml")
    title = plain(soup.title.get_text()) if soup.title else ""
    date = soup.find("meta", attrs={"property": "article:published_time"}) or soup.find("meta", attrs={"name": "date"})
    for tag in soup(_FURNITURE):
        tag.decompose()
    hidden = _drop_hidden(soup)
    main = soup.find("main") or soup.find("article") or soup.body or soup
    for tag in main.find_all(["header", "footer"]) if main.name == "body" else ():
        tag.decompose()
    first = main.find("h1")
    for grid in main.find_all("table"):
        rows = [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in grid.find_all("tr")]
        grid.replace_with(soup.new_string(f"\n\n{table(rows)}\n\n"))
    heading = plain(first.get_text()) if first else ""
    if first:
        first.decompose()
    text = _Markdown(**_STYLE).convert_soup(main)
    notes = (f"{hidden} hidden elements were left out: a reader of the page does not see them",) if hidden else ()
    return Content(heading or title, text, iso(date.get("content")) if isinstance(date, Tag) else "", notes=notes)


class _Markdown(MarkdownConverter):
    """As it is, but a table that is a list already keeps its lines."""

    def process_text(self, el: object, parent_tags: object = None) -> str:
        """Keep the lines of what ``table`` wrote."""
        text = str(el)
        if text.startswith("\n\n- "):
            return text
        return str(super().process_text(el, parent_tags=parent_tags))  # type: ignore[misc]  # its stubs lack it


def mail(raw: bytes) -> tuple[Content, list[tuple[str, bytes]]]:
    """An e-mail, and its attachments with their names.

    Raises:
        FileError: it has no sender, no subject and no text: it is no e-mail.
    """
    message = message_from_bytes(raw, policy=policy.default)
    if not isinstance(message, EmailMessage) or not (message["From"] or message["Subject"]):
        raise FileError("it is not an e-mail: there is neither a sender nor a subject")
    body = message.get_body(("plain", "html"))
    content = Content("", "") if body is None else _body(body)
    head = [f"{name}: {plain(message[name])}" for name in ("From", "To", "Date") if message[name]]
    return (
        Content(
            plain(message["Subject"]) or "E-mail",
            paragraphs(["\n".join(head), content.text]),
            _day(message),
            notes=content.notes,
        ),
        list(_attachments(message)),
    )


def _body(part: MIMEPart) -> Content:
    """The text by the encoding that the part names; where that is none or wrong, by what the bytes look like."""
    raw, charset = part.get_payload(decode=True), part.get_content_charset("")
    raw = raw if isinstance(raw, bytes) else b""
    is_page = part.get_content_type() == "text/html"
    try:
        text = raw.decode(_WIDER.get(charset, charset))
    except (LookupError, UnicodeDecodeError):
        return page(raw) if is_page else Content("", _letter(decoded(raw)))
    return page(text) if is_page else Content("", _letter(text))


def _letter(text: str) -> str:
    """A letter without the quoted one that it answers."""
    kept = [line for line in text.replace("\r\n", "\n").split("\n") if not line.startswith(">")]
    return re.sub(r"(?<!\n)\n(?![\n\s]*(?:[-*•]|\d+[.)])\s)(?!\n)", " ", "\n".join(kept))


def _day(message: EmailMessage) -> str:
    try:
        return iso(parsedate_to_datetime(str(message["Date"])).isoformat()) if message["Date"] else ""
    except ValueError:
        return ""


def _attachments(message: EmailMessage) -> Iterator[tuple[str, bytes]]:
    """Each under a name of its own: a mail that is attached often has none, or that of its thread."""
    taken = Counter[str]()
    for part in message.iter_attachments():
        name, raw = part.get_filename(), part.get_payload(decode=True)
        inner = part.get_content() if part.get_content_type() == "message/rfc822" else None
        if isinstance(inner, EmailMessage):
            name = (name or plain(inner["Subject"]) or "mail").replace("/", "-").removesuffix(".eml") + ".eml"
            raw = inner.as_bytes()
        if name and isinstance(raw, bytes):
            path = PurePosixPath(name)
            taken[path.name] += 1
            yield path.name if taken[path.name] == 1 else f"{path.stem} {taken[path.name]}{path.suffix}", raw


def _drop_hidden(soup: BeautifulSoup) -> int:
    """Remove what is not shown; returns how many elements held text."""
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    found = [tag for tag in soup.find_all(True) if _is_hidden(tag)]
    held = sum(bool(tag.get_text(strip=True)) for tag in found)
    for tag in found:
        if not tag.decomposed:
            tag.decompose()
    return held


def _is_hidden(tag: Tag) -> bool:
    style = re.sub(r"\s+", "", str(tag.get("style") or ""))
    if tag.name in ("html", "body"):
        return False
    if tag.has_attr("hidden") or tag.get("aria-hidden") == "true" or tag.get("type") == "hidden":
        return True
    found = _HIDDEN.search(style)
    white = found is not None and found[0].lower().startswith("color")
    return found is not None and not (white and _PAINTED.search(style))
