"""``assistant train``: adapters and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import opened, out, progress

app = typer.Typer(no_args_is_help=True, help="Train a domain's adapter, or the evidence head.")


@app.command("adapter")
def train_adapter(
    domain: Annotated[str, typer.Option("--domain", "-d", help="Whose lessons (training.jsonl) to learn.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new adapter; must not exist.")],
    minutes: Annotated[float, typer.Option(help="Stop after this long, keeping the best so far.", min=0.1)] = 20.0,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 3,
    layers: Annotated[int | None, typer.Option(help="Adapt only the upper so many layers; faster.", min=1)] = None,
    seed: int = 0,
) -> None:
    """Train a LoRA adapter on a pack's lessons over its own passages."""
    from adapters.train import Recipe
    from assistant import lessons

    recipe = Recipe(max_minutes=minutes, epochs=epochs, layers=layers, seed=seed)
    with opened({"adapters": False}) as product, progress() as update:
        passport = lessons.train_adapter(product, domain, to, recipe, update)
    show.passport(out, to, passport)


@app.command("evidence")
def train_evidence(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the evidence gate of packs without lessons on those of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_evidence(product.packs.live(), product.parts().embedder.embed, to))


@app.command("ranking")
def train_ranking(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the judge that picks sentences on the lessons of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_ranking(product.packs.live(), product.parts().embedder.embed, to))
