"""The measurement measures what it says."""

from __future__ import annotations

from pathlib import Path

from retrieval.bench import measure


def test_each_size_is_built_searched_and_compared_with_exact_search(tmp_path: Path) -> None:
    small, large = measure(tmp_path, [260, 40])
    assert (small.passages, large.passages) == (40, 260)
    for one in (small, large):
        assert one.recall >= 0.97
        assert 0 < one.p50_ms <= one.p99_ms and one.faiss_p50_ms > 0 and one.per_second > 0
