"""Texts with labels in a file of JSON lines: read strictly, written the same way. Changes nothing in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DataError(Exception):
    """A file that cannot be used. The message names the file, the line and the reason."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text and what it was labelled."""

    text: str
    label: str


def read(path: Path, labels: Iterable[str] | None = None) -> tuple[Labelled, ...]:
    """The rows of a file in the format ``{"text": …, "label": …}``; further keys are ignored.

    Args:
        path: JSON lines in UTF-8.
        labels: what a label may be; None allows anything.

    Raises:
        DataError: the file or a line of it does not fit, or there is no line.
    """
    allowed = None if labels is None else set(labels)
    rows = []
    for number, row in objects(path):
        text, label = (_string(row, key, path, number) for key in ("text", "label"))
        if allowed is not None and label not in allowed:
            known = ", ".join(sorted(allowed)[:12])
            raise DataError(f"{path}, line {number}: label {label!r} is unknown here; expected one of {known}")
        rows.append(Labelled(text, label))
    if not rows:
        raise DataError(f"{path}: no rows; expected one JSON object a line with 'text' and 'label'")
    return tuple(rows)


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with the numbers of their lines, from 1; empty lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
        yield number, row


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, and say how many."""
    lines = [json.dumps(dict(row), ensure_ascii=False) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _string(row: Mapping[str, Any], key: str, path: Path, number: int) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}, line {number}: {key!r} must be a text that is not empty, found {value!r:.60}")
    return value
