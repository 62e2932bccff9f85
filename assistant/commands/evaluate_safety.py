"""``assistant evaluate injection``, ``safety``, ``crisis``, ``pii``, ``grounding``: the filters on a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import DomainName, Json, opened, out, progress

app = typer.Typer()
Data = Annotated[Path, typer.Option("--data", help="JSON Lines; `assistant evaluate NAME --help` says which keys.")]


@app.command("injection")
def evaluate_injection(data: Data, as_json: Json = False) -> None:
    """Attacks that are seen, and honest texts taken for one: {"text", "label": "injection" | "benign"}."""
    from assistant.evaluation.injection import injection

    with opened() as product, progress() as update:
        result = injection(product, data, lambda done, total: update("Screening", done, total))
    show.report(None if as_json else out, result)


@app.command("safety")
def evaluate_safety(data: Data, domain: DomainName = None, as_json: Json = False) -> None:
    """Harmful requests refused, and honest ones, by whole turns: {"text", "label": "safe" | "unsafe"}."""
    from assistant.evaluation.safety import safety

    with opened() as product, progress() as update:
        show.check_domain(domain, product.packs.enabled())
        result = safety(product, data, domain, lambda done, total: update("Asking", done, total))
    show.report(None if as_json else out, result)


@app.command("crisis")
def evaluate_crisis(data: Data, as_json: Json = False) -> None:
    """People in danger who are noticed, and false alarms: {"text", "label": "crisis" | "ordinary"}."""
    from assistant.evaluation.crisis import crisis

    with opened() as product, progress() as update:
        result = crisis(product, data, lambda done, total: update("Screening", done, total))
    show.report(None if as_json else out, result)


@app.command("pii")
def evaluate_pii(data: Data, as_json: Json = False) -> None:
    """Personal data that is found: {"text", "spans": [{"start", "end", "type"}]}."""
    from assistant.evaluation.pii import pii

    with progress() as update:
        result = pii(data, lambda done, total: update("Looking", done, total))
    show.report(None if as_json else out, result)


@app.command("grounding")
def evaluate_grounding(data: Data, as_json: Json = False) -> None:
    """Unsupported answers that are seen: {"question", "context", "answer", "label", "spans"}."""
    from assistant.evaluation.grounding import grounding

    with opened() as product, progress() as update:
        result = grounding(product, data, lambda done, total: update("Judging", done, total))
    show.report(None if as_json else out, result)
