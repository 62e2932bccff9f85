"""The same search as a langchain-core retriever, for those who bring their own chain."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from retrieval.embedder import Embedder
from retrieval.storage import Index


class PassageRetriever(BaseRetriever):
    """Returns passages as langchain documents; ``metadata`` holds id, source, digest and scores."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    embedder: Embedder
    k: int = 5

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - the signature is langchain's
    ) -> list[LangChainDocument]:
        return [
            LangChainDocument(
                page_content=hit.passage.text,
                id=hit.passage.id,
                metadata={
                    "title": hit.passage.heading,
                    "source": hit.passage.source,
                    "sha256": hit.passage.sha256,
                    "cosine": hit.cosine,
                    "score": hit.score,
                },
            )
            for hit in self.index.search(query, self.embedder.embed([query])[0], self.k)
        ]
