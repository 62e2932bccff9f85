"""``assistant domains``: list, check, add and remove packs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import FAILED, opened, out, progress

app = typer.Typer(no_args_is_help=True, help="List, check, add and remove domain packs.")


@app.command("list")
def domains_list() -> None:
    """Show every pack: version, passages, adapter, and those that were refused."""
    with opened() as product:
        show.domains(out, product.packs.live(), product.packs.problems())


@app.command("check")
def domains_check(
    path: Annotated[Path, typer.Argument(help="A pack's folder.")],
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Its hooks.py may be imported.")] = False,
    exam: Annotated[bool, typer.Option("--exam", help="Also ask what it must refuse, escalate and answer.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the exam's results here as JUnit XML.")] = None,
) -> None:
    """Read a pack and say what is wrong with it, without adding it. Exit code 1 when its exam has failures."""
    from domains.pack import load as load_pack

    if exam or junit:
        _exam(path, trust_code, junit)
    else:
        show.pack(out, load_pack(path, trust_code=trust_code))


@app.command("add")
def domains_add(
    path: Annotated[Path, typer.Argument(help="A pack's folder, or a zip of one.")],
    trust_code: Annotated[bool, typer.Option("--trust-code", help="You read its hooks.py and trust it.")] = False,
) -> None:
    """Check, index and add a pack. A running server takes it up within seconds."""
    with opened() as product:
        domain = product.packs.add(path, trust_code=trust_code).domain
        show.pack(out, domain)
        if kept := product.knowledge.entries(domain.name):
            out.print(f"{len(kept)} documents were added to {domain.name} before, and answer beside its articles.")


@app.command("remove")
def domains_remove(
    name: str,
    documents: Annotated[bool, typer.Option("--documents", help="Also delete the documents that were added.")] = False,
) -> None:
    """Forget a pack that was added. Its folder stays, and so do the documents that were added beside its articles."""
    with opened() as product:
        product.packs.remove(name)
        out.print(f"{name} was removed.")
        kept = product.knowledge.entries(name) if name in product.knowledge.domains() else []
        for entry in kept if documents else ():
            show.receipt(out, product.knowledge.remove(name, entry.id))
        if kept and not documents:
            out.print(
                f"{len(kept)} of its documents stay, and answer again beside the next pack named {name}: "
                f"'assistant index list -d {name}' shows them, 'assistant index remove' deletes one."
            )


def _exam(path: Path, trust_code: bool, junit: Path | None) -> None:
    from assistant.evaluation import policy

    with opened() as product, progress() as update:
        results = policy.examine(
            product, path, trust_code=trust_code, progress=lambda done, total: update("Policy exam", done, total)
        )
    if junit:
        junit.write_text(policy.junit(path.resolve().name, results), encoding="utf-8")
    show.exam(out, [one.graded for one in results])
    raise typer.Exit(FAILED if any(not one.graded.passed for one in results) else 0)
