"""The seam between the assistant and whatever generates text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from adapters.base import Base
    from adapters.store import Adapter


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw tokens. Temperature 0 is greedy and needs no seed."""

    max_tokens: int = 160
    temperature: float = 0.0
    seed: int = 0


class ChatModel(Protocol):
    """Generates text; safe to call from many threads at once."""

    def stream(self, messages: Sequence[Message], *, adapter: str | None, sampling: Sampling) -> Iterator[str]:
        """Yield pieces of the answer as they are made; closing the iterator frees the slot.

        Args:
            messages: the conversation, system message first.
            adapter: digest of the adapter that speaks; None is the bare base model.
            sampling: length and randomness.

        Raises:
            AdapterError: no adapter of that digest is loaded.
        """
        ...


class Engine(ChatModel, Protocol):
    """A ``ChatModel`` that adapters of one base model are loaded into: in this process, or on a server."""

    base: Base

    def load(self, adapter: Adapter) -> None:
        """Make an adapter known, and let it prove itself now; nothing where it did before.

        Raises:
            AdapterError: it does not fit, changes nothing, or is not what speaks. It is not loaded then.
        """
        ...

    def unload(self, digest: str) -> None:
        """Forget an adapter; nothing where it is not loaded, or where it is loaded again meanwhile. Does not wait.

        An answer that has begun ends with whom it began; the adapter is forgotten after the last of them.
        """
        ...
