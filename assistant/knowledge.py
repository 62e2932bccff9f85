"""The documents beside a pack's articles: listed, added, deleted with a receipt, and checked. No search, no screen.

They outlive their pack: without a live one they are still listed, deleted and checked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.graph import Graph
from assistant.intake import Draft, fitted, identity, slug
from retrieval.library import Change, Entry, Receipt
from retrieval.passage import Passage
from retrieval.storage import Documents, Index

if TYPE_CHECKING:
    from assistant.packs import Packs

Progress = Callable[[int, int], None]


class KnowledgeError(Exception):
    """No such domain or document; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what is wrong with it."""

    what: str
    faults: tuple[str, ...]


class Knowledge:
    """The documents of every domain."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs

    def domains(self) -> dict[str, str]:
        """Names and titles of the domains that can hold documents, then of those that do and have no live pack."""
        live = {pack.domain.name: pack.domain.manifest.title for pack in self._packs.live()}
        return live | {name: f"{name} (no live pack)" for name in self._packs.storage.domains() if name not in live}

    def entries(self, domain: str) -> list[Entry]:
        """The documents of a domain, by title."""
        return self._shelf(domain)[1].entries()

    def passages(self, domain: str, document: str) -> list[Passage]:
        """What a document was cut into, in order."""
        return self._shelf(domain)[1].passages(document)

    def receipts(self, domain: str) -> list[Receipt]:
        """What was deleted, oldest first."""
        return self._shelf(domain)[1].receipts()

    def standing(self, domain: str, ids: Collection[str]) -> dict[str, Passage]:
        """The passages of a domain with these ids as they are now; none of them when the domain is gone."""
        found = next((pack for pack in self._packs.live() if pack.domain.name == domain), None)
        return found.index.named(ids) if found else {}

    def graph(self, domain: str) -> Graph:
        """The facts of a domain's pack; none when the domain is gone."""
        return next((pack.graph for pack in self._packs.live() if pack.domain.name == domain), Graph())

    def fitted(self, domain: str, draft: Draft, groups: Collection[str] | None = None) -> Draft:
        """The draft as it would go in now: ``assistant.intake.fitted`` to the version that is stored.

        Raises:
            KnowledgeError: no such domain.
        """
        library = self._shelf(domain)[1]
        stored = library.entry(identity(draft.file))
        former = None if stored else library.entry(slug(draft.file))
        return fitted(draft, former if former and former.file == draft.file else stored, groups)

    def put(self, domain: str, draft: Draft) -> Change:
        """Add a document, or replace the one with its id. It is stored for good; ``sync`` lets it answer.

        Raises:
            KnowledgeError: no such domain, or its pack is not live.
            RetrievalError: there is no text in it, or the disk failed.
        """
        self._index(domain)
        fit = self.fitted(domain, draft)
        return self._shelf(domain)[1].put(fit.file, fit.passages, fit.said)

    def sync(self, domain: str, progress: Progress | None = None) -> None:
        """Embed what is new, so that it answers; what changed nothing is not embedded again.

        Raises:
            KnowledgeError: no such domain, or its pack is not live.
            RetrievalError: the disk or the embedder failed.
        """
        self._index(domain).sync(progress)

    def remove(self, domain: str, document: str) -> Receipt:
        """Delete a document from store, index, word lists and older generations.

        Raises:
            KnowledgeError: no such domain.
            RetrievalError: no such document, or the disk failed.
        """
        index, library = self._shelf(domain)
        receipt = library.remove(document)
        if index:
            index.sync()
        else:
            self._packs.storage.forget(domain)
        return receipt

    def verify(self, domain: str) -> list[Check]:
        """Check the index against the documents, every text against its digest, and every receipt."""
        index, library = self._shelf(domain)
        stored = [passage for _, passage in library.pieces(sorted(library.numbers()))]
        found = [
            Check(f"{domain}: documents", tuple(_altered(stored))),
            Check(f"{domain}: receipts", tuple(_missing(library))),
            *(_checked(domain, receipt, index, library) for receipt in library.receipts()),
        ]
        if index is None:
            return found
        return [
            Check(f"{domain}: index {index.generation.name}", tuple(index.faults())),
            Check(f"{domain}: passages", tuple(_altered(index.passages()))),
            *found,
        ]

    def holds(self, digest: str) -> Check:
        """Check that there is a receipt with this digest, in any domain."""
        there = digest in {receipt.digest for name in self.domains() for receipt in self.receipts(name)}
        fault = "no receipt has this digest; 'assistant index receipts' shows those there are"
        return Check(f"receipt {digest}", () if there else (fault,))

    def _index(self, domain: str) -> Index:
        index, _ = self._shelf(domain)
        if index is None:
            raise KnowledgeError(
                f"the pack of {domain!r} is not live; its documents can be listed, checked and deleted, not added"
            )
        return index

    def _shelf(self, domain: str) -> tuple[Index | None, Documents]:
        """The index and the documents of a domain; no index where no pack is live."""
        for pack in self._packs.live():
            if pack.domain.name == domain and pack.index.library:
                return pack.index, pack.index.library
        if domain in self._packs.storage.domains():
            return None, self._packs.storage.documents(domain)
        raise KnowledgeError(f"there is no domain {domain!r}; there are {', '.join(self.domains())}")


def _altered(corpus: Sequence[Passage]) -> list[str]:
    return [f"{one.id}: its text does not fit its digest" for one in corpus if not one.intact]


def _missing(library: Documents) -> list[str]:
    newest = max((one.number for one in library.receipts()), default=0)
    return [f"receipt {library.issued}, the newest, is not there"] if library.issued > newest else []


def _checked(domain: str, receipt: Receipt, index: Index | None, library: Documents) -> Check:
    """Whether what a receipt says is gone is gone."""
    numbers = {number for number, _ in receipt.removed}
    faults = [] if receipt.whole else ["the receipt was changed"]
    earlier = [one.digest for one in library.receipts() if one.number < receipt.number]
    faults += [] if receipt.previous == (earlier[-1] if earlier else "") else ["the receipt before it is not there"]
    faults += [f"passage {number} is still stored" for number in sorted(numbers & library.numbers())]
    indexed = index.pieces() if index else set()
    faults += [f"passage {number} is still indexed" for number in sorted(numbers & indexed)]
    return Check(f"{domain}: receipt {receipt.number} for {receipt.document}", tuple(faults))
