"""Files of labelled texts: read strictly, and what is wrong is said with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.dataset import DataError, Labelled, read, write


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert write(path, [{"text": "Où est ma carte ?", "label": "card", "more": 1}, {"text": "b", "label": "c"}]) == 2
    assert read(path) == (Labelled("Où est ma carte ?", "card"), Labelled("b", "c"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no rows; expected one JSON object a line"),
        ('{"text": "a", "label": "b"}\n\n{"text": 1}', "line 3: 'text' must be a text that is not empty, found 1"),
        ('{"text": "a", "label": " "}', "line 1: 'label' must be a text that is not empty, found ' '"),
        ("[1]", "line 1: expected a JSON object, found list"),
        ('{"text": ', "line 1: not valid JSON"),
        ('{"text": "a", "label": "z"}', "line 1: label 'z' is unknown here; expected one of b, c"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_line(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=str(path)) as caught:
        read(path, ["b", "c"])
    assert reason in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        read(tmp_path / "bytes.jsonl")
