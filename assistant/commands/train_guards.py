"""``assistant train detectors``, ``tagger``, ``entailment``: the filters' heads, from public sets and our texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import opened, out, progress, settings

app = typer.Typer()
Data = Annotated[Path, typer.Option("--data", help="Folder of the public sets: safety/, intents/, qa/, pii/.")]
Folder = Annotated[Path, typer.Option("--to", help="Folder that the weights and their card are written to.")]


@app.command("detectors")
def train_detectors(
    data: Data,
    to: Folder,
    folds: Annotated[int, typer.Option(help="Folds of five that the guard is measured on.", min=0, max=5)] = 2,
) -> None:
    """Fit the detectors of attacks, harmful requests and people in danger; report them on folds they did not see."""
    from assistant import drill
    from assistant.app import embedder

    with opened({"adapters": False}) as product, progress() as update:
        domains = [pack.domain for pack in product.packs.live()]
        show.card(out, drill.train(data, domains, embedder(settings()), to, folds, update))


@app.command("tagger")
def train_tagger(data: Data, to: Folder) -> None:
    """Fit the tagger of names, places and addresses."""
    from assistant import tagger_training as training

    annotated = training.read(data / "pii/presidio_synth/dev.jsonl")
    with opened({"adapters": False}) as product:
        domains = [pack.domain for pack in product.packs.live()]
    show.card(out, training.train(annotated, training.nobodies(data, domains), to))


@app.command("entailment")
def train_entailment(
    data: Data,
    to: Folder,
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="Claims with a text and a label, as for 'evaluate grounding'; may be repeated."),
    ] = None,
) -> None:
    """Train what says whether a source supports a sentence; report it on sources it did not see."""
    from assistant import entailment_training as training
    from assistant.app import embedder

    with opened({"adapters": False}) as product, progress() as update:
        domains = [pack.domain for pack in product.packs.live()]
        card = training.train(domains, data, pairs or [], embedder(settings()), to, progress=update)
    show.card(out, card)
