"""``assistant index``: build and show indexes."""

from __future__ import annotations

import typer

from assistant import show
from assistant.commands.console import FAILED, opened, out

app = typer.Typer()


@app.command()
def index() -> None:
    """Build the index of every pack that needs one, and show what is indexed."""
    with opened() as product:
        show.indexes(out, product.packs.live(), product.packs.problems())
        if product.packs.problems():
            raise typer.Exit(FAILED)
