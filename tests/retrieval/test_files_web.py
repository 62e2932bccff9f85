"""E-mail as programs send it: any encoding, and mails inside mails."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from retrieval.files.read import Read, read
from tests.retrieval.test_files import content

TEXT = "Rückgabe binnen 30 Tagen. 三十天内退货。"


def letter(subject: str, text: str, *attached: EmailMessage) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"] = subject, "Ana <ana@example.org>"
    message.set_content(text)
    for one in attached:
        message.add_attachment(one)
    return message


@pytest.mark.parametrize("kind", ["html", "plain"])
@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("gb18030", "gb18030"),
        ("gb18030", "gb2312"),
        ("utf-8", "utf-8"),
        ("utf-8", "us-ascii"),
        ("utf-8", "x-unknown"),
        ("utf-8", ""),
    ],
)
def test_a_body_is_read_by_the_encoding_that_it_names_or_else_by_its_looks(
    tmp_path: Path, kind: str, encoding: str, named: str
) -> None:
    shown = f"<html><body><p>{TEXT}</p></body></html>" if kind == "html" else TEXT
    head = f"From: Ana <ana@example.org>\nSubject: Fees\nContent-Type: text/{kind}"
    head += f'; charset="{named}"\n' if named else "\n"
    raw = f"{head}Content-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\n".encode() + shown.encode(encoding)
    assert TEXT in content(tmp_path, "a.eml", raw).text


def test_attached_mails_are_read_each_under_its_own_name(tmp_path: Path) -> None:
    deep = letter("Washing", "Washing is free.")
    thread = [letter("Re: fees/fines", "The fee is 3 euros.", deep), letter("Re: fees/fines", "It is 5 euros.")]
    outer = letter("Fleet", "See below.", *thread, letter("", "No subject."))
    (tmp_path / "a.eml").write_bytes(outer.as_bytes())
    found = {one.file: one.content.text for one in read(tmp_path / "a.eml") if isinstance(one, Read)}
    assert {file: text.split("\n\n")[-1].strip() for file, text in found.items()} == {
        "a.eml": "See below.",
        "a.eml/Re: fees-fines.eml": "The fee is 3 euros.",
        "a.eml/Re: fees-fines.eml/Washing.eml": "Washing is free.",
        "a.eml/Re: fees-fines 2.eml": "It is 5 euros.",
        "a.eml/mail.eml": "No subject.",
    }
