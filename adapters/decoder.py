"""Computes one step of a Llama-shaped decoder for many requests at once. Knows rows and lanes, not who asked.

All tokens of a step lie flat behind each other, so that every product is made once for all of them; only attention
looks at rows. A step may mix single tokens, drafts to be verified, and pieces of long prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adapters.base import Base
from adapters.cache import Cache
from adapters.stack import Group, Pair, Route

SHORT = 16  # tokens of a piece up to which it is attended to together with the other rows
TOLERANCE = {torch.float32: 0.02, torch.bfloat16: 1.5}  # of a logit, against transformers' own forward pass
PROBE = "The fee is 12 EUR. What is the fee?"
GROUPS = {
    "qkv": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "o": ("self_attn", ("o_proj",)),
    "gate_up": ("mlp", ("gate_proj", "up_proj")),
    "down": ("mlp", ("down_proj",)),
}
Weights = dict[tuple[int, str], Pair]  # of one adapter, by layer and group


class DecoderError(Exception):
    """A base model that this decoder does not compute."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one request feeds in a step."""

    tokens: list[int]
    row: int  # of the cache
    start: int  # position of the first token
    lane: int | None = None  # of the stack; None is the bare base
    keep: int = 1  # how many of the last tokens' logits are wanted


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one decoder layer."""

    before: Tensor
    after: Tensor
    groups: dict[str, Group]
    q_norm: Tensor | None
    k_norm: Tensor | None


class Decoder:
    """One base model, its cache, and lanes for the adapters that speak now. One step at a time."""

    def __init__(self, base: Base, *, rows: int, lanes: int, context: int) -> None:
        """
        Args:
            base: the model; its layers' weights become views of joined ones.
            rows: requests that have a place in the cache.
            lanes: adapters that can speak in one step.
            context: longest request, in tokens.

        Raises:
            DecoderError: the model is not Llama-shaped: its logits differ from those of transformers.
        """
        model: Any = base.model
        config = model.config
        self.device, self.dtype, self.lanes = model.device, model.dtype, lanes
        self.expected = _logits(base)
        try:
            self.heads, self.kv_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
            self.size = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
            self.eps = float(config.rms_norm_eps)
            self.layers = [_layer(one) for one in model.model.layers]
            self.embedding, self.norm, self.head = (
                model.model.embed_tokens,
                model.model.norm.weight,
                model.lm_head.weight,
            )
            self.cos, self.sin = _rotations(model, context)
        except AttributeError as error:
            raise _unfit(base, str(error)) from error
        self.cache = Cache(len(self.layers), rows, context, self.kv_heads * self.size, self.dtype, self.device)
        self._prove(base)

    def grow(self, weights: Weights) -> bool:
        """Make the lanes wide enough for an adapter. True if that emptied them."""
        needed: dict[tuple[int, str], int] = {key: len(pair.down) for key, pair in weights.items()}
        wider = {key: n for key, n in needed.items() if n > self.layers[key[0]].groups[key[1]].width}
        return self._resize(wider)

    def shrink(self, others: Sequence[Weights]) -> bool:
        """Make the lanes no wider than these adapters need. True if that emptied them."""
        widest = {
            (number, name): max((len(one[number, name].down) for one in others if (number, name) in one), default=0)
            for number, layer in enumerate(self.layers)
            for name in layer.groups
        }
        return self._resize({key: n for key, n in widest.items() if n < self.layers[key[0]].groups[key[1]].width})

    def _resize(self, widths: dict[tuple[int, str], int]) -> bool:
        for (layer, name), width in widths.items():
            self.layers[layer].groups[name].resize(width, self.lanes)
        return bool(widths)

    def put(self, lane: int, weights: Weights) -> None:
        """Let an adapter speak through a lane."""
        for number, layer in enumerate(self.layers):
            for name, group in layer.groups.items():
                group.put(lane, weights.get((number, name)))

    @torch.inference_mode()
    def step(self, pieces: Sequence[Piece]) -> list[Tensor]:
        """Feed the pieces; fp32 logits [keep, vocabulary] for each."""
        order = sorted(range(len(pieces)), key=lambda n: (pieces[n].lane is not None, pieces[n].lane or 0))
        fed = [pieces[n] for n in order]
        route = Route(_merged(fed), self.device)
        attend = _Attention(self, fed)
        x = self.embedding(self._tensor([token for piece in fed for token in piece.tokens]))
        for number, layer in enumerate(self.layers):
            x = self._layer(number, layer, x, route, attend)
        x = functional.rms_norm(x[self._kept(fed)], self.norm.shape, self.norm, self.eps)
        logits = torch.split(functional.linear(x, self.head).float(), [piece.keep for piece in fed])
        return [logits[place] for place in sorted(range(len(order)), key=lambda n: order[n])]

    def _layer(self, number: int, layer: Layer, x: Tensor, route: Route, attend: _Attention) -> Tensor:
        groups, wide = layer.groups, (x.shape[-1],)
        joined = groups["qkv"](functional.rms_norm(x, wide, layer.before, self.eps), route)
        heads = joined.view(len(x), -1, self.size)
        turned, values = heads[:, : self.heads + self.kv_heads], heads[:, self.heads + self.kv_heads :]
        if layer.q_norm is not None and layer.k_norm is not None:
            parts = torch.split(turned, [self.heads, self.kv_heads], 1)
            norms = (layer.q_norm, layer.k_norm)
            turned = torch.cat(
                [functional.rms_norm(p, n.shape, n, self.eps) for p, n in zip(parts, norms, strict=True)], 1
            )
        turned = turned * attend.cos + _half_turned(turned) * attend.sin
        self.cache.write(number, attend.where, turned[:, self.heads :].flatten(1), values.flatten(1))
        x = x + groups["o"](attend(number, turned[:, : self.heads]), route)
        gate, up = groups["gate_up"](functional.rms_norm(x, wide, layer.after, self.eps), route).chunk(2, -1)
        return x + groups["down"](functional.silu(gate) * up, route)

    def _kept(self, pieces: Sequence[Piece]) -> Tensor:
        ends: list[int] = []
        end = 0
        for piece in pieces:
            end += len(piece.tokens)
            ends += range(end - piece.keep, end)
        return self._tensor(ends)

    def _tensor(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)

    def _prove(self, base: Base) -> None:
        tokens = base.encode(PROBE)
        (found,) = self.step([Piece(tokens, 0, 0, keep=len(tokens))])
        error = float((found - self.expected).abs().max())
        if not error <= TOLERANCE[self.dtype]:
            raise _unfit(base, f"its logits differ by {error:.3g}, at most {TOLERANCE[self.dtype]} is let pass")


class _Attention:
    """Who looks at what in one step: short pieces of all rows together, long ones each by itself."""

    def __init__(self, decoder: Decoder, pieces: Sequence[Piece]) -> None:
        self.decoder, self.cache = decoder, decoder.cache
        positions = [piece.start + n for piece in pieces for n in range(len(piece.tokens))]
        places = decoder._tensor(positions)
        self.where = self.cache.places([piece.row for piece in pieces for _ in piece.tokens], places)
        self.cos, self.sin = decoder.cos[places].unsqueeze(1), decoder.sin[places].unsqueeze(1)
        self.groups = decoder.heads // decoder.kv_heads
        self.long: list[tuple[slice, int, int, Tensor]] = []  # tokens, row, end, mask
        start, short = 0, []
        for piece in pieces:
            span = slice(start, start + len(piece.tokens))
            if len(piece.tokens) > SHORT:
                end = piece.start + len(piece.tokens)
                self.long.append((span, piece.row, end, self._mask(places[span][None], end)))
            else:
                short.append((span, piece))
            start = span.stop
        self._plan_short(short, positions)

    def _plan_short(self, short: list[tuple[slice, Piece]], positions: list[int]) -> None:
        self.deep = max((len(piece.tokens) for _, piece in short), default=0)
        self.rows = max((piece.row + 1 for _, piece in short), default=0)
        self.end = max((positions[span.stop - 1] + 1 for span, _ in short), default=0)
        tensor = self.decoder._tensor
        self.from_ = tensor([n for span, _ in short for n in range(span.start, span.stop)])
        self.to = tensor([piece.row * self.deep + n for _, piece in short for n in range(len(piece.tokens))])
        seen = torch.zeros(self.rows * self.deep, dtype=torch.long, device=self.decoder.device)
        if short:
            seen[self.to] = tensor(positions)[self.from_]
            self.mask = self._mask(seen.view(self.rows, self.deep), self.end)

    def _mask(self, seen: Tensor, end: int) -> Tensor:
        """[rows, 1, groups * queries, end]: 0 up to each query's position, -inf behind it."""
        behind = torch.arange(end, device=seen.device) > seen.unsqueeze(-1)
        mask = torch.zeros(behind.shape, dtype=self.decoder.dtype, device=seen.device).masked_fill_(behind, -torch.inf)
        return mask.unsqueeze(1).repeat(1, 1, self.groups, 1)

    def __call__(self, layer: int, queries: Tensor) -> Tensor:
        """[tokens, heads, size] to [tokens, heads * size]."""
        out = queries.new_empty(len(queries), queries.shape[1] * queries.shape[2])
        for span, row, end, mask in self.long:
            out[span] = self._attend(layer, queries[span][None], slice(row, row + 1), end, mask)[0]
        if self.deep:
            spread = queries.new_zeros(self.rows * self.deep, *queries.shape[1:])
            spread[self.to] = queries[self.from_]
            asked = spread.view(self.rows, self.deep, *queries.shape[1:])
            seen = self._attend(layer, asked, slice(0, self.rows), self.end, self.mask)
            out[self.from_] = seen.flatten(0, 1)[self.to]
        return out

    def _attend(self, layer: int, queries: Tensor, rows: slice, end: int, mask: Tensor) -> Tensor:
        """[rows, deep, heads, size] to [rows, deep, heads * size]; heads that share keys are looked up together."""
        kv, size = self.decoder.kv_heads, self.decoder.size
        count, deep = queries.shape[:2]
        grouped = queries.reshape(count, deep, kv, self.groups, size).permute(0, 2, 3, 1, 4)
        grouped = grouped.reshape(count, kv, self.groups * deep, size)
        keys, values = (one[rows, :end].view(count, end, kv, size).transpose(1, 2) for one in self.cache.layer(layer))
        seen = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        return seen.reshape(count, kv, self.groups, deep, size).permute(0, 3, 1, 2, 4).flatten(2)


def _merged(pieces: Sequence[Piece]) -> list[tuple[int, int | None]]:
    """Numbers of tokens by lane; neighbours of one lane are one block."""
    blocks: list[tuple[int, int | None]] = []
    for piece in pieces:
        if blocks and blocks[-1][1] == piece.lane:
            blocks[-1] = (blocks[-1][0] + len(piece.tokens), piece.lane)
        else:
            blocks.append((len(piece.tokens), piece.lane))
    return blocks


def _layer(module: Any) -> Layer:
    attention = module.self_attn
    return Layer(
        before=module.input_layernorm.weight,
        after=module.post_attention_layernorm.weight,
        groups={
            name: Group([getattr(getattr(module, at), one) for one in ones]) for name, (at, ones) in GROUPS.items()
        },
        q_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        k_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
    )


@torch.inference_mode()
def _rotations(model: Any, context: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, [context, size] each, as transformers computes them."""
    places = torch.arange(context, device=model.device)[None]
    cos, sin = model.model.rotary_emb(model.model.embed_tokens.weight[:1], places)
    return cos[0], sin[0]


def _half_turned(x: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat((-right, left), -1)


@torch.inference_mode()
def _logits(base: Base) -> Tensor:
    model: Any = base.model
    logits: Tensor = model(input_ids=torch.tensor([base.encode(PROBE)], device=model.device), use_cache=False).logits[0]
    return logits.float()


def _unfit(base: Base, reason: str) -> DecoderError:
    kind = base.model.config.model_type
    return DecoderError(
        f"{base.folder}: a model of type {kind!r} is not computed here: {reason}; expected one shaped like Llama "
        "(llama, mistral, qwen2, qwen3, smollm): choose another chat model"
    )
