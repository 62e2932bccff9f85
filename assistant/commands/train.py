"""``assistant train``: adapters and heads."""

from __future__ import annotations

import getpass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import opened, out, progress, settings


class Method(Enum):
    """See ``adapters.methods``, which is slow to import."""

    lora = "lora"
    rslora = "rslora"
    dora = "dora"


class Schedule(Enum):
    """See ``adapters.train``."""

    cosine = "cosine"
    linear = "linear"
    constant = "constant"


app = typer.Typer(no_args_is_help=True, help="Train a domain's adapter, or a head.")


@app.command("adapter")
def train_adapter(
    domain: Annotated[str, typer.Option("--domain", "-d", help="Whose lessons (training.jsonl) to learn.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new adapter; a killed run goes on there.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Also learn from JSON lines with 'messages', each of a role and content.")
    ] = None,
    own: Annotated[bool, typer.Option("--lessons/--no-lessons", help="Learn the pack's own lessons.")] = True,
    method: Annotated[Method, typer.Option(help="dora is trained and measured, and not served.")] = Method.lora,
    init_from: Annotated[Path | None, typer.Option(help="Folder of an adapter to begin with: transfer.")] = None,
    rank: Annotated[int, typer.Option(min=1, max=256)] = 8,
    alpha: Annotated[int | None, typer.Option(help="Scale of the weights; else twice the rank.", min=1)] = None,
    minutes: Annotated[float, typer.Option(help="Stop after this long, keeping the best so far.", min=0.1)] = 20.0,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 3,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without improvement.", min=1)] = 1,
    validation: Annotated[float, typer.Option(help="Share of the examples to judge by.", min=0.01, max=0.5)] = 0.1,
    batch: Annotated[int, typer.Option(help="Examples at once: more need more memory.", min=1)] = 4,
    accumulate: Annotated[int, typer.Option(help="Batches per step of the optimizer.", min=1)] = 2,
    layers: Annotated[int | None, typer.Option(help="Adapt only the upper so many layers; faster.", min=1)] = None,
    schedule: Annotated[Schedule, typer.Option(help="How the learning rate falls.")] = Schedule.cosine,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 5e-4,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps in which the rate rises first.", min=0.0, max=1.0)
    ] = 0.05,
    weight_decay: Annotated[float, typer.Option(min=0.0)] = 0.0,
    dropout: Annotated[float, typer.Option(help="Share of a layer's inputs left out.", min=0.0, max=0.9)] = 0.05,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target spread out.", min=0.0, max=0.9)] = 0.0,
    adversarial: Annotated[float, typer.Option(help="Norm of FGM's push on embeddings; 0 is off.", min=0.0)] = 0.0,
    candidate: Annotated[bool, typer.Option(help="Take it in as a candidate: see 'assistant adapters'.")] = True,
    seed: int = 0,
) -> None:
    """Train an adapter on a pack's lessons over its own passages; it becomes a candidate and speaks to nobody yet."""
    if not (own or data):
        raise typer.BadParameter("--no-lessons leaves nothing to learn from; give --data too")
    from adapters.methods import SERVED
    from adapters.recipe import Recipe
    from adapters.train import check
    from assistant import lessons

    check(to)
    more = [taught for path in data or () for taught in lessons.read_chats(path)]
    recipe = Recipe(
        method=method.value,
        rank=rank,
        alpha=alpha or 2 * rank,
        dropout=dropout,
        layers=layers,
        epochs=epochs,
        batch=batch,
        accumulate=accumulate,
        learning_rate=learning_rate,
        schedule=schedule.value,
        warmup=warmup,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        adversarial=adversarial,
        validation=validation,
        patience=patience,
        max_minutes=minutes,
        seed=seed,
    )
    with opened({"adapters": False}) as product, progress() as update:
        passport = lessons.train_adapter(product, domain, to, recipe, update, init_from, more, own)
        if candidate and method.value in SERVED:
            name = next(one.domain.manifest.adapter for one in product.packs.live() if one.domain.name == domain)
            learned = ([f"{domain}'s lessons"] if own else []) + [path.name for path in data or ()]
            product.life.add(name or domain, to, getpass.getuser(), f"trained from {' and '.join(learned)}")
    show.passport(out, to, passport)
    if method.value not in SERVED:
        out.print(f"[yellow]{method.value} is not served[/]: it scales the base weights, which all adapters share.")


@app.command("preferences")
def train_preferences(
    data: Annotated[Path, typer.Option(help="JSONL: prompt (messages), chosen, rejected.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new adapter; a killed run goes on there.")],
    init_from: Annotated[
        Path | None,
        typer.Option(help="Folder of the adapter to begin with; method, rank, alpha and layers are its own."),
    ] = None,
    beta: Annotated[
        float, typer.Option(help="How dearly a step away from the beginning is paid for.", min=0.001)
    ] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 1,
    layers: Annotated[
        int | None, typer.Option(help="Adapt only the upper so many layers, without --init-from.", min=1)
    ] = None,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 5e-5,
    minutes: Annotated[float, typer.Option(help="Stop after this long, keeping the best so far.", min=0.1)] = 20.0,
    seed: int = 0,
) -> None:
    """Train an adapter to prefer better answers over worse ones (DPO). Take it in with 'assistant adapters add'."""
    from adapters.recipe import Recipe
    from adapters.train import check
    from assistant import lessons

    check(to)
    triples = lessons.read_triples(data)
    recipe = Recipe(epochs=epochs, layers=layers, learning_rate=learning_rate, max_minutes=minutes, seed=seed)
    with opened({"adapters": False}) as product, progress() as update:
        passport = lessons.train_preferences(product, triples, to, recipe, beta, update, init_from)
    show.passport(out, to, passport)


@app.command("heads")
def train_heads(
    task: Annotated[str, typer.Option(help="intents, sentiment or router: what the labels are.")],
    data: Annotated[Path, typer.Option("--data", help="What to learn from: JSON lines with 'text' and 'label'.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new head; must not exist.")],
    dev: Annotated[Path | None, typer.Option(help="What to stop and calibrate on; else a tenth of --data.")] = None,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 4,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    accumulate: Annotated[int, typer.Option(help="Batches per step of the optimizer.", min=1)] = 1,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 3e-4,
    adversarial: Annotated[float, typer.Option(help="Length of FGM's step; 0 switches it off.", min=0.0)] = 0.0,
    layers: Annotated[int, typer.Option(help="Tune only the upper so many layers.", min=1)] = 3,
    rank: Annotated[int, typer.Option(help="Rank of LoRA on them; 0 tunes them whole.", min=0)] = 0,
    search: Annotated[bool, typer.Option("--search", help="Try learning rates and batch sizes first.")] = False,
    attribution: Annotated[
        str | None, typer.Option(help="Whose data it is, under which licence; for the card.")
    ] = None,
    seed: int = 0,
) -> None:
    """Fine-tune the shared encoder's upper layers on labelled texts: a head of a few megabytes, with a card."""
    from assistant.app import embedder
    from assistant.heads_training import train_head
    from retrieval.encoder import Shape
    from retrieval.finetune import Recipe

    recipe = Recipe(
        Shape(layers, rank), epochs, batch, accumulate, learning_rate, adversarial=adversarial, seed=seed
    )  # fmt: skip
    with progress() as update:
        card = train_head(
            embedder(settings()), show.task(task), data, dev, to, recipe,
            search=search, attribution=attribution, progress=update,
        )  # fmt: skip
    show.card(out, card)


@app.command("evidence")
def train_evidence(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the evidence gate of packs without lessons on those of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_evidence(product.packs.live(), product.parts().embedder.embed, to))


@app.command("ranking")
def train_ranking(
    to: Annotated[Path, typer.Option("--to", help="Where the JSON card is written.")],
) -> None:
    """Fit the judge that picks sentences on the lessons of all live packs, and report it on packs left out."""
    from assistant import lessons

    with opened({"adapters": False}) as product:
        show.card(out, lessons.train_ranking(product.packs.live(), product.parts().embedder.embed, to))


@app.command("cross-encoder")
def train_cross_encoder(
    heads: Annotated[Path, typer.Option("--heads", help="Folder with ranking.json and evidence.json, written to.")],
    answered: Annotated[
        list[Path] | None, typer.Option(help="Also learn from JSON lines with 'question', 'answer' and 'focus'.")
    ] = None,
    init_from: Annotated[bool, typer.Option("--go-on", help="Go on from the one in the folder.")] = False,
    last: Annotated[
        int | None,
        typer.Option(help="Learn from so many lessons at the end of each pack's, and as many others.", min=1),
    ] = None,
    weigh_only: Annotated[bool, typer.Option("--weigh-only", help="Keep it, and weigh its word anew.")] = False,
    epochs: Annotated[int, typer.Option(min=1, max=20)] = 2,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 1e-4,
    rank: Annotated[int, typer.Option(help="Of the differences that are kept.", min=1)] = 32,
    steps: Annotated[int, typer.Option(help="Stop after so many.", min=1)] = 100_000,
    seed: int = 0,
) -> None:
    """Train what reads question and sentence together on the lessons of all live packs, and weigh its word.

    A fifth of the lessons is kept from it; on those the judge of sentences and the evidence gate learn to listen to it.
    """
    from assistant import weighing
    from assistant.app import embedder
    from retrieval.cross_training import Recipe

    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, rank=rank, most=steps, seed=seed)
    with opened({"adapters": False}) as product, progress() as update:
        card = weighing.renew(
            product.packs.live(), embedder(settings()), heads, answered or [], None if weigh_only else recipe,
            go_on=init_from, last=last, progress=update,
        )  # fmt: skip
    show.card(out, card)
