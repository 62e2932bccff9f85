"""What a source says about a sentence: supported, contradicted, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from assistant.entailment import FEATURES, Verdict, Words, closest, features, judge, support, together
from retrieval.embedder import SentenceEmbedder, Vectors
from retrieval.passage import Document, passages

TEXT = (
    "A borrowed book may be kept for 21 days. A borrowed film may be kept for 7 days. "
    "The Riverside branch opens at 9 am. Reference books cannot be borrowed."
)
(PASSAGE,) = passages(Document("loans", "Loans", f"## Loan period\n{TEXT}", "House rules"))


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("A borrowed book may be kept for 21 days.", Verdict.SUPPORTED),
        ("According to the source, a borrowed film may be kept for 7 days.", Verdict.SUPPORTED),
        ("A borrowed book may be kept for 90 days.", Verdict.CONTRADICTED),
        ("A borrowed book may not be kept for 21 days.", Verdict.CONTRADICTED),
        ("Penguins live in the southern hemisphere.", Verdict.NO_EVIDENCE),
    ],
)
def test_a_claim_is_judged_by_its_source(embedder: SentenceEmbedder, claim: str, verdict: Verdict) -> None:
    (judged,) = judge([claim], [PASSAGE], embedder)
    assert judged.verdict is verdict
    assert 0 <= judged.probability <= 1


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("A borrowed book may be kept for 21 days.", Verdict.SUPPORTED),
        ("You can keep a book that you borrowed for 21 days.", Verdict.SUPPORTED),
        ("The Riverside branch opens at 9 am.", Verdict.SUPPORTED),
        ("A borrowed book may be kept for 90 days.", Verdict.CONTRADICTED),
        ("Penguins live in the southern hemisphere.", Verdict.NO_EVIDENCE),
        ("The Riverside branch sells coffee to its readers.", Verdict.NO_EVIDENCE),
    ],
)
def test_with_a_reader_other_words_are_understood(embedder: SentenceEmbedder, claim: str, verdict: Verdict) -> None:
    (judged,) = judge([claim], [PASSAGE], embedder, support(embedder))
    assert judged.verdict is verdict


def test_another_embedder_has_no_reader() -> None:
    class Other:
        fingerprint = "other"

        def embed(self, texts: Sequence[str]) -> Vectors:
            return np.zeros((len(texts), 3), dtype=np.float32)

    assert support(Other()) is None


def test_the_closest_spans_are_read_together_as_they_stand() -> None:
    spans = ["Books are lent.", "The desk opens at nine.", "A book is kept for 21 days.", "Films are lent for 7 days."]
    order = closest(Words("A film is lent for 7 days."), [Words(span) for span in spans])
    assert order[0] == 3
    assert together(order, spans) == " ".join(spans)  # all of them fit
    long = [f"{span} {'word ' * 60}" for span in spans]
    assert together([3, 0, 1, 2], long) == long[3]  # the closest is read even where nothing fits beside it


def test_the_closest_span_is_pointed_at(embedder: SentenceEmbedder) -> None:
    (judged,) = judge(["Reference books cannot be borrowed."], [PASSAGE], embedder)
    assert judged.passage is PASSAGE
    assert PASSAGE.text[judged.start : judged.end] == "Reference books cannot be borrowed."


def test_without_sources_nothing_is_supported(embedder: SentenceEmbedder) -> None:
    assert [one.verdict for one in judge(["Anything."], [], embedder)] == [Verdict.NO_EVIDENCE]


def test_features_say_what_they_are_named_for(embedder: SentenceEmbedder) -> None:
    claim = "Riverside may not open for 8 days."
    spans = [PASSAGE.text[:40], PASSAGE.text[41:81]]
    vectors = embedder.embed([*spans, claim])
    row, _ = features(Words(claim), vectors[2], [Words(span) for span in spans], vectors[:2])
    named = dict(zip(FEATURES, row, strict=True))
    assert (named["figures"], named["figures_any"], named["negative"], named["negation_differs"]) == (1, 0, 1, 1)
