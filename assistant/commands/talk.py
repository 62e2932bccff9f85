"""``assistant serve``, ``chat`` and ``ask``: talk to the product."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import NOT_ANSWERED, DomainName, Json, err, opened, out

app = typer.Typer()
Groups = Annotated[list[str] | None, typer.Option("--group", help="Read documents of this group too; repeat for more.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the web app.", min=1, max=65535)] = None,
    certfile: Annotated[
        Path | None, typer.Option(help="TLS certificate (PEM): the web app is https.", exists=True, dir_okay=False)
    ] = None,
    keyfile: Annotated[
        Path | None, typer.Option(help="Its private key, if in another file.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Start the web app. The first start creates an administrator and prints a one-time password."""
    from ui.web import only_here
    from ui.web import serve as run

    if keyfile and not certfile:
        raise typer.BadParameter("found --keyfile without a certificate; add --certfile")
    changes: dict[str, object] = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    with opened(changes) as product:
        product.chats.recover()
        product.packs.watch()
        product.life.watch()
        product.exams.follow()
        if password := product.users.create_first():
            show.first_password(out, password)
        if not certfile and not only_here(product.settings.host):
            err.print(
                "[yellow]Not encrypted:[/] other machines may connect over plain HTTP, and passwords can be read on "
                "the way; add --certfile and --keyfile, or put a proxy in front that speaks TLS.",
                soft_wrap=True,
            )
        run(product, lambda address: out.print(f"Ready at [bold]{address}[/]. Ctrl-C stops it."), certfile, keyfile)


@app.command()
def chat(domain: DomainName = None, group: Groups = None) -> None:
    """Talk in the terminal. An empty line or Ctrl-D ends it; nothing is stored."""
    with opened() as product:
        show.conversation(out, product.parts, domain, group or ())


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from standard input.")],
    domain: DomainName = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Ask one question. Exit code 0 when it was answered, 3 when it was not."""
    text = sys.stdin.read() if question == "-" else question
    show.check_question(text)
    with opened() as product:
        show.check_domain(domain, product.packs.enabled())
        turn = show.ask(None if as_json else out, product.parts(), text, domain, group or ())
    if as_json:
        show.print_json(turn)
    raise typer.Exit(0 if turn.outcome == "answered" else NOT_ANSWERED)
