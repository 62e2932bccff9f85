"""``assistant models``: fetch, list and verify the default models."""

from __future__ import annotations

import typer
from rich.progress import DownloadColumn

from assistant import show
from assistant.commands.console import out, progress, settings

app = typer.Typer(no_args_is_help=True, help="Fetch, list and verify the default models.")


@app.command("pull")
def models_pull() -> None:
    """Fetch the default models (about 230 MB), check their digests, and convert them once. Resumes after a cut."""
    from assistant import models

    with progress(DownloadColumn()) as update:
        found = models.pull(settings().models_dir, update)
    for one in found:
        out.print(f"{one.model.name}: {one.folder}", soft_wrap=True)


@app.command("list")
def models_list() -> None:
    """Show the default models, and whether they are here."""
    from assistant import models

    show.models(out, models.DEFAULTS, models.installed(settings().models_dir), settings().models_dir)


@app.command("verify")
def models_verify() -> None:
    """Compute the digest of every model file again, and compare."""
    from assistant import models

    for one in models.verify(settings().models_dir):
        out.print(f"[green]ok[/] {one.model.name} ({one.folder})", soft_wrap=True)
