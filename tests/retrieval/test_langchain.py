"""The langchain retriever finds what the index finds."""

from __future__ import annotations

import pytest

from retrieval.embedder import SentenceEmbedder
from retrieval.generation import build
from retrieval.index import FaissIndex
from retrieval.langchain import PassageRetriever
from retrieval.passage import Document, passages

TEXT = "## Loan period\nA book may be kept for 21 days.\n## Late fee\nThe late fee is 0.25 euros a day."


@pytest.fixture(scope="module")
def retriever(embedder: SentenceEmbedder, tmp_path_factory: pytest.TempPathFactory) -> PassageRetriever:
    corpus = list(passages(Document("rules", "Rules", TEXT, "House rules", "2026-01-05", "Apache-2.0")))
    folder = build(tmp_path_factory.mktemp("index"), corpus, embedder)
    return PassageRetriever(index=FaissIndex(folder, embedder), embedder=embedder, k=1)


def test_documents_carry_the_text_the_source_and_the_scores(retriever: PassageRetriever) -> None:
    (found,) = retriever.invoke("How much is the late fee?")
    (hit,) = retriever.index.search(
        "How much is the late fee?", retriever.embedder.embed(["How much is the late fee?"])[0], 1
    )
    assert (found.id, found.page_content) == ("rules#late-fee", "The late fee is 0.25 euros a day.")
    assert found.metadata == {
        "title": "Rules > Late fee",
        "source": "House rules",
        "sha256": hit.passage.sha256,
        "cosine": hit.cosine,
        "score": hit.score,
    }


def test_k_says_how_many_documents_come(retriever: PassageRetriever) -> None:
    assert len(retriever.invoke("book")) == 1
    assert len(retriever.model_copy(update={"k": 2}).invoke("book")) == 2


def test_the_retriever_is_a_link_of_a_chain(retriever: PassageRetriever) -> None:
    chain = retriever | (lambda documents: documents[0].page_content)
    assert chain.invoke("How long may I keep a book?") == "A book may be kept for 21 days."
