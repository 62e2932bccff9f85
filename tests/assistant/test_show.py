"""What the command line prints: tables that show everything, and text of strangers that cannot pass for markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from adapters.store import AdapterError
from assistant import models, show
from assistant.record import Citation, Reading, Turn
from assistant.settings import Settings, SettingsError
from assistant.users import UserError
from assistant.wheels import ModelsError
from domains.pack import DomainError

READING = Reading("library", 0.9, False, ("library",), "loan", 0.8, "neutral", 0.7)
CITATION = Citation(0, 1, "loans#a", "Loans > A", "House [rules]", 0, 8, "21 [red]days", "0" * 64, "text")
TURN = Turn("q", "21 [bold]days", "answered", "model", READING, sentences=("21 [bold]days",), citations=(CITATION,))


@pytest.fixture
def console() -> Iterator[Console]:
    yield Console(file=StringIO(), width=200, no_color=True)


def printed(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("error", "known", "of_the_user"),
    [
        (SettingsError("x"), True, True),
        (DomainError("x"), True, True),
        (UserError("x"), True, True),
        (AdapterError("x"), True, False),
        (ModelsError("x"), True, False),
        (ValueError("x"), False, False),
        (OSError("x"), False, False),
    ],
)
def test_only_our_own_errors_are_shown_as_sentences(error: Exception, known: bool, of_the_user: bool) -> None:
    assert (show.is_known(error), show.is_input(error)) == (known, of_the_user)


def test_a_question_is_neither_empty_nor_giant() -> None:
    show.check_question("x" * 8_000)
    with pytest.raises(SettingsError, match="^the question is empty$"):
        show.check_question(" \n")
    with pytest.raises(SettingsError, match="^the question has 8,001 characters, and at most 8,000 are read$"):
        show.check_question("x" * 8_001)


def test_a_pack_that_is_not_there_is_refused_with_those_there_are() -> None:
    show.check_domain(None, {})
    with pytest.raises(SettingsError, match="^there is no enabled pack 'cooking'; there are finance, medical$"):
        show.check_domain("cooking", {"finance": None, "medical": None})  # type: ignore[dict-item]


def test_a_role_is_one_of_three() -> None:
    assert [show.role(name) for name in ("user", "reviewer", "admin")] == ["user", "reviewer", "admin"]
    with pytest.raises(SettingsError, match="^role 'root' is unknown; it is one of user, reviewer, admin$"):
        show.role("root")


def test_an_answer_is_shown_with_source_and_without_reading_its_text_as_markup(console: Console) -> None:
    show._end(console, TURN, 0)
    text = printed(console)
    assert "21 [bold]days" in text and "[1] Loans > A: “21 [red]days” (House [rules])" in text
    assert "answered by model · library 0.90 · loan 0.80" in text


def test_what_was_streamed_is_not_shown_twice(console: Console) -> None:
    show._end(console, replace(TURN, sentences=("21 [bold]days", "A disclaimer.")), 1)
    assert "21 [bold]days" not in printed(console).splitlines()[0]
    assert "A disclaimer." in printed(console)


def test_a_held_answer_is_said_to_be_held(console: Console) -> None:
    show._end(console, replace(TURN, held=True), 1)
    assert "21 [bold]days" in printed(console) and "a person would check this first" in printed(console)


def test_json_is_one_line_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_json(replace(TURN, answer="Zeile\nzwei ü"))
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "ü" in out
    found = json.loads(out)
    assert (found["answer"], found["citations"][0]["quote"]) == ("Zeile\nzwei ü", "21 [red]days")


REPORT = {"task": "golden", "data": "x", "n": 2, "seconds": 1.5, "metrics": {"share": 0.5, "none": None}}


def test_a_report_is_a_table_with_what_failed(console: Console) -> None:
    show.report(console, REPORT | {"failures": [("Why [x]?", "[answer] does not say '21'", "No.")]})
    text = printed(console)
    assert "golden on x: 2 in 2 s" in " ".join(text.split()) and "0.500" in text
    assert "Why [x]?" in text and "[answer] does not say '21'" in text


def test_a_report_in_json_is_one_line_without_the_failures(capsys: pytest.CaptureFixture[str]) -> None:
    show.report(None, REPORT | {"failures": [("q", "r", "a")]})
    assert json.loads(capsys.readouterr().out) == REPORT


def test_missing_models_are_said_to_be_missing(console: Console, tmp_path: Path) -> None:
    here = [models.Installed(models.EMBEDDER, tmp_path)]
    show.models(console, models.DEFAULTS, here, tmp_path)
    lines = {line.split()[1]: line for line in printed(console).splitlines() if "Apache-2.0" in line}
    assert "installed" in lines[models.EMBEDDER.name]
    assert "missing: run 'assistant models pull'" in lines[models.CHAT.name]


def test_the_first_password_is_shown_as_it_is(console: Console) -> None:
    show.first_password(console, "a[bold]-_Z")
    assert "a[bold]-_Z" in printed(console)


def test_accounts_need_no_model(tmp_path: Path) -> None:
    with show.accounts(Settings(home=tmp_path)) as users:
        users.add("ana", "long enough", "user")
    with show.accounts(Settings(home=tmp_path)) as users:
        assert [user.name for user in users.list()] == ["ana"]
