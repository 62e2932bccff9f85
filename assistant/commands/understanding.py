"""``assistant evaluate intents``, ``sentiment`` and ``router``: how well questions are understood."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant import show
from assistant.commands.console import Json, err, opened, out, progress, settings
from assistant.settings import SettingsError

if TYPE_CHECKING:
    from assistant.classifier import Tune
    from retrieval.embedder import SentenceEmbedder

app = typer.Typer()
Train = Annotated[Path, typer.Option("--train", help="What to learn from: JSON lines with 'text' and 'label'.")]
Test = Annotated[Path, typer.Option("--test", help="What to measure on; nothing is chosen by it.")]
Dev = Annotated[Path | None, typer.Option("--dev", help="What to choose on; without it, a part of --train.")]
Oos = Annotated[Path | None, typer.Option(help="The same for texts that belong to no class.")]
Tuned = Annotated[
    bool | None,
    typer.Option("--tune/--no-tune", help="Fine-tune the encoder, too (minutes); by default where rows are many."),
]


class Heads(Enum):
    """The shipped heads for sentiment."""

    customers = "customers"
    market = "market"


@app.command("intents")
def evaluate_intents(
    train: Train,
    test: Test,
    dev: Dev = None,
    oos_train: Oos = None,
    oos_dev: Oos = None,
    oos_test: Oos = None,
    tune: Tuned = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Fit the default recipe on a file of intents, and measure it on another."""
    from assistant.evaluation import labels

    files = labels.Files(train, test, dev, oos_train, oos_dev, oos_test)
    embedder = _embedder()
    with progress() as update:
        result = labels.intents(embedder, files, _tune(embedder, train, tune, seed, update), seed)
    show.report(None if as_json else out, result)


@app.command("sentiment")
def evaluate_sentiment(
    train: Annotated[Path | None, typer.Option("--train", help="What to learn from.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="What to measure on.")] = None,
    dev: Dev = None,
    data: Annotated[Path | None, typer.Option("--data", help="Measure a shipped head on this file.")] = None,
    head: Annotated[
        Heads, typer.Option(help="… the one for what customers write, or for financial texts.")
    ] = Heads.customers,
    tune: Tuned = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Fit the default recipe on a file (--train, --test), or measure a shipped head on one (--data)."""
    from assistant.evaluation import labels

    if data is not None and train is None and test is None:
        with opened({"adapters": False}) as product:
            parts = product.parts()
            if head is Heads.market and parts.tone is None:
                raise SettingsError(
                    "no head for financial texts fits this embedding model; train one: assistant train heads "
                    f"--task sentiment --data FILE --to {settings().home / 'heads' / 'market'}"
                )
            result = labels.shipped(parts.embedder, parts.reader, data, parts.tone if head is Heads.market else None)
    elif data is None and train is not None and test is not None:
        embedder = _embedder()
        with progress() as update:
            fine = _tune(embedder, train, tune, seed, update)
            result = labels.trained("sentiment", embedder, labels.Files(train, test, dev), fine, seed)
    else:
        raise typer.BadParameter("give --train and --test, or --data alone")
    show.report(None if as_json else out, result)


@app.command("router")
def evaluate_router(
    data: Annotated[Path, typer.Option("--data", help="JSON lines with 'text' and 'label': a pack's name, or none.")],
    as_json: Json = False,
) -> None:
    """Measure where questions are sent: to which pack, to none, or back to the user."""
    from assistant.evaluation.router import router

    with opened({"adapters": False}) as product:
        result = router(product.parts(), data)
    show.report(None if as_json else out, result)


@app.command("latency")
def evaluate_latency(as_json: Json = False) -> None:
    """Measure on one core how long a question takes to be understood, beside BERT-base's size and counted words."""
    from assistant.evaluation.latency import latency
    from assistant.packs import SHIPPED
    from domains.pack import MANIFEST, load

    packs = [load(path.parent, trust_code=True) for path in sorted(SHIPPED.glob(f"*/{MANIFEST}"))]
    show.report(None if as_json else out, latency(_embedder(), packs))


def _embedder() -> SentenceEmbedder:
    from assistant.app import embedder

    with err.status("Loading the embedding model"):
        return embedder(settings())


def _tune(
    embedder: SentenceEmbedder, train: Path, wanted: bool | None, seed: int, update: Callable[[str, int, int], None]
) -> Tune | None:
    from assistant.classifier import worth_tuning
    from assistant.dataset import read
    from assistant.heads_training import tuner

    if wanted is None:
        wanted = worth_tuning(read(train))
    return tuner(embedder, seed, update) if wanted else None
