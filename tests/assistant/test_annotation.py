"""A labelling session without a page: what follows from each answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant import annotation
from assistant.dataset import DataError
from tests.retrieval.test_index import BagOfWords

TEXTS = [f"where is my parcel number {number}" for number in range(8)]
TEXTS += [f"refund my money please {number}" for number in range(8)]


def begun(path: Path, header: str = "text", rows: list[str] | None = None) -> annotation.Annotation:
    path.write_text("\n".join([header, *(TEXTS if rows is None else rows)]))
    return annotation.begin(path, BagOfWords())


def test_proposals_spread_from_two_answers_and_only_sure_ones_are_written(tmp_path: Path) -> None:
    state = begun(tmp_path / "raw.csv")
    assert annotation.view(state).proposals == ()
    state = annotation.answer(annotation.answer(state, 0, "parcel"), 8, "refund")
    seen = annotation.view(state)
    assert [label for label, _ in seen.proposals] == ["parcel"] * 8 + ["refund"] * 8
    assert seen.asked not in (None, 0, 8)
    rows = annotation.examples(state, seen, lambda _: ("neutral", 1.0))
    assert all(row["intent"] in row["text"] for row in rows)
    assert len(rows) == sum(sure >= annotation.SURE_AT for _, sure in seen.proposals)


def test_naming_a_group_labels_its_centre_and_takes_it_off_the_list(tmp_path: Path) -> None:
    state = begun(tmp_path / "raw.csv")
    named = annotation.name(state, 0, "first")
    assert len(named.groups) == len(state.groups) - 1
    assert set(named.known) == set(state.groups[0].members[:3])


def test_a_confirmed_label_is_not_doubted_again(tmp_path: Path) -> None:
    rows = [f"{text},{'refund' if number in (0, *range(8, 16)) else 'parcel'}" for number, text in enumerate(TEXTS)]
    state = begun(tmp_path / "raw.csv", "text,label", rows)
    assert [doubt.place for doubt in annotation.view(state).doubts][:1] == [0]
    assert all(doubt.place for doubt in annotation.view(annotation.answer(state, 0, "refund")).doubts)


@pytest.mark.parametrize(("label", "slug"), [("Where is it?", "where_is_it"), ("退款", "退款"), ("?!", "")])
def test_a_label_is_written_as_packs_name_intents(label: str, slug: str) -> None:
    assert annotation.slug(label) == slug


def test_a_single_text_is_not_worth_labelling(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"raw\.csv: 1 rows with a 'text'; between 2 and 5,000"):
        begun(tmp_path / "raw.csv", rows=TEXTS[:1])
