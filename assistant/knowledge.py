"""The documents beside a pack's articles: listed, added, deleted with a receipt, and checked. No search, no screen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.graph import Graph
from assistant.intake import Draft
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
    """The documents of every live domain."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs

    def domains(self) -> dict[str, str]:
        """Names and titles of the domains that can hold documents."""
        return {pack.domain.name: pack.domain.manifest.title for pack in self._packs.live()}

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

    def put(self, domain: str, draft: Draft) -> Change:
        """Add a document, or replace the one with its id. It is stored for good; ``sync`` lets it answer.

        Raises:
            KnowledgeError: no such domain.
            RetrievalError: there is no text in it, or the disk failed.
        """
        return self._shelf(domain)[1].put(draft.file, draft.passages)

    def sync(self, domain: str, progress: Progress | None = None) -> None:
        """Embed what is new, so that it answers; what changed nothing is not embedded again."""
        self._shelf(domain)[0].sync(progress)

    def remove(self, domain: str, document: str) -> Receipt:
        """Delete a document from store, index, word lists and older generations.

        Raises:
            KnowledgeError: no such domain.
            RetrievalError: no such document, or the disk failed.
        """
        index, library = self._shelf(domain)
        receipt = library.remove(document)
        index.sync()
        return receipt

    def verify(self, domain: str) -> list[Check]:
        """Check the index against the documents, every passage against its digest, and every receipt."""
        index, library = self._shelf(domain)
        return [
            Check(f"{domain}: index {index.generation.name}", tuple(index.faults())),
            Check(f"{domain}: passages", tuple(_altered(index.passages()))),
            *(_checked(domain, receipt, index, library) for receipt in library.receipts()),
        ]

    def _shelf(self, domain: str) -> tuple[Index, Documents]:
        for pack in self._packs.live():
            if pack.domain.name == domain and pack.index.library:
                return pack.index, pack.index.library
        raise KnowledgeError(f"there is no domain {domain!r}; there are {', '.join(self.domains())}")


def _altered(corpus: Sequence[Passage]) -> list[str]:
    return [f"{one.id}: its text does not fit its digest" for one in corpus if not one.intact]


def _checked(domain: str, receipt: Receipt, index: Index, library: Documents) -> Check:
    """Whether what a receipt says is gone is gone."""
    numbers = {number for number, _ in receipt.removed}
    faults = [] if receipt.whole else ["the receipt was changed"]
    earlier = [one.digest for one in library.receipts() if one.number < receipt.number]
    faults += [] if receipt.previous == (earlier[-1] if earlier else "") else ["the receipt before it is not there"]
    faults += [f"passage {number} is still stored" for number in sorted(numbers & library.numbers())]
    faults += [f"passage {number} is still indexed" for number in sorted(numbers & index.pieces())]
    return Check(f"{domain}: receipt {receipt.number} for {receipt.document}", tuple(faults))
