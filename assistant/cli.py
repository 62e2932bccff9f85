"""The ``assistant`` command: joins the groups in ``assistant.commands``, and turns failures into one sentence."""

from __future__ import annotations

import logging
import os
import warnings

import typer
from rich.markup import escape

from assistant import show
from assistant.commands import (
    adapters,
    audit,
    data,
    doctor,
    domains,
    evaluate,
    evaluate_safety,
    index,
    label,
    models,
    talk,
    train,
    train_guards,
    users,
)
from assistant.commands.console import FAILED, USAGE, err

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
for group in (talk, label, audit, doctor):
    app.registered_commands += group.app.registered_commands
evaluate.app.registered_commands += evaluate_safety.app.registered_commands
train.app.registered_commands += train_guards.app.registered_commands
app.add_typer(index.app, name="index")
app.add_typer(models.app, name="models")
app.add_typer(domains.app, name="domains")
app.add_typer(data.app, name="data")
app.add_typer(adapters.app, name="adapters")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(train.app, name="train")
app.add_typer(users.app, name="users")


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
