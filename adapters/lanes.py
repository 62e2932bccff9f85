"""Which adapters are in memory, and which have a lane in the batch. Used by one thread; reads no files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from adapters.decoder import Decoder, Weights


class Lanes:
    """Gives every adapter that speaks now a lane of the decoder's stack; rows with one adapter share it."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._held: list[str | None] = [None] * decoder.lanes  # by lane: whose weights lie there
        self._weights: list[Weights] = [{}] * decoder.lanes
        self._users = [0] * decoder.lanes

    def take(self, digest: str, weights: Weights) -> int:
        """The adapter's lane; filled if it is not there yet. There are as many lanes as can speak at once."""
        self._resize(lambda: self._decoder.grow(weights))
        if digest in self._held:
            lane = self._held.index(digest)
        else:
            lane = self._users.index(0)  # the lowest: a step computes up to the highest in use
            self._decoder.put(lane, weights)
            self._held[lane], self._weights[lane] = digest, weights
        self._users[lane] += 1
        return lane

    def leave(self, lane: int) -> None:
        """One speaker less; the weights stay until the lane is needed."""
        self._users[lane] -= 1

    def forget(self, digest: str, others: Sequence[Weights]) -> None:
        """Never use what lies in a lane for this adapter again. Its speakers must have left.

        The lanes become as narrow as those who speak now and ``others``, who may speak soon, allow.
        """
        if digest in self._held:
            self._empty(self._held.index(digest))
        speaking = [weights for weights, users in zip(self._weights, self._users, strict=True) if users]
        self._resize(lambda: self._decoder.shrink([*others, *speaking]))

    def _resize(self, change: Callable[[], bool]) -> None:
        """Fill the lanes in use again where a change emptied them, or ended half-way for want of memory."""
        emptied = True
        try:
            emptied = change()
        finally:
            if emptied:
                self._refill()

    def _refill(self) -> None:
        for lane, users in enumerate(self._users):
            if users:
                self._decoder.put(lane, self._weights[lane])
            else:
                self._empty(lane)

    def _empty(self, lane: int) -> None:
        self._held[lane], self._weights[lane] = None, {}


class Residents:
    """The adapters in memory, a bounded number; the one that spoke longest ago goes first.

    Evicting is safe at any time: whoever speaks has the weights in a lane, and a reference to them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[str, Weights] = OrderedDict()

    def get(self, digest: str) -> Weights | None:
        """The weights, if they are in memory."""
        found = self._held.get(digest)
        if found is not None:
            self._held.move_to_end(digest)
        return found

    def put(self, digest: str, weights: Weights) -> None:
        """Hold an adapter, and let go of the least used above the limit."""
        self._held[digest] = weights
        while len(self._held) > self.limit:
            self._held.popitem(last=False)

    def drop(self, digest: str) -> None:
        """Let go of an adapter."""
        self._held.pop(digest, None)

    def all(self) -> list[Weights]:
        """Of every adapter in memory."""
        return list(self._held.values())

    def sizes(self) -> dict[str, int]:
        """Bytes by digest, least used first."""
        held = list(self._held.items())
        return {digest: sum(p.down.nbytes + p.up.nbytes for p in weights.values()) for digest, weights in held}
