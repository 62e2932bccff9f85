"""What tests wait with: for something to become true, and for an engine that is slow enough to be met at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from torch import Tensor

from adapters.decoder import Piece
from adapters.engine import TorchEngine


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait; fail when it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.005)


def slow_down(engine: TorchEngine) -> None:
    """From now on a step takes ten milliseconds."""
    step = engine.decoder.step

    def slowly(pieces: Sequence[Piece]) -> list[Tensor]:
        time.sleep(0.01)
        return step(pieces)

    engine.decoder.step = slowly  # type: ignore[method-assign]
