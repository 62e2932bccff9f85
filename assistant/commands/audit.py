"""``assistant audit``: the safety review before deployment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import FAILED, Json, opened, out, progress

app = typer.Typer()


@app.command()
def audit(
    report: Annotated[Path | None, typer.Option(help="Write the review here as one HTML page.")] = None,
    as_json: Json = False,
) -> None:
    """Attack the product, plant personal data, check digests and settings. Exit code 1 when anything fails."""
    from assistant import audit as review

    with opened() as product, progress() as update:
        result = review.audit(product, update)
    if report:
        report.write_text(review.html(result), encoding="utf-8")
    if as_json:
        sys.stdout.write(json.dumps(result.json(), ensure_ascii=False) + "\n")
    else:
        show.audit(out, result)
    raise typer.Exit(0 if result.passed else FAILED)
