"""What a source says about a sentence: supported, contradicted, or nothing."""

from __future__ import annotations

import pytest

from assistant.entailment import FEATURES, Verdict, Words, features, judge
from retrieval.embedder import SentenceEmbedder
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
