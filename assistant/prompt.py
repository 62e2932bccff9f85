"""What the model is asked. Training and serving share it, so a lesson looks exactly like a real question."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.chat import Message
from assistant.ranking import Candidate

NO_ANSWER = "NOT IN SOURCES"  # what the model says when the sources do not answer
SHOWN = 6  # sentences that the model reads: a small model chooses well among few, and the prompt stays short


def grounded(system: str, question: str, sources: Sequence[Candidate]) -> list[Message]:
    """The messages for a question over sentences of the sources, likeliest first. Sources are data, and marked so."""
    lines = "\n".join(
        f"[{number}] {source.hit.passage.title}: {source.text}" for number, source in enumerate(sources, start=1)
    )
    return [Message("system", system), Message("user", f"Sources:\n{lines}\n\nQuestion: {question}")]
