"""Settings: environment over file over defaults, and a wrong one is named with where it was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assistant.settings import Settings, SettingsError, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "assistant.toml"


def test_without_file_and_environment_the_defaults_hold(file: Path) -> None:
    found = load({}, file)
    assert found == Settings()
    assert (found.host, found.port, found.dtype, found.adapters) == ("127.0.0.1", 7860, "auto", True)
    assert found.models_dir == found.home / "models"
    assert found.database_url == f"sqlite:///{found.home / 'state.db'}"


def test_the_environment_stands_over_the_file_and_the_file_over_the_defaults(file: Path) -> None:
    file.write_text('port = 8000\nhost = "0.0.0.0"\n')
    found = load({"ASSISTANT_PORT": "9000"}, file)
    assert (found.port, found.host, found.concurrency) == (9000, "0.0.0.0", 8)  # noqa: S104 - only a value here


def test_the_environment_can_name_the_file(file: Path) -> None:
    file.write_text("port = 8001\n")
    assert load({"ASSISTANT_CONFIG": str(file)}).port == 8001


def test_paths_are_expanded_and_made_absolute(file: Path, tmp_path: Path) -> None:
    variables = {"ASSISTANT_HOME": "~/state", "ASSISTANT_DOMAINS": os.pathsep.join(["~/packs/one", "two", ""])}
    found = load(variables, file)
    assert found.home == Path.home() / "state"
    assert found.domains == (Path.home() / "packs" / "one", Path("two").absolute())
    assert load({"ASSISTANT_MODELS": str(tmp_path)}, file).models_dir == tmp_path


def test_a_database_url_and_a_models_folder_are_taken_as_given(file: Path) -> None:
    file.write_text(f'database = "postgresql://db/x"\nmodels = "{file.parent}"\n')
    found = load({}, file)
    assert (found.database_url, found.models_dir) == ("postgresql://db/x", file.parent)


@pytest.mark.parametrize(("text", "expected"), [("false", False), ("0", False), ("true", True), ("1", True)])
def test_a_switch_is_read_from_the_environment(file: Path, text: str, expected: bool) -> None:
    assert load({"ASSISTANT_ADAPTERS": text}, file).adapters is expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("engine", "vllm", "Value error, expected 'torch', or the http:// or https:// address of a server"),
        ("engine", "Torch", "Value error, expected 'torch', or the http:// or https:// address of a server"),
        ("engine", "http://", "Value error, expected 'torch', or the http:// or https:// address of a server"),
        ("adapter_rank", "0", "Input should be greater than or equal to 1"),
        ("port", "0", "Input should be greater than or equal to 1"),
        ("port", "65536", "Input should be less than or equal to 65535"),
        ("port", "http", "Input should be a valid integer"),
        ("max_tokens", "15", "Input should be greater than or equal to 16"),
        ("concurrency", "0", "Input should be greater than or equal to 1"),
        ("threads", "0", "Input should be greater than or equal to 1"),
        ("dtype", "float16", "Input should be 'auto', 'float32' or 'bfloat16'"),
        ("adapters", "perhaps", "Input should be a valid boolean"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found(file: Path, name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"ASSISTANT_{name.upper()}": value}, file)
    message = str(caught.value)
    assert message.startswith(f"setting {name!r} (ASSISTANT_{name.upper()} or {file}): {reason}"), message
    assert f"found {value!r}; known settings: home, models, chat_model" in message


def test_an_unknown_key_in_the_file_is_refused(file: Path) -> None:
    file.write_text("prot = 8000\n")
    with pytest.raises(SettingsError, match=r"^setting 'prot' .*Extra inputs are not permitted, found 8000; known"):
        load({}, file)


def test_a_file_that_is_no_toml_is_named(file: Path) -> None:
    file.write_text("port: 8000\n")
    with pytest.raises(SettingsError) as caught:
        load({}, file)
    assert str(file) in str(caught.value) and "TOML" in str(caught.value)


def test_a_named_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"ASSISTANT_CONFIG": str(tmp_path / "absent.toml")})
    assert str(caught.value) == (
        f"{tmp_path / 'absent.toml'}: no such file, and ASSISTANT_CONFIG names it; correct the path or unset it"
    )
