"""The measurement measures what it says."""

from __future__ import annotations

import pytest

from adapters.base import Base
from adapters.bench import Bench, measure


def test_each_number_of_adapters_is_measured_and_one_request_against_the_limit(tiny: Base) -> None:
    small = Bench(requests=4, rank=2, layers=2, prompt=8, tokens=4, rounds=1, peft=False)
    found = measure(tiny, lambda: tiny, small)
    assert {f"tokens_per_second_adapters_{number}" for number in (1, 3, 8, 32, 128)} < found.keys()
    assert found["read_mb_per_token"] == pytest.approx(
        sum(weight.nbytes for weight in tiny.model.parameters()) / 1e6, abs=0.1
    )
    limit = found["tokens_per_second_one_request_limit"]
    assert limit == pytest.approx(1000 * found["copy_gb_per_second"] / found["read_mb_per_token"], rel=0.02)
    assert found["one_request_to_limit"] == pytest.approx(found["tokens_per_second_one_request"] / limit, abs=0.002)
