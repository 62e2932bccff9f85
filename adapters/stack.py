"""Stacked LoRA weights: one product serves rows of many adapters. Knows layers and lanes, not requests or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

DENSE = 32  # tokens of a step up to which all lanes are computed for all tokens: cheaper than a product per adapter


@dataclass(frozen=True, slots=True)
class Pair:
    """LoRA weights of one group of layers that read the same input, joined: rank is the sum of the members' ranks."""

    down: Tensor  # [rank, d_in]
    up: Tensor  # [rank, d_out of the whole group], scaled, zero outside each member's own outputs


class Route:
    """Which lane each token of a step speaks through. Made once a step, used by every layer."""

    def __init__(self, blocks: Sequence[tuple[int, int | None]], device: torch.device) -> None:
        """
        Args:
            blocks: numbers of tokens and their lane, in the order of the tokens; None is the bare base.
            device: where the step is computed.
        """
        self.blocks: list[tuple[slice, int]] = []
        self.device = device
        start = 0
        for tokens, lane in blocks:
            if lane is not None:
                self.blocks.append((slice(start, start + tokens), lane))
            start += tokens
        self.tokens = start
        self.lanes = max((lane + 1 for _, lane in self.blocks), default=0)
        self.dense = start <= DENSE
        self._masks: dict[int, Tensor] = {}

    @cached_property
    def _lane(self) -> Tensor:
        lanes = torch.full((self.tokens, 1), -1)
        for where, lane in self.blocks:
            lanes[where] = lane
        return lanes.to(self.device)

    def foreign(self, width: int) -> Tensor:
        """Bool [tokens, lanes * width]: the parts of each token's inner product that belong to other lanes."""
        if width not in self._masks:
            owner = torch.arange(self.lanes, device=self.device).repeat_interleave(width)
            self._masks[width] = owner != self._lane
        return self._masks[width]


class Group:
    """Linear layers that read the same input, as one product, with a lane for each adapter that speaks now.

    The lanes' first factors lie right behind the base weights, so that one product computes both. What another lane
    computed for a token is cut away before the second factor: no token ever sees another token's adapter.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.layers = layers
        self.outs = [layer.out_features for layer in layers]
        self.wide = sum(self.outs)
        self.width = 0  # rows of one lane
        self.weight = torch.cat([layer.weight.detach() for layer in layers])  # [wide + lanes * width, d_in]
        self.up = self.weight.new_zeros(0, self.wide)  # [lanes * width, wide]
        biased = all(layer.bias is not None for layer in layers)
        self.bias = torch.cat([layer.bias.detach() for layer in layers]) if biased else None
        self._rebind()

    def _rebind(self) -> None:
        """Let the model's own layers look into the joined weights: nothing is held twice."""
        start = 0
        for layer, out in zip(self.layers, self.outs, strict=True):
            layer.weight = nn.Parameter(self.weight[start : start + out], requires_grad=False)
            start += out

    def resize(self, width: int, lanes: int) -> None:
        """Make room for adapters of ``width``, and no more; what the lanes hold is lost."""
        up = self.up.new_zeros(lanes * width, self.wide)
        weight = torch.cat([self.weight[: self.wide], self.weight.new_zeros(lanes * width, self.weight.shape[1])])
        self.weight, self.up, self.width = weight, up, width  # where memory runs out, all is as it was
        self._rebind()

    def put(self, lane: int, pair: Pair | None) -> None:
        """Fill a lane; None leaves the group to the base."""
        if not self.width:
            return
        rows = slice(lane * self.width, (lane + 1) * self.width)
        down, up = self.weight[self.wide :][rows], self.up[rows]
        used = 0 if pair is None else len(pair.down)
        if pair is not None:
            down[:used], up[:used] = pair.down, pair.up
        down[used:] = 0
        up[used:] = 0

    def __call__(self, x: Tensor, route: Route) -> Tensor:
        """[tokens, d_in] to [tokens, wide]."""
        if not self.width or not route.lanes:
            return functional.linear(x, self.weight[: self.wide], self.bias)
        out = self._dense(x, route) if route.dense else self._blocks(x, route)
        return out if self.bias is None else out + self.bias

    def _dense(self, x: Tensor, route: Route) -> Tensor:
        rows = route.lanes * self.width
        both = functional.linear(x, self.weight[: self.wide + rows])
        inner = both[:, self.wide :].masked_fill(route.foreign(self.width), 0)
        return torch.addmm(both[:, : self.wide], inner, self.up[:rows])

    def _blocks(self, x: Tensor, route: Route) -> Tensor:
        out = functional.linear(x, self.weight[: self.wide])
        for where, lane in route.blocks:
            rows = slice(lane * self.width, (lane + 1) * self.width)
            out[where].addmm_(functional.linear(x[where], self.weight[self.wide :][rows]), self.up[rows])
        return out
