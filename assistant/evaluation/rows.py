"""Reads the rows of an evaluation file; a bad one is refused with file, line and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class DataError(Exception):
    """A data file that cannot be used. The message names file, line and reason."""


class Row(BaseModel):
    """One line; keys that a set adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Injection(Row):
    """A text, and whether it tries to change how the assistant works."""

    text: str = Field(min_length=1)
    label: Literal["injection", "benign"]


class Request(Row):
    """A text, and whether it asks for harm."""

    text: str = Field(min_length=1)
    label: Literal["safe", "unsafe"]


class Message(Row):
    """A text, and whether its writer is in danger."""

    text: str = Field(min_length=1)
    label: Literal["crisis", "ordinary"]


class Span(Row):
    """Characters of a text, in code points."""

    start: int = Field(ge=0)
    end: int  # exclusive
    type: str


class Annotated(Row):
    """A text and the personal data in it."""

    text: str
    spans: tuple[Span, ...]

    @model_validator(mode="after")
    def _spans_lie_in_the_text(self) -> Annotated:
        for span in self.spans:
            _check_span(span.start, span.end, self.text)
        return self


class Grounded(Row):
    """An answer, what it was given from, and whether that supports it."""

    question: str | None
    context: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    label: Literal["supported", "unsupported"]
    spans: tuple[tuple[int, int], ...] | None  # unsupported characters of the answer; None where not annotated

    @model_validator(mode="after")
    def _spans_lie_in_the_answer(self) -> Grounded:
        for start, end in self.spans or ():
            _check_span(start, end, self.answer)
        return self


Kind = TypeVar("Kind", bound=Row)


def read(path: Path, kind: type[Kind]) -> list[Kind]:
    """Every line of a JSON Lines file.

    Raises:
        DataError: the file, or a line of it, cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    found = [_row(path, number, line, kind) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise DataError(f"{path}: holds no row; expected one JSON object a line")
    return found


def _row(path: Path, number: int, line: str, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole)"
        raise DataError(f"{path}, line {number}: {key}: {first['msg']}, found {first['input']!r:.120}") from error


def _check_span(start: int, end: int, text: str) -> None:
    if not 0 <= start < end <= len(text):
        raise ValueError(f"span [{start}, {end}) does not lie in a text of {len(text)} characters")
