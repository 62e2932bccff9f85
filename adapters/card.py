"""Writes an adapter's model card from its passport. Measures nothing."""

from __future__ import annotations

from adapters.base import Base
from adapters.curves import CURVES
from adapters.methods import SERVED
from adapters.passport import PASSPORT, Passport


def write(name: str, base: Base, passport: Passport) -> str:
    """The card as Markdown, with the front matter that model hubs read."""
    counts = ", ".join(f"{number} {use}" for use, number in passport.counts.items())
    rows = "\n".join(f"| {key} | {passport.before[key]:.3f} | {passport.after[key]:.3f} |" for key in passport.after)
    served = "" if passport.recipe["method"] in SERVED else "The batched engine does not serve this method.\n\n"
    return f"""---
base_model: {base.folder.name}
library_name: peft
tags: [lora]
---
# {name}

LoRA adapter, rank {passport.rank}, on {", ".join(passport.targets)}. It fits one base model only,
sha256 `{passport.base}`; `{PASSPORT}` holds all digests and the recipe.

Examples: {counts}; sha256 `{passport.data}`. Seed {passport.seed}. Trained {passport.created}.

| on held-out examples | before | after |
|---|---|---|
{rows}

![Loss over steps]({CURVES})

{served}It answers from passages put before it, and is no source of knowledge by itself. Speak it only behind the
checks of the assistant that it was trained for.
"""
