"""Tables, chat exports and tagged text, as people have them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas
import pytest

from assistant.dataset import DataError
from assistant.formats import read
from retrieval.files.budget import BIGGEST

SHAREGPT = [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}]
ALPACA = [{"instruction": "Add", "input": "1 and 2", "output": "3"}]
CONLL = "-DOCSTART- X O\n\nAda NNP B-PER\nLovelace NNP I-PER\nmet VB O\nBob NNP B-PER\nEve NNP B-PER\n\nRome NNP LOC\n"


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", 'text,label\n"a, b",x\nNA,y\n', [{"text": "a, b", "label": "x"}, {"text": "NA", "label": "y"}]),
        ("a.tsv", "text\tlabel\na\tx\n", [{"text": "a", "label": "x"}]),
        ("a.jsonl", '{"text": "a", "n": 1}\n\n{"text": "b"}', [{"text": "a", "n": 1}, {"text": "b"}]),
        ("a.json", json.dumps(SHAREGPT), [{"messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}]),
        ("a.jsonl", json.dumps(ALPACA[0]), [{"messages": [
            {"role": "user", "content": "Add\n\n1 and 2"}, {"role": "assistant", "content": "3"}]}]),
    ],
)  # fmt: skip
def test_a_file_is_read_by_its_ending(tmp_path: Path, name: str, content: str, rows: list[dict[str, object]]) -> None:
    (tmp_path / name).write_text(content)
    assert read(tmp_path / name) == rows


def test_tags_become_spans_of_characters(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    first, second = read(tmp_path / "a.conll")
    assert first["text"] == "Ada Lovelace met Bob Eve"
    found = [(first["text"][span["start"] : span["end"]], span["type"]) for span in first["spans"]]
    assert found == [("Ada Lovelace", "PER"), ("Bob", "PER"), ("Eve", "PER")]
    assert second == {"text": "Rome", "spans": [{"start": 0, "end": 4, "type": "LOC"}]}


def test_a_spreadsheet_is_read_and_its_columns_are_renamed(tmp_path: Path) -> None:
    pandas.DataFrame({"Utterance": ["where is it"], "Topic": ["order"]}).to_excel(tmp_path / "a.xlsx", index=False)
    assert read(tmp_path / "a.xlsx", {"text": "Utterance", "label": "Topic"}) == [
        {"text": "where is it", "label": "order"}
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.docx", "", "'.docx' is unknown; expected one of .csv, .tsv"),
        ("a.csv", "text\n", "holds no rows"),
        ("a.csv", "", "cannot be read as a table"),
        ("a.json", "{}", "expected a list of objects"),
        ("a.jsonl", '{"conversations": [{"from": "robot"}]}', "line 1: a message must come from one of human"),
        ("a.conll", "alone\n", "line 1: expected a token and a tag, found 'alone'"),
        ("a.csv", "words\nhi\n", "there is no column 'body'; there are words"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name, {"text": "body"} if "words" in content else None)
    assert reason in str(caught.value) and name in str(caught.value)


def test_a_spreadsheet_that_unpacks_to_too_much_or_is_damaged_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(BIGGEST + 1))
    with pytest.raises(DataError, match="it unpacks to 104,857,601 bytes; at most 104,857,600 are read$"):
        read(tmp_path / "a.xlsx")
    (tmp_path / "b.xlsx").write_bytes((tmp_path / "a.xlsx").read_bytes().replace(b"PK\x01\x02", b"PK\x09\x09"))
    with pytest.raises(DataError, match="b.xlsx: cannot be read as a table"):
        read(tmp_path / "b.xlsx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone.csv: no such file"):
        read(tmp_path / "gone.csv")
