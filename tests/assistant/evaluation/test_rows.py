"""Data of a user: read when it fits, refused with file, line and reason when not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.evaluation.rows import Annotated, DataError, Grounded, Injection, Message, Request, Row, read


def write(folder: Path, *rows: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_rows_are_read_and_added_keys_and_blank_lines_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a", "label": "benign", "attack": "x"}, "", {"text": "b", "label": "injection"})
    assert [(row.text, row.label) for row in read(path, Injection)] == [("a", "benign"), ("b", "injection")]


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (Injection, {"text": "a", "label": "unsafe"}, "label: Input should be 'injection' or 'benign', found 'unsafe'"),
        (Request, {"text": "", "label": "safe"}, "text: String should have at least 1 character, found ''"),
        (Message, {"label": "crisis"}, "text: Field required"),
        (Message, "{", "not valid JSON"),
        (Annotated, {"text": "ab", "spans": [{"start": 1, "end": 3, "type": "X"}]}, "does not lie in a text of 2"),
        (
            Grounded,
            {"question": None, "context": "c", "answer": "ab", "label": "unsupported", "spans": [[2, 1]]},
            r"span [2, 1) does not lie in a text of 2",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path: Path, kind: type[Row], row: object, reason: str) -> None:
    good = {
        Injection: {"text": "a", "label": "benign"},
        Request: {"text": "a", "label": "safe"},
        Message: {"text": "a", "label": "ordinary"},
        Annotated: {"text": "a", "spans": []},
        Grounded: {"question": None, "context": "c", "answer": "a", "label": "supported", "spans": None},
    }[kind]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, good, row), kind)
    assert f"{tmp_path}/data.jsonl, line 2: " in str(caught.value) and reason in str(caught.value)


def test_an_absent_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.jsonl", Injection)
    with pytest.raises(DataError, match="holds no row"):
        read(write(tmp_path), Injection)
