"""``assistant label``: from raw texts to labelled ones with few answers of a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from assistant.commands.console import err, opened, out, settings
from assistant.settings import SettingsError

if TYPE_CHECKING:
    from assistant.formats import Row
    from retrieval.embedder import Vectors

app = typer.Typer()
SHOWN = 3  # texts that stand for a cluster


@app.command()
def label(
    source: Annotated[Path, typer.Argument(help="Texts (csv, xlsx, jsonl …); a row may have a 'label' already.")],
    to: Annotated[Path, typer.Option("--to", help="The labelled rows to write, as JSON lines; must not exist.")],
    text: Annotated[str | None, typer.Option("--text", help="The column that holds the text.")] = None,
    questions: Annotated[int, typer.Option(help="How many texts to ask about.", min=0)] = 20,
    clusters: Annotated[int | None, typer.Option(help="How many groups to name where no label is known.")] = None,
    sure: Annotated[float, typer.Option(help="Probability from which a proposal is written.", min=0, max=1)] = 0.8,
    examples: Annotated[bool, typer.Option("--examples", help="Write a pack's examples.jsonl, with moods.")] = False,
    seed: int = 0,
) -> None:
    """Propose labels, ask about the texts that teach most, point out labels that look wrong, and write the rest.

    Without any label in the source, groups of texts are shown first and named: Enter takes the proposed name, and
    `-` leaves a group out.
    """
    from assistant import dataset, formats, labelling
    from assistant.app import embedder

    if to.exists():
        raise SettingsError(f"{to} is there already; choose another place, nothing was written")
    rows = [row for row in formats.read(source, {"text": text} if text else None) if str(row.get("text", "")).strip()]
    with err.status(f"Reading {len(rows)} texts"):
        vectors = embedder(settings()).embed([row["text"] for row in rows])
    known = {place: str(row["label"]) for place, row in enumerate(rows) if row.get("label")}
    known = known or _named(rows, vectors, clusters, seed)
    if len(set(known.values())) < 2:
        raise SettingsError("labels spread from at least two that are known, and fewer were given; nothing was written")
    _ask(rows, vectors, known, questions)
    _review(rows, vectors, known)
    labels, odds = labelling.spread(vectors, known)
    found = [
        {"text": row["text"], "label": name, "confidence": round(p, 3), "by": "person" if place in known else "spread"}
        for place, (row, (name, p)) in enumerate(zip(rows, labelling.proposals(labels, odds), strict=True))
    ]
    kept = [place for place, row in enumerate(found) if row["confidence"] >= sure]
    written = [found[place] for place in kept]
    if examples:
        moods = _moods(vectors[kept])
        pairs = zip(written, moods, strict=True)
        written = [{"text": row["text"], "intent": row["label"], "sentiment": mood} for row, mood in pairs]
    dataset.write(to, written)
    out.print(f"{len(kept)} of {len(rows)} rows were written to {to}; the others are less than {sure:.0%} sure.")


def _moods(vectors: Vectors) -> list[str]:
    """What the serving head says; a pack's examples name a mood each."""
    with opened({"adapters": False}) as product:
        return [product.parts().reader.mood(vector)[0] for vector in vectors]


def _named(rows: list[Row], vectors: Vectors, count: int | None, seed: int) -> dict[int, str]:
    from assistant import labelling

    known: dict[int, str] = {}
    for cluster in labelling.clusters([row["text"] for row in rows], vectors, count, seed):
        central = cluster.members[:SHOWN]
        out.print(f"\n[bold]{len(cluster.members)} texts[/] like")
        for place in central:
            out.print(f"  {escape(rows[place]['text'])}")
        name = typer.prompt("Label", default=cluster.name)
        known |= {place: name for place in central if name != "-"}
    return known


def _ask(rows: list[Row], vectors: Vectors, known: dict[int, str], count: int) -> None:
    """Ask about one text after another; an empty answer takes the proposal, ``-`` ends the questions."""
    from assistant import labelling

    for number in range(1, count + 1):
        labels, odds = labelling.spread(vectors, known)
        place = labelling.next_question(vectors, odds, known)
        if place is None:
            return
        best, probability = labelling.proposals(labels, odds[place : place + 1])[0]
        out.print(f"\n{number} of {count}: [bold]{escape(rows[place]['text'])}[/]  ({probability:.0%} {best})")
        answer = typer.prompt(f"Label ({', '.join(labels)}, or a new one)", default=best)
        if answer == "-":
            return
        known[place] = answer


def _review(rows: list[Row], vectors: Vectors, known: dict[int, str]) -> None:
    """Show known labels that look wrong, and take corrections."""
    from assistant import labelling

    places = sorted(known)
    for doubt in labelling.doubts(vectors[places], [known[place] for place in places]):
        place = places[doubt.place]
        out.print(f"\n[yellow]Wrong?[/] [bold]{escape(rows[place]['text'])}[/] is labelled {doubt.given}")
        known[place] = typer.prompt(f"Label ({doubt.probability:.0%} {doubt.likelier})", default=doubt.given)
