"""``assistant train detectors``, ``tagger``, ``entailment``: the filters' heads, from public sets and our texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import opened, out

app = typer.Typer()
Data = Annotated[Path, typer.Option("--data", help="Folder of the public sets: safety/, intents/, qa/, pii/.")]
Folder = Annotated[Path, typer.Option("--to", help="Folder that the weights and their card are written to.")]


@app.command("detectors")
def train_detectors(data: Data, to: Folder) -> None:
    """Fit the detectors of attacks, harmful requests and people in danger; report them on folds they did not see."""
    from assistant import drill

    with opened({"adapters": False}) as product:
        embedder = product.parts().embedder
        domains = [pack.domain for pack in product.packs.live()]
        show.card(out, drill.train(data, domains, embedder.embed, embedder.fingerprint, to))


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
    data: Data, to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")]
) -> None:
    """Fit the head that says whether a source supports a sentence; report it on sources it did not see."""
    from assistant import entailment_training as training

    with opened({"adapters": False}) as product:
        domains = [pack.domain for pack in product.packs.live()]
        show.card(out, training.train(domains, data, product.parts().embedder.embed, to))
