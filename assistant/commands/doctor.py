"""``assistant doctor``: is this machine fit to serve?"""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import FAILED, Json, err, opened, out, settings

app = typer.Typer()


@app.command()
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what needs the models loaded.")] = False,
    as_json: Json = False,
) -> None:
    """Examine machine, disk, models, state, packs, adapters and engine. Exit code 1 when something fails."""
    from assistant import doctor as practice

    began = time.perf_counter()
    with err.status("Examining"):
        found = list(practice.examine(settings(), None if quick else opened))
    result = practice.report(found, time.perf_counter() - began)
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    else:
        show.examination(out, found)
    raise typer.Exit(0 if result["fit"] else FAILED)
