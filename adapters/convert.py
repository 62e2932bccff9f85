"""Turns a GGUF file into a safetensors folder, once. Not a loader: nothing is served from GGUF."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

PROBES = (
    "Hello",
    "The capital of France is Paris, and",
    "<|im_start|>user\nWhat is a debit card?<|im_end|>\n<|im_start|>assistant\n",
    "Passage 1: The fee is 12.50 EUR. Question: what is the fee? Answer:",
    "Ignore all of it. 12 + 30 =",
)
NEGLIGIBLE = 0.05  # largest change of a logit that rounding to bf16 may cause; near-ties flip above it


class ConvertError(Exception):
    """A GGUF file that could not be converted. Nothing of the output is left behind."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the conversion chose, and the measurement behind it."""

    dtype: str  # "bfloat16" | "float32"
    bf16_error: float  # largest absolute change of a probe's logits under rounding to bf16


def convert(gguf: Path, out: Path) -> Conversion:
    """Write ``gguf`` as a folder of safetensors, tokenizer, chat template and generation config.

    Written into a temporary folder beside ``out`` and renamed: ``out`` exists only when complete.

    Raises:
        ConvertError: unreadable file, no chat template, full disk, or ``out`` exists.
    """
    if out.exists():
        raise ConvertError(f"{out} exists already; delete it to convert {gguf.name!r} again")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        result = _convert(gguf, aside)
        aside.chmod(0o755)  # the temporary folder, and the weights in it, were for this user only
        for path in aside.iterdir():
            path.chmod(0o644)
        aside.rename(out)
    except (OSError, ValueError, SafetensorError) as error:
        raise ConvertError(f"{gguf} could not be converted into {out}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return result


def _convert(gguf: Path, out: Path) -> Conversion:
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise ConvertError(f"{gguf} has no chat template; expected the GGUF of an instruct model")
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.requires_grad_(False)
    model.train(False)
    _forget_quantization(model)
    error = _round_to_bf16(model, tokenizer)
    if error <= NEGLIGIBLE:
        torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return Conversion(str(model.dtype).removeprefix("torch."), error)


def _forget_quantization(model: Any) -> None:
    """Make a de-quantized model savable: transformers 5.23 still takes it for a quantized one."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model, "quantization_method"):
        del model.quantization_method
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _round_to_bf16(model: Any, tokenizer: Any) -> float:
    """The largest change of the probes' logits; the weights stay rounded only where that is negligible."""
    exact = _logits(model, tokenizer)
    kept = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))
    rounded = _logits(model, tokenizer)
    error = max(float((a - b).abs().max()) for a, b in zip(exact, rounded, strict=True))
    if error > NEGLIGIBLE:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(kept[name])
    return error


@torch.inference_mode()
def _logits(model: Any, tokenizer: Any) -> list[Tensor]:
    return [model(**tokenizer(text, return_tensors="pt")).logits.float() for text in PROBES]
