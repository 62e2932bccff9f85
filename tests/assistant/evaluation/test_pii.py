"""Spans of personal data count when half of them is found, by any kind; typed, only by the right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.evaluation.pii import Tally, pii
from assistant.evaluation.rows import Span
from assistant.pii import Personal

CARD = Span(start=10, end=20, type="CREDIT_CARD")


@pytest.mark.parametrize(
    ("found", "recall", "precision", "typed"),
    [
        ((10, 20, "card"), 1.0, 1.0, 1.0),
        ((10, 20, "phone"), 1.0, 1.0, 0.0),
        ((10, 15, "card"), 1.0, 1.0, 1.0),
        ((10, 14, "card"), 0.0, 1.0, 0.0),  # less than half of it is covered, yet what was found is right
        ((15, 40, "card"), 1.0, 0.0, 0.0),
        ((0, 9, "card"), 0.0, 0.0, 0.0),
    ],
)
def test_half_a_span_counts(found: tuple[int, int, str], recall: float, precision: float, typed: float) -> None:
    loose, strict = Tally(), Tally()
    loose.add([Personal(*found)], [CARD], typed=False)
    strict.add([Personal(*found)], [CARD], typed=True)
    assert (loose.recall, loose.precision, strict.f1) == (recall, precision, typed)


def test_a_file_is_measured(tmp_path: Path) -> None:
    rows = [
        {"text": "Card 4111 1111 1111 1111 please", "spans": [{"start": 5, "end": 24, "type": "CREDIT_CARD"}]},
        {"text": "How long is the warranty?", "spans": []},
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = pii(tmp_path / "d.jsonl")
    assert (result["task"], result["n"]) == ("pii", 2)
    assert result["metrics"]["f1"] == result["metrics"]["typed_f1"] == 1.0
