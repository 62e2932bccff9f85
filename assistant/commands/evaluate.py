"""``assistant evaluate``: one command for every number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands import understanding
from assistant.commands.console import Json, opened, out, progress, settings

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


@app.command("retrieval")
def evaluate_retrieval(
    beir: Annotated[Path, typer.Option(help="A folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv.")],
    split: Annotated[str, typer.Option(help="Which judgements.")] = "test",
    queries: Annotated[Path | None, typer.Option(help="Other queries.")] = None,
    qrels: Annotated[Path | None, typer.Option(help="Other judgements.")] = None,
    as_json: Json = False,
) -> None:
    """Measure search by words, by meaning and by both on any folder in BEIR layout. Embeds its corpus once."""
    import time

    from assistant.app import embedder
    from assistant.evaluation import retrieval

    started = time.perf_counter()
    data = retrieval.load(beir, split, queries, qrels)
    chosen = settings()
    model = embedder(chosen)
    with progress() as update:
        metrics = retrieval.measure(
            data, model, chosen.home / "benchmarks", lambda done, total: update("Embedding the corpus", done, total)
        )
    result = retrieval.report(beir, split, data, metrics, time.perf_counter() - started, model.fingerprint)
    if as_json:
        show.report(None, result)
    else:
        for name, values in metrics.items():
            show.report(out, result | {"task": f"retrieval, {name}", "metrics": dict(values)})


@app.command("search")
def evaluate_search(
    passages: Annotated[list[int] | None, typer.Option(help="Passages in the index; repeat for more sizes.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve into this .svg or .png; needs the extra train.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure building and searching as an index grows, on made-up passages, beside FAISS alone in the same run."""
    from assistant.app import embedder
    from assistant.evaluation import search

    with progress() as update:
        result = search.search(passages or [10_000, 100_000], embedder(settings()), update, plot)
    show.report(None if as_json else out, result)


@app.command("speed")
def evaluate_speed(
    against_peft: Annotated[bool, typer.Option(help="Measure the batch against peft, too; takes minutes.")] = False,
    requests: Annotated[int, typer.Option(help="Requests at once against peft.", min=1, max=64)] = 8,
    rounds: Annotated[int, typer.Option(help="Times that each is measured against peft.", min=1)] = 3,
    as_json: Json = False,
) -> None:
    """Measure cold start, time to first token, tokens a second and peak memory on this machine."""
    from adapters.bench import Bench
    from assistant.evaluation import speed

    with opened() as product, progress() as update:
        result = speed.speed(product, lambda done, total: update("Measuring speed", done, total))
        if against_peft:
            result["metrics"] |= speed.against_peft(product, update, Bench(requests=requests, rounds=rounds))
    show.report(None if as_json else out, result)
