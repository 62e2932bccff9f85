"""What every command works with: the two consoles, the settings, the opened product, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from assistant.settings import Settings, load

if TYPE_CHECKING:
    from assistant.app import App

USAGE, FAILED, NOT_ANSWERED = 2, 1, 3  # exit codes beside 0
err = Console(stderr=True)
out = Console()
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
DomainName = Annotated[str | None, typer.Option("--domain", "-d", help="Ask this pack; without it the router chooses.")]


def settings(changes: dict[str, object] | None = None) -> Settings:
    """The settings with the command line's own on top."""
    loaded = load()
    return Settings.model_validate(loaded.model_dump() | changes) if changes else loaded


@contextmanager
def opened(changes: dict[str, object] | None = None) -> Iterator[App]:
    """The product, loaded with a word on each step, and closed in the end."""
    from assistant.app import build

    chosen = settings(changes)
    with err.status("Starting") as status, progress() as update:
        product = build(
            chosen, lambda text: status.update(text), lambda name, n, all_: update(f"Indexing {name}", n, all_)
        )
    for problem in product.packs.problems():
        err.print(f"[yellow]Refused:[/] {escape(problem.reason)}", soft_wrap=True)
    try:
        yield product
    finally:
        product.close()


@contextmanager
def progress(amount: DownloadColumn | MofNCompleteColumn | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error; call what it yields with a label, what is done, and the total (0: unknown)."""
    amount = amount or MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=err) as bar:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield update
