"""Reads a question and a text together, and says how well the one answers the other.

The model is a copy of the shared embedding model plus low-rank differences, so what ships is a few megabytes; the
shared model itself is never changed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retrieval.embedder import RetrievalError, SentenceEmbedder

LONGEST = 96  # tokens of a question and a text together
LEFT, RIGHT = ".left", ".right"  # name endings of the factors of a matrix's difference
HEAD = "score."  # name beginning of the layer on top


class CrossEncoder:
    """A finished model; thread-safe."""

    def __init__(self, embedder: SentenceEmbedder, path: Path) -> None:
        """Read the differences at ``path`` (safetensors, its card beside it) and apply them to a copy of the model.

        Raises:
            RetrievalError: missing, changed, or made for another embedding model.
        """
        self.digest: str = read_card(path, embedder.fingerprint)["weights"]
        self._tokenizer: Any = embedder.tokenizer
        self.model, self.top = changed_copy(embedder, path, 1)
        self._half = half()
        self._lock = threading.Lock()  # torch gains nothing from two at once on a CPU

    @torch.no_grad()
    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds of each text against "none of them answers": [n]."""
        if not texts:
            return np.zeros(0)
        with self._lock, torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            found = forward(self.model, self.top, self._tokenizer, [question] * len(texts), texts)
        return found.double().numpy()


def forward(model: Any, score: nn.Module, tokenizer: Any, questions: Sequence[str], texts: Sequence[str]) -> Tensor:
    """Scores of pairs, [n]."""
    return outputs(model, score, tokenizer, questions, texts, LONGEST).squeeze(-1)


def outputs(
    model: Any, top: nn.Module, tokenizer: Any, texts: Sequence[str], others: Sequence[str] | None, longest: int
) -> Tensor:
    """What the layer on top says of texts or pairs of texts, [n, outputs]: it reads the mean of the tokens' states."""
    second = None if others is None else list(others)
    tokens = tokenizer(list(texts), second, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    hidden = model(**tokens).last_hidden_state.float()
    keep = tokens["attention_mask"].unsqueeze(-1).float()
    found: Tensor = top((hidden * keep).sum(1) / keep.sum(1))
    return found.float()


def half() -> bool:
    """Whether this CPU multiplies in bf16, which then takes half the time."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def differences(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], score: nn.Linear, rank: int
) -> dict[str, Tensor]:
    """What changed, in half precision: matrices as two factors of the given rank, the rest as they differ."""
    changed: dict[str, Tensor] = {HEAD + name: value for name, value in score.state_dict().items()}
    for name, value in after.items():
        change = value - before[name]
        if not change.any():
            continue
        if change.dim() == 2:
            left, weight, right = torch.linalg.svd(change, full_matrices=False)
            root = weight[:rank].sqrt()
            changed[name + LEFT], changed[name + RIGHT] = left[:, :rank] * root, root[:, None] * right[:rank]
        else:
            changed[name] = change
    return {name: value.detach().half().contiguous() for name, value in changed.items()}


def save(changed: Mapping[str, Tensor], embedder: SentenceEmbedder, path: Path, card: Mapping[str, Any]) -> str:
    """Write differences and then the card with their digest, which is returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(changed), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    whole = {"embedder": embedder.fingerprint, "weights": digest} | dict(card)
    path.with_suffix(".json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return digest


def read_card(path: Path, fingerprint: str) -> Any:
    """The card beside the weights at ``path``.

    Raises:
        RetrievalError: missing, changed, or made for another embedding model than that of ``fingerprint``.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if card["weights"] != digest:
            raise RetrievalError(f"{path}: sha256 is {digest[:16]}, its card says {card['weights'][:16]}")
        if card["embedder"] != fingerprint:
            raise RetrievalError(
                f"{path}: made for embedder {card['embedder'][:16]}, this one is {fingerprint[:16]}; train it again "
                "with 'assistant train', or set ASSISTANT_EMBEDDER to the model it was made for"
            )
    except (OSError, ValueError, KeyError) as error:
        raise RetrievalError(f"{path}: no finished model: {error!r}; train it, or install the product anew") from error
    return card


def changed_copy(embedder: SentenceEmbedder, path: Path, width: int) -> tuple[Any, nn.Linear]:
    """A copy of the shared model with the differences at ``path``, and the layer on top with ``width`` outputs.

    Raises:
        RetrievalError: they do not fit the model.
    """
    model: Any = copy.deepcopy(embedder.transformer).eval()
    top = nn.Linear(int(model.config.hidden_size), width)
    try:
        _apply(model, top, {name: value.float() for name, value in load_file(path).items()})
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise RetrievalError(f"{path}: does not fit the embedding model: {error!r}") from error
    return model, top


@torch.no_grad()
def _apply(model: Any, score: nn.Linear, changed: Mapping[str, Tensor]) -> None:
    score.load_state_dict({name.removeprefix(HEAD): value for name, value in changed.items() if name.startswith(HEAD)})
    weights = model.state_dict()
    for name, value in changed.items():
        if name.endswith(LEFT):
            matrix = name.removesuffix(LEFT)
            weights[matrix] += value @ changed[matrix + RIGHT]
        elif not name.endswith(RIGHT) and not name.startswith(HEAD):
            weights[name] += value
