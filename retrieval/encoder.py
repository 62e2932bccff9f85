"""A classifier that keeps the shared encoder's lower layers as they are and tunes copies of the upper ones.

A few megabytes a task, in safetensors with a JSON card; the shared model itself is never changed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers.masking_utils import create_bidirectional_mask

from retrieval.embedder import RetrievalError, SentenceEmbedder

WEIGHTS, CARD = "encoder.safetensors", "card.json"
LONGEST = 128  # tokens; the rest of a text is not read
SCALE = 20.0  # of the cosine between a text and the direction of a class
TARGETS = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


@dataclass(frozen=True, slots=True)
class Shape:
    """What is tuned. The defaults are those that did best on held-out training data; see NOTES.md."""

    layers: int = 3  # upper ones that are tuned
    rank: int = 0  # of LoRA on them; 0 tunes them whole


@dataclass(frozen=True, slots=True)
class States:
    """Texts after the frozen layers: ``hidden`` [n, tokens, d], ``mask`` [n, tokens] with 1 where a token is."""

    hidden: Tensor
    mask: Tensor


class Trunk:
    """The frozen lower layers of the shared embedding model."""

    def __init__(self, embedder: SentenceEmbedder, tuned: int) -> None:
        """Take the model of ``embedder``, of which the upper ``tuned`` layers will be copied.

        Raises:
            RetrievalError: its architecture has no stack of layers that can be cut.
        """
        self._model: Any = embedder.transformer
        self._tokenizer: Any = embedder.tokenizer
        try:
            self.layers: Sequence[nn.Module] = list(self._model.encoder.layer)
            self.width = int(self._model.config.hidden_size)
        except AttributeError as error:
            raise RetrievalError(
                f"{type(self._model).__name__} cannot be fine-tuned here; expected a BERT-like encoder, "
                "so choose another ASSISTANT_EMBEDDER or leave the heads on the frozen embedding"
            ) from error
        if not 0 < tuned <= len(self.layers):
            raise RetrievalError(f"{tuned} layers to tune; the model has {len(self.layers)}")
        self.tuned, self.fingerprint = tuned, embedder.fingerprint

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> States:
        """Run the frozen layers."""
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        mask = tokens["attention_mask"]
        hidden = self._model.embeddings(input_ids=tokens["input_ids"])
        wide = self.wide(hidden, mask)
        for layer in self.layers[: len(self.layers) - self.tuned]:
            hidden = layer(hidden, wide)
        return States(hidden, mask)

    def wide(self, hidden: Tensor, mask: Tensor) -> Any:
        """The attention mask in the form that the layers take."""
        made: Any = create_bidirectional_mask(config=self._model.config, inputs_embeds=hidden, attention_mask=mask)
        return made


class Branch(nn.Module):
    """The tuned upper layers and one direction for each class; what is trained and saved."""

    def __init__(self, trunk: Trunk, labels: Sequence[str], shape: Shape) -> None:
        super().__init__()
        self.labels, self.shape = tuple(labels), shape
        self._wide = trunk.wide
        self.layers = nn.ModuleList(copy.deepcopy(list(trunk.layers[-shape.layers :])))
        self.layers.requires_grad_(True)
        if shape.rank:
            config = LoraConfig(r=shape.rank, lora_alpha=2 * shape.rank, target_modules=list(TARGETS))
            inject_adapter_in_model(config, self.layers)
        self.classes = nn.Parameter(torch.zeros(len(labels), trunk.width))
        self.bias = nn.Parameter(torch.zeros(len(labels)))

    def embed(self, states: States) -> Tensor:
        """Unit vectors: [n, d]."""
        hidden, wide = states.hidden, self._wide(states.hidden, states.mask)
        for layer in self.layers:
            hidden = layer(hidden, wide)
        keep = states.mask.unsqueeze(-1).to(hidden.dtype)
        return normalize((hidden * keep).sum(1) / keep.sum(1), dim=1)

    def forward(self, states: States) -> Tensor:
        """Logits: [n, classes]."""
        return SCALE * self.embed(states) @ self.classes.T + self.bias

    def trained(self) -> dict[str, Tensor]:
        """What training changes, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}


class TunedEncoder:
    """A finished classifier; thread-safe, since nothing changes."""

    def __init__(self, trunk: Trunk, branch: Branch) -> None:
        self._trunk, self._branch = trunk, branch.eval()
        self.labels = branch.labels

    @torch.no_grad()
    def logits(self, texts: Sequence[str], batch: int = 32) -> NDArray[np.float64]:
        """[n, classes], in the order of ``labels``."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = np.zeros((len(texts), len(self.labels)))
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            found[places] = self._branch(self._trunk([texts[place] for place in places])).numpy()
        return found

    def save(self, folder: Path, card: dict[str, Any]) -> str:
        """Write the weights in half precision and then the card with their digest, which is returned."""
        folder.mkdir(parents=True, exist_ok=True)
        halves = {name: value.detach().half().contiguous() for name, value in self._branch.trained().items()}
        save_file(halves, folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        shape = self._branch.shape
        whole = {
            "labels": list(self.labels), "layers": shape.layers, "rank": shape.rank,
            "embedder": self._trunk.fingerprint, "weights": digest,
        }  # fmt: skip
        # written last: a folder without a card is a training that did not finish
        (folder / CARD).write_text(json.dumps(whole | card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return digest


def load(folder: Path, embedder: SentenceEmbedder) -> TunedEncoder:
    """Read a finished classifier.

    Raises:
        RetrievalError: it is not finished, was changed, or was trained on another embedding model.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        if card["weights"] != digest:
            raise RetrievalError(f"{folder / WEIGHTS}: sha256 is {digest[:16]}, the card says {card['weights'][:16]}")
        if card["embedder"] != embedder.fingerprint:
            raise RetrievalError(
                f"{folder}: trained on embedder {card['embedder'][:16]}, this one is {embedder.fingerprint[:16]}; "
                "train it again, or set ASSISTANT_EMBEDDER to the model it was trained on"
            )
        trunk = Trunk(embedder, card["layers"])
        branch = Branch(trunk, card["labels"], Shape(card["layers"], card["rank"]))
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        missing = set(branch.trained()) ^ set(weights)
        if missing:
            raise RetrievalError(f"{folder / WEIGHTS}: tensors do not fit the card: {sorted(missing)[0]}")
        branch.load_state_dict(weights, strict=False)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RetrievalError(f"{folder}: no finished classifier: {error!r}") from error
    return TunedEncoder(trunk, branch)
