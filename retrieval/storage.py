"""Where documents and indexes are kept: the seam between one machine's files and a PostgreSQL server for many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from retrieval.embedder import Embedder, Maker, RetrievalError, Vectors
from retrieval.generation import Generation, Progress, build, generations, retire
from retrieval.index import FaissIndex
from retrieval.library import Change, Entry, Library, Receipt
from retrieval.passage import Hit, Passage
from retrieval.tables import EVERYBODY, Scope


class Documents(Protocol):
    """The documents of a domain beside its pack's articles; ``retrieval.library`` says what each call promises."""

    @property
    def revision(self) -> int: ...  # noqa: D102
    @property
    def issued(self) -> int: ...  # noqa: D102
    def put(self, file: str, corpus: Sequence[Passage], said: Collection[str] = ()) -> Change: ...  # noqa: D102
    def remove(self, document: str) -> Receipt: ...  # noqa: D102
    def entries(self) -> list[Entry]: ...  # noqa: D102
    def entry(self, document: str) -> Entry | None: ...  # noqa: D102
    def numbers(self) -> set[int]: ...  # noqa: D102
    def pieces(self, numbers: Sequence[int]) -> list[tuple[int, Passage]]: ...  # noqa: D102
    def passages(self, document: str) -> list[Passage]: ...  # noqa: D102
    def named(self, ids: Collection[str]) -> list[Passage]: ...  # noqa: D102
    def receipts(self) -> list[Receipt]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@runtime_checkable  # pydantic asks, for the langchain retriever
class Index(Protocol):
    """Search over one generation and the documents beside it; ``retrieval.index`` says what each call promises."""

    @property
    def folder(self) -> Path: ...  # noqa: D102  # what is learned from a generation is kept there
    @property
    def library(self) -> Documents | None: ...  # noqa: D102
    @property
    def generation(self) -> Generation: ...  # noqa: D102
    @property
    def sentences(self) -> Vectors: ...  # noqa: D102
    def first_sentences(self) -> dict[str, int]: ...  # noqa: D102
    def sync(self, progress: Progress | None = None) -> None: ...  # noqa: D102
    def search(  # noqa: D102
        self,
        text: str,
        vector: Vectors,
        k: int = 5,
        tuned: Vectors | None = None,
        scope: Scope = EVERYBODY,
        also: Sequence[str] = (),
    ) -> list[Hit]: ...
    def passages(self) -> list[Passage]: ...  # noqa: D102
    def named(self, ids: Collection[str]) -> dict[str, Passage]: ...  # noqa: D102
    def pieces(self) -> set[int]: ...  # noqa: D102
    def document_frequency(self, word: str) -> int: ...  # noqa: D102
    def faults(self) -> list[str]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Storage(Protocol):
    """Keeps every domain's documents and index generations."""

    def documents(self, domain: str) -> Documents:
        """The documents of a domain; the same object for the same domain."""
        ...

    def domains(self) -> list[str]:
        """The domains that have documents or receipts, by name; whether a pack is live or not."""
        ...

    def forget(self, domain: str) -> None:
        """Take from a domain's index generations what was deleted; those that nobody reads go. For no live pack."""
        ...

    def embedders(self, domain: str) -> list[Maker]:
        """The embedders that made a domain's generations, oldest first."""
        ...

    def open(
        self, domain: str, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None = None
    ) -> Index:
        """The index of ``corpus``, built if it is not there, with all documents taken up; older generations go.

        Raises:
            RetrievalError: it cannot be built or opened.
        """
        ...


class Folder:
    """Files under one folder: SQLite for documents, SQLite and FAISS for indexes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._libraries: dict[str, Library] = {}

    def documents(self, domain: str) -> Library:
        """The documents of a domain."""
        if domain not in self._libraries:
            self._libraries[domain] = Library(self._home / "knowledge" / f"{domain}.sqlite")
        return self._libraries[domain]

    def domains(self) -> list[str]:
        """The domains that have documents or receipts, by name."""
        found = sorted(path.stem for path in (self._home / "knowledge").glob("*.sqlite"))
        return [name for name in found if self._holds(name)]

    def forget(self, domain: str) -> None:
        """Take from a domain's generations what was deleted; those that nobody reads go."""
        parent = self._home / "indexes" / domain
        retire(parent, parent / "none", self.documents(domain).numbers())

    def embedders(self, domain: str) -> list[Maker]:
        """The embedders that made a domain's generations, oldest first."""
        return [found.maker for _, found in generations(self._home / "indexes" / domain)]

    def _holds(self, domain: str) -> bool:
        try:
            return bool(self.documents(domain).numbers() or self.documents(domain).issued)
        except RetrievalError:  # damaged: whoever asks for its documents is told
            return True

    def open(
        self, domain: str, corpus: Sequence[Passage], embedder: Embedder, progress: Progress | None = None
    ) -> FaissIndex:
        """The index of ``corpus``, built if it is not there, with all documents taken up; older generations go."""
        parent, library = self._home / "indexes" / domain, self.documents(domain)
        index = FaissIndex(build(parent, corpus, embedder, progress), embedder, library)
        index.sync(progress)
        retire(parent, index.folder, library.numbers())
        return index
