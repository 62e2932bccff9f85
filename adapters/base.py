"""Loads the one base model that every adapter shares, and names it by digest. Knows nothing of adapters."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from adapters.chat import Message

Dtype = Literal["auto", "float32", "bfloat16"]
DIGESTS = ".digests.json"  # beside the weights: {file: [size, mtime_ns, sha256]}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json")
HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt")


class BaseError(Exception):
    """A base model that cannot be loaded. The message names the folder and says what to do."""


@dataclass(frozen=True, slots=True)
class Base:
    """The shared base model, ready to speak."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str  # SHA-256 over the weight files' digests
    template_digest: str  # SHA-256 over tokenizer and chat template
    folder: Path

    @property
    def eos(self) -> frozenset[int]:
        """The tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        found = configured if isinstance(configured, list) else [configured, self.tokenizer.eos_token_id]
        return frozenset(int(token) for token in found if token is not None)

    @property
    def max_length(self) -> int:
        """Positions the model has, in tokens; those of its window where it looks back no further."""
        config = self.model.config
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        return min(int(getattr(config, "max_position_embeddings", 2048)), int(window or 10**9))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant begins to speak.

        Special tokens spelled out in a message are broken up: nobody may end a turn by writing ``<|im_end|>``.
        """
        turns = [{"role": message.role, "content": self.neutralise(message.content)} for message in messages]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.encode(str(text))

    def answer(self, text: str) -> list[int]:
        """Token ids of an answer as the model should have generated it, end included."""
        return [*self.encode(self.neutralise(text)), int(self.tokenizer.eos_token_id)]

    def encode(self, text: str) -> list[int]:
        """Plain token ids, without any added by the tokenizer."""
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def neutralise(self, text: str) -> str:
        """Break up special tokens, so that text stays text."""
        special = [str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        if not special:
            return text
        return re.sub("|".join(map(re.escape, special)), lambda found: f"{found[0][0]} {found[0][1:]}", text)


def load(source: str | Path, *, dtype: Dtype = "auto", device: str = "auto", threads: int | None = None) -> Base:
    """Load from a local folder or, where the network is allowed, a Hugging Face id.

    Args:
        source: folder with safetensors, tokenizer and chat template, or an id like ``org/name``.
        dtype: ``auto`` is bf16 where the hardware multiplies it (CUDA, AVX512_BF16, AMX), else fp32.
        device: ``auto`` is ``cuda`` where there is one, else ``cpu``.
        threads: of the CPU that this process computes with; None leaves it to torch.

    Raises:
        BaseError: not found, not safetensors, no chat template, or unreadable.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = _folder(source)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BaseError(
            f"{folder}: no *.safetensors; expected the folder of a converted model, 'assistant models pull' makes one"
        )
    where = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=_dtype(dtype, where)
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BaseError(f"{folder}: the model cannot be read: {error}") from error
    if not tokenizer.chat_template:
        raise BaseError(f"{folder}: the tokenizer has no chat template; expected an instruct model")
    model.requires_grad_(False).train(False).to(where)
    return Base(model, tokenizer, weights_digest(folder), template_digest(folder, tokenizer), folder)


def weights_digest(folder: Path) -> str:
    """SHA-256 over the digests of the safetensors files, by name.

    Hashing half a gigabyte takes longer than loading it, so each file's digest is kept in ``.digests.json`` beside the
    files and used again while size and modification time stay the same.
    """
    known = _known_digests(folder)
    current = {path.name: _digest(path, known) for path in sorted(folder.glob("*.safetensors"))}
    if current != known:
        _keep_digests(folder, current)
    total = hashlib.sha256()
    for name, (_, _, digest) in current.items():
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()


def template_digest(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the tokenizer's files and the chat template: what decides which tokens a message becomes."""
    total = hashlib.sha256(str(tokenizer.chat_template).encode())
    for name in TOKENIZER_FILES:
        path = folder / name
        if path.is_file():
            total.update(f"\0{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _folder(source: str | Path) -> Path:
    local = Path(source)
    if local.is_dir():
        return local
    if isinstance(source, Path) or source.startswith(("/", ".")) or source.count("/") != 1:
        raise BaseError(f"{source}: no such folder; run 'assistant models pull', or set the chat model")
    try:
        return Path(snapshot_download(source, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BaseError(
            f"{source!r} is no folder here and could not be fetched from the hub: {error}; "
            "run 'assistant models pull', or set the chat model to a local folder"
        ) from error


def _dtype(wanted: Dtype, device: str) -> torch.dtype:
    if wanted != "auto":
        return torch.float32 if wanted == "float32" else torch.bfloat16
    abilities = torch.cpu.get_capabilities()
    fast = device.startswith("cuda") or abilities.get("avx512_bf16") or abilities.get("amx_bf16")
    return torch.bfloat16 if fast else torch.float32


Digest = tuple[int, int, str]  # size, mtime_ns, sha256


def _digest(path: Path, known: dict[str, Digest]) -> Digest:
    stat = path.stat()
    size, changed, digest = known.get(path.name, (-1, -1, ""))
    if (size, changed) == (stat.st_size, stat.st_mtime_ns):
        return size, changed, digest
    with path.open("rb") as file:
        return stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()


def _known_digests(folder: Path) -> dict[str, Digest]:
    try:
        loaded = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return {str(name): (int(size), int(changed), str(digest)) for name, (size, changed, digest) in loaded.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # absent or damaged: computed again


def _keep_digests(folder: Path, digests: dict[str, Digest]) -> None:
    aside = folder / f"{DIGESTS}.{os.getpid()}"
    try:
        aside.write_text(json.dumps(digests), encoding="utf-8")
        aside.replace(folder / DIGESTS)
    except OSError:
        return  # a read-only folder: it is computed at each start
