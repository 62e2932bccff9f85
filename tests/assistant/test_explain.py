"""Why a question was read as it was, with the real embedding and a small pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from assistant import reader
from assistant.explain import explain, influences
from assistant.head import Head
from assistant.reader import Reader
from assistant.record import Reading
from domains.pack import load
from retrieval.embedder import SentenceEmbedder, Vectors

TinyPack = Callable[..., Path]
FEE = "What is the fine for a late book?"


class Plain:
    """An embedder that cannot take a text apart."""

    fingerprint = "plain"

    def __init__(self, inner: SentenceEmbedder) -> None:
        self._inner = inner

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._inner.embed(texts)


@pytest.fixture(scope="module")
def trained(tiny_pack: TinyPack, tmp_path_factory: pytest.TempPathFactory, embedder: SentenceEmbedder) -> Reader:
    return reader.train([load(tiny_pack(tmp_path_factory.mktemp("packs") / "library"))], embedder.embed)


def reading(intent: str = "fee", *, chosen: bool = False, mood: str = "neutral") -> Reading:
    return Reading("library", 0.9, chosen, ("library",), intent, 0.9, mood, 0.9)  # type: ignore[arg-type]


def test_the_parts_of_a_text_are_its_words_and_nearly_make_up_its_vector(embedder: SentenceEmbedder) -> None:
    parts = embedder.parts("Where's my card, please?")
    assert [word for word, _ in parts] == ["Where's", "my", "card", "please"]
    whole = np.sum([part for _, part in parts], axis=0)
    assert whole @ embedder.embed(["Where's my card, please?"])[0] > 0.6  # the rest is what marks begin and end


def test_the_words_that_drive_an_intent_are_named_with_the_nearest_examples(
    trained: Reader, embedder: SentenceEmbedder
) -> None:
    domain, intent = explain(embedder, trained, reading(), FEE, embedder.embed([FEE])[0])
    assert (domain.of, domain.label, intent.of, intent.label) == ("domain", "library", "intent", "fee")
    assert {"fine", "late"} & {word.word for word in intent.words if word.weight > 0}
    assert intent.nearest[0] == "what do I pay for a late book" and not domain.nearest


def test_what_the_user_chose_is_not_explained_and_a_mood_is_only_when_there_is_one(
    trained: Reader, embedder: SentenceEmbedder
) -> None:
    vector = embedder.embed([FEE])[0]
    found = explain(embedder, trained, reading(chosen=True, mood="negative"), FEE, vector)
    assert [one.of for one in found] == ["intent", "sentiment"]


def test_an_embedder_that_cannot_be_taken_apart_still_names_examples(
    trained: Reader, embedder: SentenceEmbedder
) -> None:
    found = explain(Plain(embedder), trained, reading(), FEE, embedder.embed([FEE])[0])
    assert all(one.words == () for one in found) and found[1].nearest


def test_a_word_against_a_label_has_a_weight_below_zero_and_a_faint_one_is_left_out() -> None:
    head = Head(("no", "yes"), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), np.zeros(2))
    parts = [(word, np.eye(3, dtype=np.float32)[place]) for word, place in (("good", 0), ("bad", 1), ("the", 2))]
    assert [(one.word, one.weight) for one in influences(head, "yes", parts)] == [("good", 1.0), ("bad", -1.0)]
