"""Texts that are read for their tone: what is quoted, what is said, and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant import tone
from assistant.tone import Tone
from retrieval.embedder import SentenceEmbedder


class Words:
    """A head that counts two words."""

    labels = ("bearish", "bullish", "neutral")

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        rows = [[4.0 * text.lower().count("falls"), 4.0 * text.lower().count("beats"), 1.0] for text in texts]
        return np.array(rows, dtype=np.float64)


HEAD = Tone(Words(), heat=1.0)


@pytest.mark.parametrize(
    ("text", "frame", "quoted"),
    [
        ('Is this bullish: "Acme beats expectations"', "Is this bullish:", "Acme beats expectations"),
        ("How does “Acme falls again” sound?", "How does sound?", "Acme falls again"),
        ("Sentiment of this headline: Acme's profit falls", "Sentiment of this headline", "Acme's profit falls"),
        ("What does 'a bear market' mean?", "What does mean?", "a bear market"),
        ("What is today's rate on the bank's loans?", "What is today's rate on the bank's loans?", ""),
        ("Is this bullish?", "Is this bullish?", ""),
    ],
)
def test_what_is_asked_is_told_from_what_is_quoted(text: str, frame: str, quoted: str) -> None:
    assert tone.split(text) == (frame, quoted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Acme beats expectations in spring", "sounds bullish (94% sure). What counts most: beats."),
        ("Acme falls but beats the index", "could sound bearish or bullish: I am only 49% sure of bearish."),
    ],
)
def test_the_reply_names_the_tone_the_certainty_and_the_words(text: str, said: str) -> None:
    draft = tone.reply(HEAD, text)
    assert (draft.outcome, draft.author, draft.tool) == ("answered", "tool", tone.TOOL)
    assert said in draft.text and "not a forecast or advice" in draft.text


def test_a_missing_text_is_asked_for() -> None:
    draft = tone.reply(HEAD, "")
    assert (draft.outcome, draft.text) == ("clarify", tone.ASK)


def test_a_long_text_is_repeated_in_short() -> None:
    assert len(tone.reply(HEAD, "Acme beats " + "everything and all " * 100).text) < 500


def test_a_head_that_is_not_there_is_no_error(embedder: SentenceEmbedder, tmp_path: Path) -> None:
    assert tone.find(embedder, tmp_path) is None


def test_a_head_that_is_broken_is_reported_and_not_used(
    embedder: SentenceEmbedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "card.json").write_text("{}")
    assert tone.find(embedder, tmp_path) is None
    assert f"the head in {tmp_path} is not used" in caplog.text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Shares of Acme plunge 20% after the company cuts its profit forecast", "bearish"),
        ("Acme stock soars to a record high after earnings beat expectations", "bullish"),
        ("Acme to hold its annual meeting on Tuesday", "neutral"),
    ],
)
def test_the_head_that_ships_tells_the_tone_of_plain_headlines(
    embedder: SentenceEmbedder, text: str, label: str
) -> None:
    shipped = tone.find(embedder, tone.SHIPPED)
    assert shipped is not None
    assert f"sounds {label}" in tone.reply(shipped, text).text
