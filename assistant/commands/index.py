"""``assistant index``: what is indexed; documents added, listed, deleted and checked beside the packs' articles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from assistant import show
from assistant.commands.console import FAILED, Json, err, opened, out, progress, settings

if TYPE_CHECKING:
    from assistant.intake import Skipped
    from assistant.knowledge import Knowledge
    from assistant.packs import Packs

app = typer.Typer(help="What is indexed, and the documents beside the packs' articles.")
Where = Annotated[str, typer.Option("--domain", "-d", help="Whose documents.")]


@app.callback(invoke_without_command=True)
def index(context: typer.Context) -> None:
    """Without a command: build the index of every pack that needs one, and show what is indexed."""
    if context.invoked_subcommand:
        return
    with opened() as product:
        show.indexes(out, product.packs.live(), product.packs.problems())
        if product.packs.problems():
            raise typer.Exit(FAILED)


@app.command("add")
def index_add(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders or archives.")],
    domain: Where,
    source: Annotated[str, typer.Option(help="What citations name as the source; else the file's name.")] = "",
    licence: Annotated[str, typer.Option(help="Under which the texts may be used.")] = "",
    date: Annotated[str, typer.Option(help="Of the texts, YYYY-MM-DD; else what the file says, or its own.")] = "",
    group: Annotated[str, typer.Option(help="Only this group may read them.")] = "",
    everybody: Annotated[bool, typer.Option("--everybody", help="Everybody may read them.")] = False,
) -> None:
    """Add documents. A running server answers from them within seconds; a file of the same name is a new version.

    A new version keeps who may read it, and the title, source and licence that a person gave it.
    """
    from assistant.intake import About, IntakeError, Skipped, drafts

    if everybody and group:
        raise IntakeError(f"--group {group} and --everybody exclude each other; give one of them")
    about = About(source=source, licence=licence, date=date, access="" if everybody else group.strip() or None)
    added: list[tuple[str, str, int, tuple[str, ...]]] = []
    skipped: list[Skipped] = []
    taken: dict[str, str] = {}
    with show.accounts(settings()) as users:
        groups = {group for user in users.list() for group in user.groups}
    with _knowledge() as (knowledge, _), progress() as update:
        knowledge.sync(domain)  # where there is no domain or no pack, it is told before anything is read
        for number, path in enumerate(paths):
            update("Reading files", number, len(paths))
            for one in drafts(path, about, taken=taken):
                if isinstance(one, Skipped):
                    skipped.append(one)
                else:
                    fit = knowledge.fitted(domain, one, groups)
                    change = knowledge.put(domain, fit)
                    notes = fit.notes if change != "unchanged" else (*fit.left_out, *fit.warnings)
                    added.append((fit.file, change, len(fit.passages), notes))
            update("Reading files", number + 1, len(paths))
        knowledge.sync(domain, lambda done, total: update(f"Indexing {domain}", done, total))
    show.added(out, added, skipped)
    if skipped:
        raise typer.Exit(FAILED)


@app.command("list")
def index_list(
    domain: Annotated[str | None, typer.Option("--domain", "-d", help="Only this domain's.")] = None,
) -> None:
    """Show the documents that were added."""
    with _knowledge() as (knowledge, _):
        for name in [domain] if domain else knowledge.domains():
            show.documents(out, name, knowledge.entries(name))


@app.command("remove")
def index_remove(
    document: Annotated[str, typer.Argument(help="Its id, as 'index list' shows it.")], domain: Where
) -> None:
    """Delete a document with its passages, vectors and words, and print the receipt."""
    with _knowledge() as (knowledge, _):
        show.receipt(out, knowledge.remove(domain, document))


@app.command("verify")
def index_verify(
    digest: Annotated[str | None, typer.Argument(help="Of a receipt that must be there, too.")] = None,
) -> None:
    """Check every index against its documents, every text against its digest, and every receipt."""
    with _knowledge() as (knowledge, packs):
        checks = [check for name in knowledge.domains() for check in knowledge.verify(name)]
        checks += [knowledge.holds(digest)] if digest else []
        show.checks(out, checks)
        if packs.problems() or any(check.faults for check in checks):
            raise typer.Exit(FAILED)


@app.command("receipts")
def index_receipts(
    domain: Annotated[str | None, typer.Option("--domain", "-d", help="Only this domain's.")] = None,
    as_json: Json = False,
) -> None:
    """Show the receipt of every deletion, oldest first."""
    with _knowledge() as (knowledge, _):
        names = [domain] if domain else list(knowledge.domains())
        show.receipts(None if as_json else out, {name: knowledge.receipts(name) for name in names})


@app.command("citations")
def index_citations(as_json: Json = False) -> None:
    """Check what every stored answer quotes against the documents as they are now; show what changed or is gone."""
    from assistant.citations import check
    from assistant.store import Store

    store = Store(settings().database_url)
    try:
        with _knowledge() as (knowledge, _):
            show.citations(None if as_json else out, list(check(store, knowledge.standing)))
    finally:
        store.close()


@app.command("rebuild")
def index_rebuild() -> None:
    """Index everything with the embedder of the settings, while a server goes on with the old one. Then restart it."""
    with _knowledge(migrate=True) as (_, packs):
        show.indexes(out, packs.live(), packs.problems())
        if packs.problems():
            raise typer.Exit(FAILED)


@contextmanager
def _knowledge(*, migrate: bool = False) -> Iterator[tuple[Knowledge, Packs]]:
    from assistant.app import knowledge

    with ExitStack() as stack:
        with err.status("Starting") as status, progress() as update:
            both = stack.enter_context(
                knowledge(
                    settings(),
                    status.update,
                    lambda name, n, all_: update(f"Indexing {name}", n, all_),
                    migrate=migrate,
                )
            )
        for problem in both[1].problems():
            err.print(f"[yellow]Refused:[/] {escape(problem.reason)}", soft_wrap=True)
        yield both
