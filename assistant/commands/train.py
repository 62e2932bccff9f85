"""``assistant train``: adapters and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import opened, out, progress, settings

app = typer.Typer(no_args_is_help=True, help="Train a domain's adapter, or a head.")


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


@app.command("heads")
def train_heads(
    task: Annotated[str, typer.Option(help="intents, sentiment or router: what the labels are.")],
    data: Annotated[Path, typer.Option("--data", help="What to learn from: JSON lines with 'text' and 'label'.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new head; must not exist.")],
    dev: Annotated[Path | None, typer.Option(help="What to stop and calibrate on; else a tenth of --data.")] = None,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 4,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    accumulate: Annotated[int, typer.Option(help="Batches per step of the optimizer.", min=1)] = 1,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 3e-4,
    adversarial: Annotated[float, typer.Option(help="Length of FGM's step; 0 switches it off.", min=0.0)] = 0.0,
    layers: Annotated[int, typer.Option(help="Tune only the upper so many layers.", min=1)] = 3,
    rank: Annotated[int, typer.Option(help="Rank of LoRA on them; 0 tunes them whole.", min=0)] = 0,
    search: Annotated[bool, typer.Option("--search", help="Try learning rates and batch sizes first.")] = False,
    seed: int = 0,
) -> None:
    """Fine-tune the shared encoder's upper layers on labelled texts: a head of a few megabytes, with a card."""
    from assistant.app import embedder
    from assistant.heads_training import train_head
    from retrieval.encoder import Shape
    from retrieval.finetune import Recipe

    recipe = Recipe(
        Shape(layers, rank), epochs, batch, accumulate, learning_rate, adversarial=adversarial, seed=seed
    )  # fmt: skip
    with progress() as update:
        card = train_head(
            embedder(settings()), show.task(task), data, dev, to, recipe, search=search, progress=update
        )  # fmt: skip
    show.card(out, card)


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
