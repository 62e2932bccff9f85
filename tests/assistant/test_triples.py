from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.chat import Message
from assistant.lessons import read_triples
from domains.pack import DomainError

ROW: dict[str, Any] = {"prompt": [{"role": "user", "content": "How long?"}], "chosen": "21 days.", "rejected": "Long."}


def test_triples_are_read(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(ROW) + "\n")
    assert read_triples(tmp_path / "pairs.jsonl") == [([Message("user", "How long?")], "21 days.", "Long.")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": ""}, "chosen: String should have at least 1 character"),
        ({"prompt": []}, "prompt: List should have at least 1 item"),
        ({"prompt": [{"role": "root", "content": "x"}]}, "prompt.0.role: Input should be"),
        ({"score": 1}, "score: Extra inputs are not permitted"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW | change) + "\n")
    with pytest.raises(DomainError, match=f"pairs.jsonl:2: {said}"):
        read_triples(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="nowhere.jsonl: cannot be read"):
        read_triples(tmp_path / "nowhere.jsonl")
