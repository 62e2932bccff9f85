"""The command line: help for everything, one sentence for every failure, and exit codes that mean something."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from adapters.passport import check_signature, public_key, read
from adapters.shelf import Shelf
from assistant import cli
from assistant.app import SHIPPED_ADAPTERS
from assistant.store import Store
from assistant.users import Users

TinyPack = Callable[..., Path]
PASSWORD = "correct horse"


def commands(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for one in app.registered_commands:
        assert one.callback is not None
        yield (*path, one.name or one.callback.__name__)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*path, str(group.name)))


def run(home: Path, *arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m assistant`` in a process of its own, with a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSISTANT_")}
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        env=environment | {"ASSISTANT_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"} | variables,
        cwd=Path(cli.__file__).parents[1],
        input=given, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


ALL = [command for command in commands(cli.app) if command]


def test_all_commands_were_found() -> None:
    assert {("serve",), ("ask",), ("models", "pull"), ("users", "add"), ("domains", "check")} <= set(ALL)


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli.app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert f"Usage: assistant {' '.join(command)}" in result.output


def test_without_a_command_the_help_is_shown_by_python_m_too(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert "Usage: " in result.stdout + result.stderr and "serve" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (("models", "list"), {"ASSISTANT_PORT": "http"}, 2, "Error: setting 'port' (ASSISTANT_PORT or assistant.toml)"),
        (("domains", "check", "/nowhere"), {}, 2, "Error: /nowhere: no such folder; a domain pack is a folder"),
        (("users", "password", "ben", "--password", PASSWORD), {}, 2, "Error: there is no user 'ben'"),
        (("models", "verify"), {}, 1, "is missing or incomplete; run 'assistant models pull'"),
        (("users", "list"), {"ASSISTANT_DATABASE": "nonsense"}, 1, "Error: database (not a SQLAlchemy URL)"),
        (("cook",), {}, 2, "No such command 'cook'"),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], code: int, words: str
) -> None:
    result = run(tmp_path, *arguments, **variables)
    assert words in result.stderr, result.stderr
    assert (result.returncode, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr


def test_a_user_is_added_once_and_may_sign_in(tmp_path: Path) -> None:
    result = run(tmp_path, "users", "add", "rea", "--role", "reviewer", given=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.returncode == 0 and result.stdout.endswith("rea was created as reviewer.\n")
    assert PASSWORD not in result.stdout + result.stderr
    store = Store(f"sqlite:///{tmp_path / 'state.db'}")
    user = Users(store).check("rea", PASSWORD)
    store.close()
    assert user and user.role == "reviewer"
    again = run(tmp_path, "users", "add", "rea", "--password", PASSWORD)
    assert (again.returncode, again.stderr.strip()) == (2, "Error: there is a user 'rea' already")


def test_a_pack_is_checked_without_being_added(tiny_pack: TinyPack, tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "library")
    result = CliRunner().invoke(
        cli.app, ["domains", "check", str(pack)], env={"ASSISTANT_HOME": str(tmp_path / "home")}
    )
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "home").exists()


def test_a_canary_is_listed_with_its_turns_and_stopped(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "adapters", (SHIPPED_ADAPTERS,))
    new = shelf.add("finance", SHIPPED_ADAPTERS / "medical", "ann")
    shelf.try_out("finance", new.digest, 0.1, "ann", {})

    def said(*arguments: str) -> str:
        environment = {"ASSISTANT_HOME": str(tmp_path), "COLUMNS": "200"}
        result = CliRunner().invoke(cli.app, ["adapters", *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    assert "Canary of finance: 10% of the conversations" in said("list") and "refused or escalated" in said("list")
    (row,) = (
        one for one in json.loads(said("list", "--json")) if (one["name"], one["digest"]) == ("finance", new.digest)
    )
    assert (row["state"], row["traffic"]["turns"]) == ("canary", 0)
    assert "ann: canary 10% " + new.digest[:16] in said("show", "finance")
    assert new.digest in said("stop", "finance", "--by", "ben")
    assert shelf.resolve("finance", new.digest).state == "candidate"


def test_an_adapter_is_signed_in_its_folder_without_a_server(tmp_path: Path) -> None:
    folder = shutil.copytree(SHIPPED_ADAPTERS / "medical", tmp_path / "trained")
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"

    def said(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["adapters", *arguments], env={"ASSISTANT_HOME": str(tmp_path / "home")})

    assert said("keygen", str(private), str(public)).exit_code == 0
    result = said("sign", "--folder", str(folder), "--key", str(private))
    assert result.exit_code == 0 and "is signed" in result.output, result.output
    check_signature(read(folder), public_key(public))
    assert not (tmp_path / "home").exists()
    for wrong in ((), ("medical",), ("medical", "0" * 64, "--folder", str(folder))):
        result = said("sign", *wrong, "--key", str(private))
        assert result.exit_code == 2 and "give NAME and DIGEST, or --folder alone" in result.output


def test_a_token_is_printed_once_listed_and_revoked(tmp_path: Path) -> None:
    run(tmp_path, "users", "add", "bot", "--password", PASSWORD)
    made = run(tmp_path, "users", "token", "bot", "--for", "red team")
    assert made.returncode == 0 and made.stdout.startswith("da_") and len(made.stdout.split()) == 1
    listed = run(tmp_path, "users", "tokens").stdout
    assert "1  bot  red team" in listed and "never used" in listed and made.stdout.strip() not in listed
    assert "Token 1 was revoked" in run(tmp_path, "users", "revoke", "1").stdout
    again = run(tmp_path, "users", "revoke", "1")
    assert again.returncode == 2 and "there is no token 1" in again.stderr
