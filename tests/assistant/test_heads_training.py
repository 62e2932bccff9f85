"""How an encoder is tuned, by how much there is to learn from."""

from __future__ import annotations

import pytest

from assistant.heads_training import FEW, recipe_for


@pytest.mark.parametrize(("rows", "epochs"), [(100, 12), (1_000, 12), (2_000, 8), (3_383, 4), (FEW - 1, 4)])
def test_few_rows_are_seen_more_often_by_all_layers(rows: int, epochs: int) -> None:
    recipe = recipe_for(rows, layers=6, seed=3)
    assert (recipe.shape.layers, recipe.epochs, recipe.seed) == (6, epochs, 3)


def test_many_rows_tune_the_upper_layers() -> None:
    assert recipe_for(FEW, layers=6).shape.layers == 3
