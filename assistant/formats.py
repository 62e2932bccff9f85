"""Reads tables, chat exports and tagged text as rows of our own formats. Changes no text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas

from assistant.dataset import DataError, objects
from retrieval.files.budget import Budget, unpacked
from retrieval.files.text import FileError

Row = dict[str, Any]
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def read(path: Path, columns: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of a file, by its ending: csv, tsv, xlsx, jsonl, json (ShareGPT, Alpaca, or rows), conll.

    Args:
        path: the file.
        columns: which of the file's columns are renamed: ours to theirs.

    Raises:
        DataError: the ending is unknown, or the content does not fit it.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: {path.suffix!r} is unknown; expected one of {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    rows = [_renamed(row, columns or {}, path) for row in reader(path)]
    if not rows:
        raise DataError(f"{path}: holds no rows")
    return rows


def _table(path: Path) -> Iterator[Row]:
    try:
        if path.suffix.lower() == ".xlsx":
            Budget().spend(unpacked(path))
            frame = pandas.read_excel(path, dtype=str)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            frame = pandas.read_csv(path, dtype=str, keep_default_na=False, sep=separator)
    except (ValueError, OSError, UnicodeDecodeError, BadZipFile, FileError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
    for record in frame.fillna("").to_dict("records"):
        yield {str(key): value for key, value in record.items()}


def _jsonl(path: Path) -> Iterator[Row]:
    for number, row in objects(path):
        yield _chat(row, f"{path}, line {number}")


def _json(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: expected a list of objects, as ShareGPT and Alpaca exports are")
    for number, row in enumerate(content, start=1):
        yield _chat(row, f"{path}, entry {number}")


def _chat(row: Row, where: str) -> Row:
    """ShareGPT and Alpaca records as ``{"messages": [{"role", "content"}]}``; any other row as it is."""
    if isinstance(row.get("conversations"), list):
        return {"messages": [_message(one, where) for one in row["conversations"]]}
    if "instruction" in row and "output" in row:
        asked = "\n\n".join(str(row[key]) for key in ("instruction", "input") if row.get(key))
        return {"messages": [_said("user", asked), _said("assistant", str(row["output"]))]}
    return row


def _message(one: Any, where: str) -> dict[str, str]:
    role = ROLES.get(str(one.get("from", one.get("role")))) if isinstance(one, dict) else None
    if role is None:
        raise DataError(f"{where}: a message must come from one of {', '.join(ROLES)}, found {one!r:.80}")
    return _said(role, str(one.get("value", one.get("content", ""))))


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _conll(path: Path) -> Iterator[Row]:
    """Sentences of ``token … tag`` lines, BIO or plain tags, as text with character spans."""
    lines = path.read_text(encoding="utf-8").split("\n")
    numbered = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    for filled, group in groupby(numbered, key=lambda pair: bool(pair[1]) and pair[1][0] != "-DOCSTART-"):
        if filled:
            yield _sentence(list(group), path)


def _sentence(lines: Sequence[tuple[int, list[str]]], path: Path) -> Row:
    text, spans = "", list[dict[str, Any]]()
    inside = ""
    for number, fields in lines:
        if len(fields) < 2:
            raise DataError(f"{path}, line {number}: expected a token and a tag, found {' '.join(fields)!r}")
        start = len(text) + bool(text)
        text = f"{text} {fields[0]}".strip()
        position, _, kind = fields[-1].rpartition("-")
        kind = "" if fields[-1] == "O" else kind
        if kind and kind == inside and position != "B":
            spans[-1]["end"] = len(text)
        elif kind:
            spans.append({"start": start, "end": len(text), "type": kind})
        inside = kind
    return {"text": text, "spans": spans}


def _renamed(row: Row, columns: Mapping[str, str], path: Path) -> Row:
    missing = [theirs for theirs in columns.values() if theirs not in row]
    if missing:
        raise DataError(f"{path}: there is no column {missing[0]!r}; there are {', '.join(map(str, row))}")
    ours = {theirs: name for name, theirs in columns.items()}
    return {ours.get(key, key): value for key, value in row.items()}


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _table,
    ".tsv": _table,
    ".xlsx": _table,
    ".jsonl": _jsonl,
    ".json": _json,
    ".conll": _conll,
}
