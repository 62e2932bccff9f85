"""Says whether this machine is fit to serve, what will speak on it, and what to do about what is wrong."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal

from adapters.chat import Engine, Message, Sampling
from adapters.engine import TorchEngine
from assistant import models
from assistant.app import App
from assistant.packs import Packs
from assistant.settings import Settings
from assistant.store import Store
from assistant.users import Users
from assistant.wheels import ModelsError

State = Literal["ok", "note", "fails"]
Open = Callable[[], AbstractContextManager[App]]
GIGABYTE, MEGABYTE = 1e9, 1e6
MEMORY = 4.0  # GB that models, three packs and the web app take together, with room for a few users
FREE, TIGHT = 1.0, 5.0  # GB on the disk: less than the first fails, than the second is worth a note
EXTRAS = {"ocr": "rapidocr", "postgres": "pgvector", "train": "tensorboard"}  # and a module that each brings
SLOW = 5.0  # tokens a second under which an answer takes longer than people wait
TOKENS, ROUNDS = 32, 3
PROMPT = [Message("user", "Say in a few sentences what a return label is.")]


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine(settings: Settings, opened: Open | None) -> Iterator[Symptom]:
    """Look at machine, disk, models and state; with ``opened`` also at what runs once the product is open.

    Args:
        settings: the operator's.
        opened: opens the product and closes it in the end; None leaves out packs, adapters and speed.
    """
    yield _machine()
    yield _disk(settings)
    yield _models(settings)
    yield _extras()
    yield _state(settings)
    if opened is None:
        return
    with ExitStack() as stack:
        try:
            app = stack.enter_context(opened())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the operator has to read
            yield Symptom("opening", "fails", f"{type(error).__name__}: {error}", "do what the message says")
            return
        yield from _packs(app)
        yield _adapters(app.packs, app.engine)
        yield _engine(app)


def report(found: list[Symptom], seconds: float) -> dict[str, Any]:
    """The examination in the form that ``--json`` prints."""
    return {
        "task": "doctor",
        "seconds": round(seconds, 2),
        "fit": all(one.state != "fails" for one in found),
        "checks": [asdict(one) for one in found],
    }


def _machine() -> Symptom:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    said = f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"
    if memory < MEMORY:
        return Symptom("machine", "note", said, f"{MEMORY:.0f} GB are needed; lower 'concurrency' or add memory")
    return Symptom("machine", "ok", said)


def _disk(settings: Settings) -> Symptom:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GIGABYTE
    said = f"{free:.1f} GB free for {settings.home}"
    if not os.access(place, os.W_OK):
        return Symptom("disk", "fails", f"{place} cannot be written to", "set ASSISTANT_HOME to a folder of yours")
    if free < FREE:
        return Symptom("disk", "fails", said, f"free at least {FREE:.0f} GB, or set ASSISTANT_HOME elsewhere")
    return Symptom("disk", "note" if free < TIGHT else "ok", said, "indexes and logs grow" if free < TIGHT else "")


def _models(settings: Settings) -> Symptom:
    own = [f"{name} = {value}" for name in ("chat_model", "embedder") if (value := getattr(settings, name))]
    wanted = [
        model
        for model, other in ((models.CHAT, settings.chat_model), (models.EMBEDDER, settings.embedder))
        if not other
    ]
    try:
        whole = models.verify(settings.models_dir, wanted) if wanted else []
    except ModelsError as error:
        return Symptom("models", "fails", str(error), "run 'assistant models pull'")
    return Symptom("models", "ok", ", ".join([*(f"{one.model.name}: every digest fits" for one in whole), *own]))


def _extras() -> Symptom:
    here = [name for name, module in EXTRAS.items() if find_spec(module)]
    missing = [name for name in EXTRAS if name not in here]
    advice = f"pip install 'domain-assistant[{','.join(missing)}]' if you want them" if missing else ""
    return Symptom("extras", "ok", f"installed: {', '.join(here) or 'none'}", advice)


def _state(settings: Settings) -> Symptom:
    if not settings.database and not (settings.home / "state.db").exists():
        return Symptom("state", "note", "no accounts yet", "'assistant serve' makes the first and prints its password")
    try:
        state = Store(settings.database_url)
    except Exception as error:  # noqa: BLE001 - as above
        return Symptom("state", "fails", f"{type(error).__name__}: {error}", "check ASSISTANT_DATABASE and its rights")
    try:
        accounts = Users(state).list()
    finally:
        state.close()
    admins = sum(one.role == "admin" for one in accounts)
    said = f"{len(accounts)} accounts, {admins} of them administrators"
    return Symptom("state", "ok" if admins or not accounts else "note", said)


def _packs(app: App) -> Iterator[Symptom]:
    for pack in app.packs.live():
        yield Symptom(
            f"pack {pack.domain.name}", "ok", f"{pack.passages} passages, {len(pack.domain.golden)} exam questions"
        )
    for problem in app.packs.problems():
        yield Symptom("pack", "fails", problem.reason, "mend the file it names; the others serve meanwhile")


def _adapters(packs: Packs, engine: Engine) -> Symptom:
    spoken = {pack.domain.name: adapter for pack in packs.live() if (adapter := pack.adapter)}
    if not spoken:
        return Symptom("adapters", "note", "none: every pack speaks with the bare base model")
    sizes = engine.resident() if isinstance(engine, TorchEngine) else {}  # what a server holds it keeps to itself
    held = {digest: f" ({size / MEGABYTE:.2f} MB in memory)" for digest, size in sizes.items()}
    said = ", ".join(f"{name} {one.digest[:12]}{held.get(one.digest, '')}" for name, one in spoken.items())
    return Symptom("adapters", "ok", f"{said}: passports fit; each was proven to have an effect, and to be alone")


def _engine(app: App) -> Symptom:
    first, rates = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        times = [time.perf_counter() for _ in app.engine.stream(PROMPT, adapter=None, sampling=Sampling(TOKENS))]
        if len(times) > 1:
            first.append(1000 * (times[0] - began))
            rates.append((len(times) - 1) / (times[-1] - times[0]))
    kind = app.settings.engine if app.settings.engine.startswith("http") else "torch in this process"
    if not rates:
        return Symptom("engine", "fails", f"{kind}: the model said nothing", "run 'assistant models verify'")
    speed = statistics.median(rates)
    said = f"{kind}: first words after {statistics.median(first):.0f} ms, then {speed:.0f} pieces a second"
    advice = "a busy or small machine; ASSISTANT_ENGINE may name a server that generates" if speed < SLOW else ""
    return Symptom("engine", "note" if advice else "ok", said, advice)
