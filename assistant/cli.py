"""The ``assistant`` command. Parses, calls, prints; decides nothing itself."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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

from assistant import show
from assistant.settings import Settings, load

if TYPE_CHECKING:
    from assistant.app import App

USAGE, FAILED, NOT_ANSWERED = 2, 1, 3  # exit codes beside 0

app = typer.Typer(
    name="assistant",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="A self-hosted assistant that says only what its sources support.\n\n"
    "First run: `assistant models pull`, then `assistant serve`.\n\n"
    "Settings come from environment variables (`ASSISTANT_HOME`, `ASSISTANT_PORT`, …) or `assistant.toml`.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 asked and not answered.",
)
models_app = typer.Typer(no_args_is_help=True, help="Fetch, list and verify the default models.")
domains_app = typer.Typer(no_args_is_help=True, help="List, check, add and remove domain packs.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure the product, on its own exams or on your data.")
train_app = typer.Typer(no_args_is_help=True, help="Train a domain's adapter, or the evidence head.")
users_app = typer.Typer(no_args_is_help=True, help="Create accounts and change passwords.")
app.add_typer(models_app, name="models")
app.add_typer(domains_app, name="domains")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(train_app, name="train")
app.add_typer(users_app, name="users")

err = Console(stderr=True)
out = Console()
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
DomainName = Annotated[str | None, typer.Option("--domain", "-d", help="Ask this pack; without it the router chooses.")]


def main() -> None:
    """Run the command line; every known failure is one sentence and an exit code."""
    _quiet()
    try:
        app()
    except KeyboardInterrupt:
        err.print("\nStopped. Nothing was lost.")
        raise SystemExit(130) from None
    except Exception as error:
        if not show.is_known(error):
            raise
        err.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(USAGE if show.is_input(error) else FAILED) from error


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the web app.", min=1, max=65535)] = None,
) -> None:
    """Start the web app. The first start creates an administrator and prints a one-time password."""
    from ui.web import serve as run

    changes: dict[str, object] = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    with opened(changes) as product:
        product.packs.watch()
        if password := product.users.create_first():
            show.first_password(out, password)
        run(product, lambda address: out.print(f"Ready at [bold]{address}[/]. Ctrl-C stops it."))


@app.command()
def chat(domain: DomainName = None) -> None:
    """Talk in the terminal. An empty line or Ctrl-D ends it; nothing is stored."""
    with opened() as product:
        show.conversation(out, product.parts, domain)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from standard input.")],
    domain: DomainName = None,
    as_json: Json = False,
) -> None:
    """Ask one question. Exit code 0 when it was answered, 3 when it was not."""
    text = sys.stdin.read() if question == "-" else question
    show.check_question(text)
    with opened() as product:
        show.check_domain(domain, product.packs.enabled())
        turn = show.ask(None if as_json else out, product.parts(), text, domain)
    if as_json:
        show.print_json(turn)
    raise typer.Exit(0 if turn.outcome == "answered" else NOT_ANSWERED)


@app.command()
def index() -> None:
    """Build the index of every pack that needs one, and show what is indexed."""
    with opened() as product:
        show.indexes(out, product.packs.live(), product.packs.problems())
        if product.packs.problems():
            raise typer.Exit(FAILED)


@models_app.command("pull")
def models_pull() -> None:
    """Fetch the default models (about 230 MB), check their digests, and convert them once. Resumes after a cut."""
    from assistant import models

    with _progress(DownloadColumn()) as update:
        found = models.pull(settings().models_dir, update)
    for one in found:
        out.print(f"{one.model.name}: {one.folder}", soft_wrap=True)


@models_app.command("list")
def models_list() -> None:
    """Show the default models, and whether they are here."""
    from assistant import models

    show.models(out, models.DEFAULTS, models.installed(settings().models_dir), settings().models_dir)


@models_app.command("verify")
def models_verify() -> None:
    """Compute the digest of every model file again, and compare."""
    from assistant import models

    for one in models.verify(settings().models_dir):
        out.print(f"[green]ok[/] {one.model.name} ({one.folder})", soft_wrap=True)


@domains_app.command("list")
def domains_list() -> None:
    """Show every pack: version, passages, adapter, and those that were refused."""
    with opened() as product:
        show.domains(out, product.packs.live(), product.packs.problems())


@domains_app.command("check")
def domains_check(
    path: Annotated[Path, typer.Argument(help="A pack's folder.")],
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Its hooks.py may be imported.")] = False,
) -> None:
    """Read a pack and say what is wrong with it, without adding it."""
    from domains.pack import load as load_pack

    show.pack(out, load_pack(path, trust_code=trust_code))


@domains_app.command("add")
def domains_add(
    path: Annotated[Path, typer.Argument(help="A pack's folder, or a zip of one.")],
    trust_code: Annotated[bool, typer.Option("--trust-code", help="You read its hooks.py and trust it.")] = False,
) -> None:
    """Check, index and add a pack. A running server takes it up within seconds."""
    with opened() as product:
        show.pack(out, product.packs.add(path, trust_code=trust_code).domain)


@domains_app.command("remove")
def domains_remove(name: str) -> None:
    """Forget a pack that was added. Its folder stays."""
    with opened() as product:
        product.packs.remove(name)
        out.print(f"{name} was removed.")


@users_app.command("add")
def users_add(
    name: str,
    role: Annotated[str, typer.Option(help="user, reviewer or admin")] = "user",
    password: Annotated[str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True)] = "",
) -> None:
    """Create an account. The password is asked for."""
    with show.accounts(settings()) as users:
        out.print(f"{users.add(name, password, show.role(role)).name} was created as {role}.")


@users_app.command("role")
def users_role(name: str, role: Annotated[str, typer.Argument(help="user, reviewer or admin")]) -> None:
    """Give an account another role."""
    with show.accounts(settings()) as users:
        users.set_role(name, show.role(role))
        out.print(f"{name} is {role} now.")


@users_app.command("remove")
def users_remove(
    name: str, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", prompt="Delete all their conversations?")]
) -> None:
    """Delete an account with its conversations. Decisions stay."""
    if yes:
        with show.accounts(settings()) as users:
            users.remove(name)
            out.print(f"{name} was removed.")


@users_app.command("list")
def users_list() -> None:
    """Show who may sign in."""
    with show.accounts(settings()) as users:
        for user in users.list():
            out.print(f"{user.name}  {user.role}")


@users_app.command("password")
def users_password(
    name: str,
    password: Annotated[str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True)] = "",
) -> None:
    """Set a new password, for yourself or for somebody who forgot theirs."""
    with show.accounts(settings()) as users:
        users.set_password(name, password)
        out.print(f"The password of {name} was changed.")


@evaluate_app.command("golden")
def evaluate_golden(
    domain: Annotated[str, typer.Option("--domain", "-d", help="Which pack sits its exam.")],
    adapter: Annotated[str | None, typer.Option(help="'none' examines the bare base model.")] = None,
    data: Annotated[Path | None, typer.Option(help="Another exam in the format of golden.jsonl.")] = None,
    as_json: Json = False,
) -> None:
    """Sit a pack's exam through the same turn that users get."""
    from assistant.evaluation import report

    changes: dict[str, object] = {"adapters": False} if adapter == "none" else {}
    with opened(changes) as product, _progress(MofNCompleteColumn()) as update:
        result = report.golden(product, domain, data, lambda done, total: update(f"Exam of {domain}", done, total))
    show.report(None if as_json else out, result)


@evaluate_app.command("speed")
def evaluate_speed(as_json: Json = False) -> None:
    """Measure cold start, time to first token, tokens a second and peak memory on this machine."""
    from assistant.evaluation import speed

    with opened() as product, _progress(MofNCompleteColumn()) as update:
        result = speed.speed(product, lambda done, total: update("Measuring speed", done, total))
    show.report(None if as_json else out, result)


@train_app.command("adapter")
def train_adapter(
    domain: Annotated[str, typer.Option("--domain", "-d", help="Whose lessons (training.jsonl) to learn.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new adapter; must not exist.")],
    minutes: Annotated[float, typer.Option(help="Stop after this long, keeping the best so far.", min=0.1)] = 20.0,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 3,
    layers: Annotated[int | None, typer.Option(help="Adapt only the upper so many layers; faster.", min=1)] = None,
    seed: int = 0,
) -> None:
    """Train a LoRA adapter on a pack's lessons over its own passages."""
    from adapters.train import Recipe
    from assistant import lessons

    recipe = Recipe(max_minutes=minutes, epochs=epochs, layers=layers, seed=seed)
    with opened({"adapters": False}) as product, _progress(MofNCompleteColumn()) as update:
        passport = lessons.train_adapter(product, domain, to, recipe, update)
    show.passport(out, to, passport)


@train_app.command("evidence")
def train_evidence(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the evidence gate of packs without lessons on those of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_evidence(product.packs.live(), product.parts().embedder.embed, to))


@train_app.command("ranking")
def train_ranking(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the judge that picks sentences on the lessons of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_ranking(product.packs.live(), product.parts().embedder.embed, to))


def settings(changes: dict[str, object] | None = None) -> Settings:
    """The settings with the command line's own on top."""
    loaded = load()
    return Settings.model_validate(loaded.model_dump() | changes) if changes else loaded


@contextmanager
def opened(changes: dict[str, object] | None = None) -> Iterator[App]:
    """The product, loaded with a word on each step, and closed in the end."""
    from assistant.app import build

    chosen = settings(changes)
    with err.status("Starting") as status, _progress(MofNCompleteColumn()) as update:
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
def _progress(amount: DownloadColumn | MofNCompleteColumn) -> Iterator[Callable[[str, int, int], None]]:
    with Progress(TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn(), console=err) as bar:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield update


def _quiet() -> None:
    """Keep libraries from talking into our output; what matters reaches the user as an error of ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore")
    logging.getLogger("alembic").setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
