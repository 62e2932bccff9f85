"""``assistant adapters``: what speaks, what could, and who said so."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from assistant.commands.console import FAILED, Json, opened, out, progress, settings

if TYPE_CHECKING:
    from adapters.canary import Canary
    from adapters.shelf import Shelf
    from assistant.life import Comparison
    from assistant.traffic import Figures

app = typer.Typer(no_args_is_help=True, help="Prove, promote and roll back adapters.")
Name = Annotated[str, typer.Argument(help="The adapter's name, as packs call it.")]
Digest = Annotated[str, typer.Argument(help="Its digest, or how it begins.")]
By = Annotated[
    str, typer.Option("--by", help="Who decides this; goes into the record.", default_factory=getpass.getuser)
]


@app.command("list")
def adapters_list(as_json: Json = False) -> None:
    """Show every adapter: candidates, canaries, current and retired ones; each last canary beside who was current."""
    shelf = _shelf()
    trials = list(_trials(shelf, {one.name for one in shelf.all()}))
    if as_json:
        rows = [{**asdict(one), "folder": str(one.folder)} for one in shelf.all()]
        beside = {(canary.name, one.digest): asdict(one) for canary, both in trials for one in both}
        rows = [{**row, "traffic": beside.get((row["name"], row["digest"]))} for row in rows]
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        table = Table("name", "digest", "state", "since", "by", title="Adapters", title_justify="left")
        for one in shelf.all():
            table.add_row(one.name, one.digest[:16], one.state, one.since or "with the product", one.by or "")
        out.print(table)
        for trial in trials:
            out.print(_traffic(*trial))


@app.command("show")
def adapters_show(name: Name, digest: Digest = "") -> None:
    """Show an adapter's passport, its history and its name's last canary; without a digest the one that speaks."""
    from adapters.passport import read

    shelf = _shelf()
    folder = shelf.resolve(name, digest).folder if digest else shelf.current(name)
    out.print_json(data=asdict(read(folder)))
    for entry in shelf.entries():
        if entry.name == name:
            share = f" {entry.share:.0%}" if entry.share else ""
            out.print(f"{entry.at} {entry.by}: {entry.action}{share} {entry.digest[:16]} {entry.note}", soft_wrap=True)
    for trial in _trials(shelf, {name}):
        out.print(_traffic(*trial))


@app.command("add")
def adapters_add(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="A finished adapter in PEFT layout, with its passport.")],
    by: By,
    note: str = "",
) -> None:
    """Take a trained adapter in as a candidate. It speaks to nobody yet."""
    with opened() as product:
        held = product.life.add(name, folder, by, note)
    out.print(f"{name} {held.digest} is a candidate.", soft_wrap=True)


@app.command("compare")
def adapters_compare(name: Name, digest: Digest, as_json: Json = False) -> None:
    """Let a candidate and the current adapter sit the same exam, and weigh them."""
    with opened() as product, progress() as update:
        found = product.life.compare(name, digest, update)
    _show(found, as_json=as_json)
    raise typer.Exit(FAILED if found.missed else 0)


@app.command("promote")
def adapters_promote(
    name: Name,
    digest: Digest,
    by: By,
    canary: Annotated[
        int | None,
        typer.Option(help="Only in this percentage of the conversations, beside the current one.", min=1, max=99),
    ] = None,
) -> None:
    """Let a candidate speak, if its exam allows it. A running server follows within seconds."""
    with opened() as product, progress() as update:
        found = product.life.promote(name, digest, by, update, share=canary / 100 if canary else None)
    _show(found, as_json=False)
    where = f" in {canary} % of the conversations" if canary else ""
    said = f"{escape(name)} speaks with {found.candidate.digest} now{where}"
    out.print(f"[green]{said}[/], says {escape(by)}.", soft_wrap=True)


@app.command("stop")
def adapters_stop(name: Name, by: By, note: str = "") -> None:
    """Let the running canary speak no more. Loads no model; a running server follows within seconds."""
    digest = _shelf().stop(name, by, note)
    out.print(f"The canary {digest} of {name} is stopped.", soft_wrap=True)


@app.command("rollback")
def adapters_rollback(name: Name, by: By, note: str = "") -> None:
    """Let the adapter speak that spoke before. Loads no model; a running server follows within seconds."""
    digest = _shelf().rollback(name, by, note)
    out.print(f"{name} speaks with {digest} again.", soft_wrap=True)


@app.command("keygen")
def adapters_keygen(
    private: Annotated[Path, typer.Argument(help="File for the private key: keep it away from the server.")],
    public: Annotated[Path, typer.Argument(help="File for the public key: ASSISTANT_ADAPTER_KEY names it.")],
) -> None:
    """Make a pair of keys to sign adapters with."""
    from adapters.passport import new_keys

    new_keys(private, public)
    out.print(f"Sign with {private}; set ASSISTANT_ADAPTER_KEY={public} so that only signed adapters speak.")


@app.command("sign")
def adapters_sign(
    key: Annotated[Path, typer.Option(help="The private key that 'keygen' made.")],
    name: Name = "",
    digest: Digest = "",
    folder: Annotated[
        Path | None, typer.Option(help="A finished adapter that is not taken in yet; works on any machine.")
    ] = None,
) -> None:
    """Sign an adapter's passport: of one that is here, by name and digest, or of one in a folder, to be added then."""
    from adapters.passport import private_key
    from adapters.shelf import sign_folder

    if len({bool(name), bool(digest), folder is None}) > 1:
        raise typer.BadParameter("give NAME and DIGEST, or --folder alone")
    signed = sign_folder(folder, private_key(key)) if folder else _shelf().sign(name, digest, private_key(key)).digest
    out.print(f"{folder or name} {signed} is signed.", soft_wrap=True)


@app.command("gc")
def adapters_gc(
    by: By, keep: Annotated[int, typer.Option(help="Retired ones to keep for each name.", min=0)] = 2
) -> None:
    """Remove old retired adapters from disk; the record keeps their digests."""
    removed = _shelf().gc(by, keep)
    for one in removed:
        out.print(f"{one.name} {one.digest} was removed.", soft_wrap=True)
    if not removed:
        out.print("Nothing to remove.")


def _shelf() -> Shelf:
    """The shelf alone: these commands load no model."""
    from adapters.shelf import Shelf
    from assistant.app import SHIPPED_ADAPTERS

    return Shelf(settings().home / "adapters", (SHIPPED_ADAPTERS,))


def _trials(shelf: Shelf, names: set[str]) -> Iterator[tuple[Canary, tuple[Figures, Figures]]]:
    """Each name's last canary, with its figures and the current one's."""
    from assistant.store import Store
    from assistant.traffic import figures

    found = [canary for name in sorted(names) if (canary := shelf.canary(name))]
    if found:
        state = Store(settings().database_url)
        yield from [(canary, figures(state, canary)) for canary in found]
        state.close()


def _traffic(canary: Canary, both: tuple[Figures, Figures]) -> Table:
    from assistant.traffic import COUNTED, counted

    title = f"Canary of {canary.name}: {canary.share:.0%} of the conversations from {canary.since} until "
    who = (f"{one.digest[:16]} ({role})" for one, role in zip(both, ("canary", "current"), strict=True))
    table = Table("turns", *who, title=title + (canary.until or "now"), title_justify="left")
    for key, label in COUNTED.items():
        table.add_row(label, *(counted(one, key) for one in both))
    return table


def _show(found: Comparison, *, as_json: bool) -> None:
    if as_json:
        rows = [asdict(verdict) for verdict in found.verdicts]
        digests = {"candidate": found.candidate.digest, "current": found.current.digest}
        verdict = {"passed": not found.missed, "demands": rows, "failed_policies": found.failed_policies}
        sys.stdout.write(json.dumps(digests | verdict) + "\n")
        return
    title = f"{found.candidate.digest[:16]} (candidate) against {found.current.digest[:16]} (current)"
    table = Table("metric", "candidate", "current", "needed", "", title=title, title_justify="left")
    for one in found.verdicts:
        shown = ["-" if value is None else f"{value:.3f}" for value in (one.candidate, one.current)]
        table.add_row(one.metric, *shown, one.needed, "[green]met[/]" if one.passed else "[red]missed[/]")
    out.print(table)
    for failed in found.failed_policies:
        out.print(f"[red]policy[/] {escape(failed)}", soft_wrap=True)
