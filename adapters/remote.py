"""A ``ChatModel`` on another machine: any OpenAI-compatible server, with adapters by model name.

What the server says of itself is not trusted. The base model in this process is the witness: what it and each adapter
say to a few probes is computed here, and an adapter speaks only if the server is heard to say the same, alone and among
others, and now and then again. Names on the server carry the adapter's whole digest, so that nothing there can be mixed
up with an older one.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from adapters.base import Base
from adapters.chat import Message, Sampling
from adapters.request import EngineError
from adapters.store import CONFIG, WEIGHTS, Adapter, AdapterError, digest_of
from adapters.wire import Server, UnknownModel
from adapters.witness import BASE, TRIALS, WORDS, Testimony, judge, testify

NEIGHBOURS = 2  # adapters that speak at the same time while a new one proves itself, beside the base
LASTS = 600.0  # seconds that a proof holds; then it is repeated, beside the requests
CROWD = 2  # times that each of them is asked
AGAIN = 10.0  # seconds after which an adapter that could not be admitted is tried again
_log = logging.getLogger(__name__)


def name_of(digest: str) -> str:
    """An adapter's name on the server."""
    return f"adapter-{digest}"


class RemoteEngine:
    """See ``ChatModel``. Adapters are pushed to the server when they are loaded, and again when it was restarted."""

    def __init__(
        self, base: Base, server: Server, folder: Path, model: str | None = None, lasts: float = LASTS
    ) -> None:
        """
        Args:
            base: the same model as the server's; the witness.
            server: what generates.
            folder: where adapters are laid for the server, which reads them under the same path.
            model: what the base is called on the server; None where it lists one only.
            lasts: seconds that an adapter's proof holds.

        Raises:
            EngineError: the server cannot be reached, or serves another base model.
        """
        self.base, self._server, self._folder = base, server, folder
        self._model = model or _only(server)
        self._known: dict[str, Adapter] = {}
        self._speaking: Counter[str] = Counter()  # answers that run, by digest
        self._leaving: set[str] = set()  # known ones that are forgotten when no answer runs
        self._counting = threading.RLock()  # of the three above
        self._admitted: dict[str, float] = {}  # when each proved itself, on the monotonic clock
        self._failed: dict[str, tuple[float, AdapterError]] = {}  # when, on the monotonic clock, and why
        self._expected: dict[str, Testimony] = {BASE: testify(base, None)}  # by digest
        self._neighbours: deque[str] = deque(maxlen=NEIGHBOURS)
        self._mutex = threading.Lock()  # one adapter at a time proves itself
        self._lasts, self._renewing = lasts, threading.Lock()
        try:
            judge(f"{BASE} {base.digest[:16]}", self._ask(self._model), self._expected[BASE], {})
        except AdapterError as error:
            raise EngineError(
                f"{error}; serve the folder {base.folder} there, or set ASSISTANT_CHAT_MODEL to what is served"
            ) from error

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        """Yield pieces of the answer; see ``ChatModel``. The request is made when the first is asked for.

        Raises:
            AdapterError: no adapter of that digest is loaded; later: the server forgot it and does not take it again.
            EngineBusy, EngineError: later; see ``Server.stream``.
        """
        if adapter is not None:
            with self._counting:
                self._require(adapter)
        plain = [Message(one.role, self.base.neutralise(one.content)) for one in messages]
        return self._speak(plain, adapter, sampling)

    def load(self, adapter: Adapter) -> None:
        """Let the server load an adapter, and let it prove itself, unless it did.

        Raises:
            AdapterError: the server does not take it, or is not heard to serve it. It is not loaded then.
        """
        self._failed.pop(adapter.digest, None)  # whoever loads it asks now
        self._admit(adapter)
        with self._counting:
            self._leaving.discard(adapter.digest)
            self._known[adapter.digest] = adapter

    def unload(self, digest: str) -> None:
        """Let the server forget an adapter, now or when the last answer that it speaks has ended; see ``Engine``.

        It is told in the background, and a process that ends waits for that.
        """
        with self._counting:
            if digest in self._known:
                self._leaving.add(digest)
        self._let_go(digest)

    def adapters(self) -> list[Adapter]:
        """What is loaded, oldest first."""
        with self._counting:
            return list(self._known.values())

    def _speak(self, messages: Sequence[Message], adapter: str | None, sampling: Sampling) -> Iterator[str]:
        if adapter is None:
            yield from self._server.stream(self._model, messages, sampling)
            return
        with self._counting:
            known = self._require(adapter)
            self._speaking[adapter] += 1
        try:
            self._admit(known)
            self._renew(known)
            yield from self._adapted(known, messages, sampling)
        finally:
            with self._counting:
                self._speaking[adapter] -= 1
            self._let_go(adapter)

    def _adapted(self, adapter: Adapter, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        try:
            yield from self._server.stream(name_of(adapter.digest), messages, sampling)
        except UnknownModel:  # before the first piece: the server was restarted, and all must prove themselves again
            with self._mutex:
                self._admitted.clear()
                self._neighbours.clear()
            self._admit(adapter)
            yield from self._server.stream(name_of(adapter.digest), messages, sampling)

    def _require(self, digest: str) -> Adapter:
        if (found := self._known.get(digest)) is None:
            known = ", ".join(one[:16] for one in self._known) or "none"
            raise AdapterError(f"adapter {digest!r} is not loaded; loaded are: {known}; load it first")
        return found

    def _let_go(self, digest: str) -> None:
        """Forget an adapter that is leaving, unless it speaks."""
        with self._counting:
            if digest not in self._leaving or self._speaking[digest]:
                return
            self._leaving.discard(digest)
            del self._known[digest], self._speaking[digest]
        threading.Thread(target=self._drop, args=(digest,), name="adapters-unload").start()

    def _drop(self, digest: str) -> None:
        with self._mutex:  # nobody who proves itself misses it
            if digest in self._known:  # loaded again meanwhile
                return
            self._admitted.pop(digest, None)
            self._expected.pop(digest, None)
            with suppress(ValueError):
                self._neighbours.remove(digest)
            try:
                self._server.drop(name_of(digest))
            except EngineError as error:
                _log.warning("the server was to forget adapter %s: %s", digest, error)

    def _admit(self, adapter: Adapter) -> None:
        """Push an adapter to the server, unless it has it, and let it prove itself; nothing where it did."""
        digest = adapter.digest
        if digest in self._admitted:  # nobody waits while another one proves itself
            return
        with self._mutex:
            if digest in self._admitted:
                return
            since, error = self._failed.get(digest, (-AGAIN, None))
            if error is not None and time.monotonic() - since < AGAIN:
                raise error
            try:
                self._push(adapter)
                self._prove(adapter)
            except (AdapterError, EngineError) as error:
                with suppress(EngineError):  # what went wrong is said already
                    self._server.drop(name_of(digest))
                refusal = AdapterError(f"adapter {adapter.name!r} {digest[:16]} does not speak: {error}")
                self._failed[digest] = time.monotonic(), refusal
                raise refusal from error
            self._admitted[digest] = time.monotonic()
            self._neighbours.append(digest)

    def _renew(self, adapter: Adapter) -> None:
        """Repeat an old proof in the background: what a server serves can be changed behind our back."""
        old = time.monotonic() - self._admitted.get(adapter.digest, time.monotonic()) >= self._lasts
        if old and self._renewing.acquire(blocking=False):
            threading.Thread(target=self._repeat, args=(adapter,), name="adapters-proof", daemon=True).start()

    def _repeat(self, adapter: Adapter) -> None:
        digest = adapter.digest
        try:
            with self._mutex:
                if digest in self._admitted:  # not unloaded meanwhile
                    self._prove(adapter)
                    self._admitted[digest] = time.monotonic()
        except AdapterError:
            _log.exception("the server does not serve adapter %s any more; it is pushed and proved again", digest)
            self._admitted.pop(digest, None)
            with suppress(ValueError):
                self._neighbours.remove(digest)
            with suppress(EngineError):
                self._server.drop(name_of(digest))
        except EngineError:
            _log.exception(
                "adapter %s could not be heard; it speaks on, and is heard again at the next request", digest
            )
        finally:
            self._renewing.release()

    def _push(self, adapter: Adapter) -> None:
        folder = _laid(adapter, self._folder)
        if adapter.digest not in self._expected:
            self._expected[adapter.digest] = testify(self.base, folder)
        name = name_of(adapter.digest)
        if name not in {one.id for one in self._server.models()}:
            self._server.push(name, folder)

    def _prove(self, adapter: Adapter) -> None:
        """Alone, and then in one crowd with the base and its neighbours: each must be heard to say what it says."""
        self._judge(adapter.digest, self._ask(name_of(adapter.digest)), "")
        crowd = [*dict.fromkeys((adapter.digest, BASE, *self._neighbours))] * CROWD
        with ThreadPoolExecutor(len(crowd)) as pool:
            heard = pool.map(lambda who: self._ask(self._model if who == BASE else name_of(who)), crowd)
            for who, said in zip(crowd, heard, strict=True):
                self._judge(who, said, " among others")

    def _judge(self, who: str, heard: Testimony, where: str) -> None:
        def called(one: str) -> str:
            return one if one == BASE else f"adapter {one[:16]}"

        others = {called(one): said for one, said in self._expected.items() if one != who}
        judge(called(who) + where, heard, self._expected[who], others)

    def _ask(self, model: str) -> Testimony:
        return tuple(self._server.odds(model, trial, WORDS) for trial in TRIALS)


def _only(server: Server) -> str:
    found = [one.id for one in server.models() if one.parent is None and not one.id.startswith(name_of(""))]
    if len(found) != 1:
        raise EngineError(
            f"{server.url} lists {len(found)} models: {', '.join(found[:8])}; set ASSISTANT_ENGINE_MODEL to the "
            "one that is the base model"
        )
    return found[0]


def _laid(adapter: Adapter, root: Path) -> Path:
    """A folder in PEFT layout with the adapter's verified bytes and nothing else."""
    target = root / adapter.digest
    if not target.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as aside:
            made = Path(aside) / adapter.digest
            made.mkdir()
            for file in (WEIGHTS, CONFIG):
                shutil.copyfile(adapter.folder / file, made / file)
            made.rename(target)
    found = digest_of(target)
    if found != adapter.digest:
        raise AdapterError(
            f"{target} has digest {found}, expected {adapter.digest}: a file was changed after it was verified; "
            "delete this folder and load the adapter again"
        )
    return target
