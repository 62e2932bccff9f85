"""``assistant data``: clean, convert, split and count texts before they train anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import out
from assistant.settings import SettingsError

app = typer.Typer(no_args_is_help=True, help="Prepare texts for training, and say what was changed.")
Source = Annotated[Path, typer.Argument(help="csv, tsv, xlsx, jsonl, json (ShareGPT, Alpaca), conll.")]
To = Annotated[Path, typer.Option("--to", help="The JSON lines to write; must not exist.")]
TextColumn = Annotated[str | None, typer.Option("--text", help="The column that holds the text.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="The column that holds the label.")]
Near = Annotated[float, typer.Option(help="Similarity of near-duplicates; above 1 there are none.", min=0.5)]


@app.command("convert")
def data_convert(source: Source, to: To, text: TextColumn = None, label: LabelColumn = None) -> None:
    """Write a table, a chat export or tagged text as JSON lines."""
    from assistant import dataset, formats

    _new(to)
    out.print(f"{dataset.write(to, formats.read(source, _columns(text, label)))} rows were written to {to}.")


@app.command("clean")
def data_clean(
    source: Source,
    to: To,
    text: TextColumn = None,
    label: LabelColumn = None,
    near: Near = 0.9,
    language: Annotated[str | None, typer.Option(help="Keep only this one: en, de, fr, es, it, pt, nl, zh …")] = None,
    most: Annotated[int | None, typer.Option(help="Keep at most so many rows of each label.", min=1)] = None,
    seed: int = 0,
) -> None:
    """Normalise, mask personal data, drop duplicates, near-duplicates and contradictions; report each."""
    from assistant import dataset, formats, preparation

    _new(to)
    rows = formats.read(source, _columns(text, label))
    kept, changes = preparation.clean(rows, near=near, language=language, most=most, seed=seed)
    dataset.write(to, kept)
    show.card(out, preparation.as_dict(changes))


@app.command("split")
def data_split(
    source: Source,
    to: Annotated[Path, typer.Option("--to", help="The folder that gets train.jsonl, dev.jsonl, test.jsonl.")],
    train: Annotated[float, typer.Option(help="Share of the rows.", min=0.0)] = 0.8,
    dev: Annotated[float, typer.Option(help="Share of the rows.", min=0.0)] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the rows.", min=0.0)] = 0.1,
    near: Near = 0.9,
    seed: int = 0,
) -> None:
    """Cut into parts so that no near-duplicate of a row stands in another part."""
    from assistant import dataset, formats, preparation

    shares = {name: share for name, share in (("train", train), ("dev", dev), ("test", test)) if share > 0}
    for name in shares:
        _new(to / f"{name}.jsonl")
    parts = preparation.split(formats.read(source), shares, near=near, seed=seed)
    show.card(out, {name: dataset.write(to / f"{name}.jsonl", rows) for name, rows in parts.items()})


@app.command("stats")
def data_stats(source: Source, text: TextColumn = None, label: LabelColumn = None, near: Near = 0.9) -> None:
    """Count labels, lengths, languages, duplicates and personal data."""
    from assistant import formats, preparation

    show.card(out, preparation.stats(formats.read(source, _columns(text, label)), near))


def _columns(text: str | None, label: str | None) -> dict[str, str]:
    return {ours: theirs for ours, theirs in (("text", text), ("label", label)) if theirs}


def _new(path: Path) -> None:
    if path.exists():
        raise SettingsError(f"{path} is there already; choose another place, nothing was written")
