"""``assistant evaluate``: one command for every number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands import understanding
from assistant.commands.console import Json, opened, out, progress

app = typer.Typer(no_args_is_help=True, help="Measure the product, on its own exams or on your data.")
app.registered_commands += understanding.app.registered_commands


@app.command("golden")
def evaluate_golden(
    domain: Annotated[str, typer.Option("--domain", "-d", help="Which pack sits its exam.")],
    adapter: Annotated[str | None, typer.Option(help="'none' examines the bare base model.")] = None,
    data: Annotated[Path | None, typer.Option(help="Another exam in the format of golden.jsonl.")] = None,
    as_json: Json = False,
) -> None:
    """Sit a pack's exam through the same turn that users get."""
    from assistant.evaluation import report

    changes: dict[str, object] = {"adapters": False} if adapter == "none" else {}
    with opened(changes) as product, progress() as update:
        result = report.golden(product, domain, data, lambda done, total: update(f"Exam of {domain}", done, total))
    show.report(None if as_json else out, result)


@app.command("speed")
def evaluate_speed(as_json: Json = False) -> None:
    """Measure cold start, time to first token, tokens a second and peak memory on this machine."""
    from assistant.evaluation import speed

    with opened() as product, progress() as update:
        result = speed.speed(product, lambda done, total: update("Measuring speed", done, total))
    show.report(None if as_json else out, result)
