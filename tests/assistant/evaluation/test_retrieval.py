"""The retrieval evaluation: its figures on rankings worked out by hand, and what it says of bad data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from assistant.evaluation.retrieval import DataError, load, measure, mrr, ndcg, recall
from tests.retrieval.test_index import BagOfWords

DOCUMENTS = {
    "d1": "Bicycles are parked behind the greenhouse.",
    "d2": "Soap is sold at the desk.",
    "d3": "Tea is free.",
}
QUERIES = {"q1": "Where is soap sold?", "q2": "parked bicycles", "q3": "unjudged"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    for name, rows in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in rows.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td3\t0\nq2\td1\t1\n")
    return tmp_path


def test_the_figures_are_those_worked_out_by_hand() -> None:
    ranked, judged = ["a", "b", "c", "d"], {"b": 2, "d": 1, "x": 1}
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranked, judged) == pytest.approx((2 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert (recall(ranked, judged, 2), recall(ranked, judged, 4)) == pytest.approx((1 / 3, 2 / 3))
    assert (mrr(ranked, judged), mrr(["a"], judged)) == (0.5, 0.0)


def test_all_three_searches_are_measured_on_the_judged_queries(folder: Path, tmp_path: Path) -> None:
    data = load(folder)
    assert (len(data.corpus), list(data.queries), data.qrels["q1"]) == (3, ["q1", "q2"], {"d2": 2})
    found = measure(data, BagOfWords(), tmp_path / "cache")
    assert list(found) == ["lexical", "dense", "hybrid"]
    for metrics in found.values():
        assert metrics.pop("queries_per_second") > 0
        assert metrics == {"ndcg@10": 1.0, "recall@10": 1.0, "recall@100": 1.0, "mrr@10": 1.0}


def test_the_corpus_is_embedded_once(folder: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(2):
        measure(load(folder), BagOfWords(), tmp_path / "cache", lambda done, _: seen.append(done))
    assert seen == [3]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("corpus.jsonl", "{", "corpus.jsonl, line 1: expected an object with _id and text, found '{'"),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}', "corpus.jsonl, line 1: _id and text are strings"),
        ("corpus.jsonl", "", "corpus.jsonl: there is no text in it"),
        ("queries.jsonl", '{"_id": "q1", "text": "a"}', "queries.jsonl: judged queries are missing, 'q2' for one"),
        ("qrels/test.tsv", "q1\td2\t1\n", "test.tsv, line 1: expected the header"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td2\tx\n", "test.tsv, line 2: expected two ids and a whole number"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td2\t0\n", "test.tsv: nothing is judged relevant"),
    ],
)  # fmt: skip
def test_bad_data_is_named_with_file_line_and_reason(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(DataError) as caught:
        load(folder)
    assert message in str(caught.value)


def test_a_missing_split_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"qrels/dev.tsv: cannot be read"):
        load(folder, "dev")
