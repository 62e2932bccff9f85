"""The packs that are live: found, checked, indexed, joined with their adapters. A broken one never stops the rest."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from threading import RLock, Thread
from typing import NamedTuple

from sqlalchemy import select

import domains
from adapters.store import Adapter, AdapterError
from assistant.graph import Graph, graph_of
from assistant.ranking import Reading
from assistant.store import PackRow, Store
from assistant.study import Learned, learn
from assistant.unpack import unpack
from assistant.vectors import VectorCache
from domains.pack import MANIFEST, Domain, DomainError, digest_of, load
from retrieval.embedder import Embedder, RetrievalError, maker
from retrieval.passage import Document, Passage, passages
from retrieval.storage import Folder, Index, Storage

SHIPPED = Path(domains.__file__).parent
ENTRY_POINTS = "domain_assistant.domains"
_log = logging.getLogger(__name__)
Loading = Callable[[str, int, int], None]  # pack, passages embedded, passages in all
LoadAdapter = Callable[[str], Adapter | None]  # by name; None where adapters are switched off; raises AdapterError


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack ready to answer."""

    domain: Domain
    index: Index
    adapter: Adapter | None
    enabled: bool
    shipped: bool
    data: Path  # a folder its tools may write to
    learned: Learned  # what its lessons taught
    reading: Reading | None = None  # reads what is found together with the question
    graph: Graph = field(default_factory=Graph)  # of its facts

    @property
    def passages(self) -> int:
        """How many passages it knows."""
        return self.index.generation.passages


@dataclass(frozen=True, slots=True)
class Problem:
    """A pack that was refused, and why."""

    path: str
    reason: str
    adapter: bool = False  # whether its adapter is why


class Row(NamedTuple):
    """What the database holds of a pack."""

    name: str
    path: str | None
    trusted: str | None
    enabled: bool


def corpus(domain: Domain) -> list[Passage]:
    """All passages of a pack's articles."""
    return [
        passage
        for article in domain.articles
        for passage in passages(
            Document(article.id, article.title, article.text, article.source, article.date, article.licence)
        )
    ]


class Packs:
    """All packs of one installation. Readers see one consistent snapshot; changes swap it whole."""

    def __init__(
        self,
        store: Store,
        home: Path,
        embedder: Embedder,
        adapter: LoadAdapter,
        extra: tuple[Path, ...] = (),
        changed: Callable[[Mapping[str, Pack]], None] = lambda _: None,
        progress: Loading | None = None,
        migrate: bool = False,
        storage: Storage | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Find and load every pack.

        Args:
            store: where the operator's choices are kept.
            home: holds indexes, unpacked packs and the tools' data.
            embedder: embeds passages.
            adapter: loads a verified adapter by name.
            extra: folders from the settings.
            changed: told the new enabled packs after every change, before they serve; what it raises undoes it.
            progress: told how far indexing is.
            migrate: index again what another embedder indexed; else such a pack is refused.
            storage: keeps documents and indexes; without it, files under ``home`` do.
            reading: the cross-encoder, where one fits the embedder.
        """
        self._migrate, self._reading = migrate, reading
        self._storage = storage or Folder(home)
        self._store, self._home, self._embedder = store, home, embedder
        self._adapter, self._extra, self._changed, self._progress = adapter, extra, changed, progress
        self._lock = RLock()
        self._packs: dict[str, Pack] = {}
        self._own = tuple(self._roots())  # what is found without the operator's adding it
        self._seen = self._rows()
        self._problems: dict[str, Problem] = {}
        packs: dict[str, Pack] = {}
        for path in (*self._own, *(Path(row.path) for row in self._seen if row.path)):
            self._take(path, packs)
        self._swap(packs)

    def watch(self, seconds: float = 3.0) -> None:
        """Follow, in the background, what other processes change: ``assistant index add`` beside a server."""
        Thread(target=self._follow, args=(seconds,), name="packs", daemon=True).start()

    def sync(self) -> None:
        """Take up what another process added, removed, enabled or disabled."""
        for pack in self.live():
            pack.index.sync()
        with self._lock:
            rows = self._rows()
            if rows == self._seen:
                return
            self._seen = rows
            added = {row.path for row in rows if row.path}
            packs = {
                name: pack
                for name, pack in self._packs.items()
                if str(pack.domain.root) in added or pack.domain.root in self._own
            }
            here = {str(pack.domain.root) for pack in packs.values()}
            for path in sorted(added - here):
                self._take(Path(path), packs)
            switched = {row.name: row.enabled for row in rows}
            self._swap({name: replace(pack, enabled=switched.get(name, True)) for name, pack in packs.items()})

    @property
    def storage(self) -> Storage:
        """Where documents and indexes are kept, those of packs that are not live, too."""
        return self._storage

    def live(self) -> list[Pack]:
        """All loaded packs, by name; disabled ones too."""
        return sorted(self._packs.values(), key=lambda pack: pack.domain.name)

    def enabled(self) -> dict[str, Pack]:
        """The packs that answer, by name."""
        return {pack.domain.name: pack for pack in self.live() if pack.enabled}

    def problems(self) -> list[Problem]:
        """The packs that were refused."""
        return list(self._problems.values())

    def add(self, path: Path, *, trust_code: bool = False) -> Pack:
        """Add a pack from a folder, which stays where it is, or from a zip, which is unpacked.

        Raises:
            DomainError: it is broken, its code is not trusted, or a shipped pack has its name.
            RetrievalError, AdapterError: its index or adapter cannot be used.
        """
        with self._lock:
            root = unpack(path, self._home / "packs") if path.suffix.lower() == ".zip" else path.expanduser().absolute()
            domain = load(root, trust_code=trust_code)
            present = self._packs.get(domain.name)
            if present and present.domain.root != root and present.shipped:
                raise DomainError(f"{root}: a shipped pack is named {domain.name!r}; choose another name in {MANIFEST}")
            self._install(self._ready(domain))
            self._remember(domain.name, path=str(root), trusted=domain.digest if trust_code else None, enabled=True)
            self._problems.pop(str(root), None)
            return self._packs[domain.name]

    def prepare(self, path: Path, *, trust_code: bool = False) -> Pack:
        """A pack in a folder made ready to answer, without adding it: for its exam.

        Raises:
            DomainError: it is broken, or its code is not trusted.
            RetrievalError, AdapterError: its index or adapter cannot be used.
        """
        root = path.expanduser().absolute()
        return self._ready(load(root, trust_code=trust_code or self._trusts(root, None)))

    def reload(self, name: str) -> Pack:
        """Read a pack again from its folder; the old one serves until the new one is whole.

        Raises:
            DomainError: there is no such pack, or it is broken now.
        """
        with self._lock:
            pack = self._named(name)
            domain = load(pack.domain.root, trust_code=self._trusts(pack.domain.root, name))
            if domain.name != name:
                raise DomainError(f"{domain.root}: is named {domain.name!r} now; remove {name!r} and add it again")
            self._install(replace(self._ready(domain), enabled=pack.enabled))
            return self._packs[name]

    def respeak(self, adapter: str) -> None:
        """Let every pack that speaks with ``adapter`` speak with the one that is current now.

        Raises:
            AdapterError: it may not be loaded; the old one goes on speaking then.
        """
        with self._lock:
            found = self._adapter(adapter)
            changed = {
                name: replace(pack, adapter=found)
                for name, pack in self._packs.items()
                if pack.domain.manifest.adapter == adapter and pack.adapter != found
            }
            if changed:
                self._swap(self._packs | changed)

    def retry(self) -> None:
        """Take up the packs that were refused for their adapter, where another one is current now."""
        with self._lock:
            packs = dict(self._packs)
            for problem in self.problems():
                if problem.adapter:
                    self._take(Path(problem.path), packs)
            if packs.keys() != self._packs.keys():
                self._swap(packs)

    def enable(self, name: str) -> None:
        """Let a pack answer again."""
        self._switch(name, True)

    def disable(self, name: str) -> None:
        """Keep a pack loaded, but let it not answer.

        Raises:
            DomainError: it is the last one that answers.
        """
        if set(self.enabled()) == {name}:
            raise DomainError(f"{name!r} is the only enabled pack; enable another one first")
        self._switch(name, False)

    def remove(self, name: str) -> None:
        """Forget a pack that was added; its folder and documents stay, what was unpacked from a zip goes.

        Raises:
            DomainError: no such pack, it is shipped (disable it instead), or it is the last one that answers.
        """
        with self._lock:
            pack = self._named(name)
            if pack.shipped:
                raise DomainError(f"{name!r} is shipped with the product and cannot be removed; disable it instead")
            if set(self.enabled()) == {name}:
                raise DomainError(f"{name!r} is the only enabled pack; enable another one first")
            self._swap({key: value for key, value in self._packs.items() if key != name})
            with self._store.begin() as session:
                if row := session.get(PackRow, name):
                    session.delete(row)
            self._seen = self._rows()
            if pack.domain.root.is_relative_to(self._home / "packs"):
                shutil.rmtree(pack.domain.root, ignore_errors=True)

    def _switch(self, name: str, enabled: bool) -> None:
        with self._lock:
            pack = self._named(name)
            self._swap(self._packs | {name: replace(pack, enabled=enabled)})
            self._remember(name, enabled=enabled)

    def _named(self, name: str) -> Pack:
        try:
            return self._packs[name]
        except KeyError:
            known = ", ".join(sorted(self._packs))
            raise DomainError(f"there is no pack {name!r}; loaded are {known}") from None

    def _install(self, pack: Pack) -> None:
        self._swap(self._packs | {pack.domain.name: pack})

    def _swap(self, packs: dict[str, Pack]) -> None:
        enabled = {name: packs[name] for name in sorted(packs) if packs[name].enabled}
        self._changed(enabled)
        self._packs = packs

    def _roots(self) -> Iterator[Path]:
        yield from sorted(path.parent for path in SHIPPED.glob(f"*/{MANIFEST}"))
        yield from self._extra
        for point in entry_points(group=ENTRY_POINTS):
            yield Path(str(point.load()))

    def _rows(self) -> tuple[Row, ...]:
        with self._store.begin() as session:
            rows = session.scalars(select(PackRow).order_by(PackRow.name))
            return tuple(Row(row.name, row.path, row.trusted, row.enabled) for row in rows)

    def _follow(self, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            try:
                self.sync()
            except Exception:  # noqa: BLE001 - a database that is away for a moment must not end the thread
                _log.exception("the list of packs could not be followed; trying again")

    def _take(self, root: Path, packs: dict[str, Pack]) -> None:
        """Load the pack in ``root`` into ``packs``, or note why it was refused."""
        try:
            domain = load(root, trust_code=self._trusts(root, None))
            if domain.name in packs:
                raise DomainError(f"{root}: another pack is named {domain.name!r}: {packs[domain.name].domain.root}")
            switched = {row.name: row.enabled for row in self._seen}
            packs[domain.name] = replace(self._ready(domain), enabled=switched.get(domain.name, True))
            self._problems.pop(str(root), None)
        except (DomainError, RetrievalError, AdapterError) as error:
            self._problems[str(root)] = Problem(str(root), str(error), isinstance(error, AdapterError))

    def _ready(self, domain: Domain) -> Pack:
        def report(done: int, total: int) -> None:
            if self._progress:
                self._progress(domain.name, done, total)

        def learning(done: int, total: int) -> None:
            if self._progress:
                self._progress(f"{domain.name}, known questions", done, total)

        made_by = self._storage.embedders(domain.name)
        if made_by and not any(one.fits(maker(self._embedder)) for one in made_by) and not self._migrate:
            raise RetrievalError(
                f"the index of {domain.name!r} was made with embedder {made_by[-1]}, and "
                f"{maker(self._embedder)} is loaded; run 'assistant index rebuild' with this embedder while "
                "the old one serves, or set ASSISTANT_EMBEDDER back"
            )
        index = self._storage.open(domain.name, corpus(domain), self._embedder, report)
        data = self._home / "data" / domain.name
        data.mkdir(parents=True, exist_ok=True)
        return Pack(
            domain=domain,
            index=index,
            adapter=self._adapter(domain.manifest.adapter) if domain.manifest.adapter else None,
            enabled=True,
            shipped=domain.root.parent == SHIPPED,
            data=data,
            learned=learn(
                domain,
                index,
                VectorCache(self._embedder, self._home / "cache", learning),
                reading=self._reading is not None,
            ),
            reading=self._reading,
            graph=graph_of(domain),
        )

    def _trusts(self, root: Path, name: str | None) -> bool:
        if root.parent == SHIPPED:
            return True
        trusted = {row.trusted for row in self._rows() if row.trusted and name in (None, row.name)}
        return bool(trusted) and digest_of(root) in trusted

    def _remember(self, name: str, **values: object) -> None:
        with self._store.begin() as session:
            row = session.get(PackRow, name) or PackRow(name=name, path=None, trusted=None, enabled=True)
            for key, value in values.items():
                setattr(row, key, value)
            session.add(row)
        self._seen = self._rows()
