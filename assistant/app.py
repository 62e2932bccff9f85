"""Puts the product together: the one place where concrete classes are chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import adapters
from adapters import base, store
from adapters.base import Base
from adapters.canary import Canary
from adapters.chat import Engine, Sampling
from adapters.engine import Limits, TorchEngine
from adapters.passport import public_key
from adapters.shelf import Shelf
from adapters.store import Adapter
from assistant import detectors, models, reader, tone
from assistant.chats import Chats
from assistant.exams import PolicyExams
from assistant.knowledge import Knowledge
from assistant.life import Life
from assistant.packs import Loading, Pack, Packs
from assistant.reviews import Reviews
from assistant.settings import Settings, SettingsError
from assistant.store import Store
from assistant.tokens import Tokens
from assistant.turn import Parts
from assistant.users import Users
from assistant.vectors import VectorCache
from retrieval.embedder import SentenceEmbedder
from retrieval.storage import Folder, Storage

if TYPE_CHECKING:
    from retrieval.cross_encoder import CrossEncoder

CROSS_ENCODER = Path(__file__).parent / "heads" / "cross_encoder.safetensors"
SHIPPED_ADAPTERS = Path(adapters.__file__).parent / "shipped"
Say = Callable[[str], None]


@dataclass(slots=True)
class App:
    """The running product. The UI, the CLI and the evaluation all work on one of these."""

    settings: Settings
    store: Store
    users: Users
    tokens: Tokens
    packs: Packs
    chats: Chats
    reviews: Reviews
    knowledge: Knowledge
    engine: Engine
    life: Life
    exams: PolicyExams
    parts: Callable[[], Parts]

    def close(self) -> None:
        """Finish running turns and let go of everything."""
        self.exams.close()
        self.chats.close()
        self.store.close()


def embedder(settings: Settings) -> SentenceEmbedder:
    """The embedding model alone.

    Raises:
        RetrievalError: it cannot be loaded; the message says what to do.
    """
    return SentenceEmbedder(settings.embedder or str(settings.models_dir / models.EMBEDDER.name))


def cross_encoder(embed: SentenceEmbedder) -> CrossEncoder | None:
    """The cross-encoder that ships, where it was made for this embedding model."""
    from retrieval.cross_encoder import CrossEncoder  # late: not every command reads

    fits = json.loads(CROSS_ENCODER.with_suffix(".json").read_text(encoding="utf-8"))["embedder"] == embed.fingerprint
    return CrossEncoder(embed, CROSS_ENCODER) if fits else None


def engine(settings: Settings, loaded: Base) -> Engine:
    """What generates: torch in this process, or a server that must be heard to speak as the loaded base does.

    Raises:
        EngineError: the server cannot be used; the message says why.
    """
    if settings.engine.startswith("http"):
        from adapters.remote import RemoteEngine  # late: most installations have no server
        from adapters.wire import Server

        key = settings.engine_key.get_secret_value() if settings.engine_key else None
        folder = settings.engine_adapters or settings.home / "adapters" / "served"
        return RemoteEngine(loaded, Server(settings.engine, key), folder, settings.engine_model)
    return TorchEngine(loaded, limits=Limits(slots=settings.concurrency), rank=settings.adapter_rank)


def storage(settings: Settings) -> Storage:
    """Where documents and indexes are kept.

    Raises:
        SettingsError: the setting names no place that we know.
        RetrievalError: the database cannot be opened; the message says what it needs.
    """
    if settings.index is None:
        return Folder(settings.home)
    from retrieval.postgres import SCHEMES, Postgres  # of an extra

    if not settings.index.startswith(SCHEMES):
        raise SettingsError(f"setting 'index' must begin with {SCHEMES[0]}, found {settings.index.partition(':')[0]!r}")
    return Postgres(settings.index, settings.home)


def build(settings: Settings, say: Say = lambda _: None, progress: Loading | None = None) -> App:
    """Load the models, the packs and the state.

    Args:
        settings: what the operator chose.
        say: told what is happening, for a person who waits.
        progress: told how far indexing is.

    Raises:
        ModelsError, BaseError, EngineError, RetrievalError, StoreError: a part cannot be loaded; the message says
            what to do.
    """
    say("Opening the state")
    state = Store(settings.database_url)
    say("Loading the embedding model")
    embed = embedder(settings)
    say("Loading the chat model")
    source = settings.chat_model or settings.models_dir / models.CHAT.name
    loaded = base.load(source, dtype=settings.dtype, device=settings.device, threads=settings.threads)
    speaker = engine(settings, loaded)
    cache = VectorCache(embed, settings.home / "cache")
    key = public_key(settings.adapter_key) if settings.adapter_key else None

    def verify(folder: Path) -> Adapter:
        return store.verify(folder, loaded, key)

    shelf = Shelf(settings.home / "adapters", (SHIPPED_ADAPTERS,))
    current: list[Parts] = []  # one element, swapped whole
    canaries: dict[str, tuple[Canary, Adapter]] = {}  # kept up to date by Life
    guards = detectors.shipped(embed)
    market = tone.find(embed, settings.home / "heads" / "market", tone.SHIPPED)

    def serve(enabled: Mapping[str, Pack]) -> None:
        trained = reader.train([pack.domain for pack in enabled.values()], cache)
        sampling = Sampling(max_tokens=settings.max_tokens)
        current[:] = [Parts(speaker, embed, trained, enabled, sampling, guards, market, canaries)]

    def adapter(name: str) -> Adapter | None:
        if not settings.adapters:
            return None
        found = replace(verify(shelf.current(name)), name=name)
        speaker.load(found)
        return found

    say("Loading domain packs")
    packs = Packs(
        state, settings.home, embed, adapter, settings.domains, serve, progress,
        storage=storage(settings), reading=cross_encoder(embed),
    )  # fmt: skip
    known = Knowledge(packs)
    return App(
        settings=settings,
        store=state,
        users=Users(state),
        tokens=Tokens(state),
        packs=packs,
        chats=Chats(state, lambda: current[0], settings.concurrency, known.standing),
        reviews=Reviews(state, known.standing),
        knowledge=known,
        engine=speaker,
        life=Life(shelf, packs, speaker, lambda: current[0], verify, state, canaries),
        exams=PolicyExams(lambda: current[0]),
        parts=lambda: current[0],
    )


@contextmanager
def knowledge(
    settings: Settings, say: Say = lambda _: None, progress: Loading | None = None, *, migrate: bool = False
) -> Iterator[tuple[Knowledge, Packs]]:
    """The packs and their documents without the model that speaks: quick to open, beside a server too.

    Args:
        settings: what the operator chose.
        say: told what is happening, for a person who waits.
        progress: told how far indexing is.
        migrate: index again what another embedder indexed.
    """
    say("Loading the embedding model")
    embed = embedder(settings)
    state = Store(settings.database_url)
    try:
        say("Opening the indexes")
        packs = Packs(
            state, settings.home, embed, lambda _: None, settings.domains, progress=progress, migrate=migrate,
            storage=storage(settings), reading=cross_encoder(embed),
        )  # fmt: skip
        yield Knowledge(packs), packs
    finally:
        state.close()
