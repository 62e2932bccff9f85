"""The evaluations of understanding, from files to the one format of all evaluations, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assistant import cli, dataset
from tests.assistant.test_classifier import NEW, ROWS, STRANGERS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("labelled")
    named = {"train": ROWS, "test": NEW, "odd": STRANGERS[:6], "odd_test": STRANGERS[6:]}
    for name, rows in named.items():
        dataset.write(folder / f"{name}.jsonl", [{"text": row.text, "label": row.label} for row in rows])
    return {name: folder / f"{name}.jsonl" for name in named}


def evaluated(models_dir: Path, home: Path, *arguments: object) -> dict[str, Any]:
    """The one JSON object that the command prints."""
    result = CliRunner().invoke(
        cli.app, ["evaluate", *map(str, arguments), "--json"],
        env={"ASSISTANT_MODELS": str(models_dir), "ASSISTANT_HOME": str(home)},
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    return dict(json.loads(line))


def test_intents_are_measured_with_what_is_out_of_scope(
    files: dict[str, Path], models_dir: Path, tmp_path: Path
) -> None:
    found = evaluated(
        models_dir, tmp_path, "intents", "--train", files["train"], "--test", files["test"], "--seed", 3,
        "--oos-train", files["odd"], "--oos-test", files["odd_test"],
    )  # fmt: skip
    assert (found["task"], found["n"], found["seed"], found["data"]) == ("intents", 5, 3, str(files["test"]))
    metrics = found["metrics"]
    assert metrics["accuracy"] == metrics["in_scope_accuracy"] == metrics["oos_recall"] == 1.0
    assert {"macro_f1", "ece", "coverage_at_95_precision", "oos_precision"} <= set(metrics)
    assert metrics["train_seconds"] > 0 and metrics["query_ms_p50"] > 0


def test_sentiment_is_measured_with_a_fine_tuned_encoder_where_it_is_asked_for(
    files: dict[str, Path], models_dir: Path, tmp_path: Path
) -> None:
    found = evaluated(models_dir, tmp_path, "sentiment", "--train", files["train"], "--test", files["test"], "--tune")
    assert found["task"] == "sentiment" and found["metrics"]["weighted_f1"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["intents", "--train", "{train}", "--test", "{test}", "--oos-test", "{odd}"], "only one was given"),
        (["intents", "--train", "{train}", "--test", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_what_does_not_fit_is_refused(
    files: dict[str, Path], models_dir: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    given = [one.format(**files) for one in arguments]
    result = CliRunner().invoke(
        cli.app, ["evaluate", *given], env={"ASSISTANT_MODELS": str(models_dir), "ASSISTANT_HOME": str(tmp_path)}
    )
    assert reason in str(result.exception) and type(result.exception).__name__ == "DataError"


def test_sentiment_needs_files_to_learn_from_or_one_to_measure_on() -> None:
    result = CliRunner().invoke(cli.app, ["evaluate", "sentiment"])
    assert result.exit_code == 2 and "--data alone" in result.output


def test_a_trained_head_is_written_with_its_card_curves_and_reliability(
    files: dict[str, Path], models_dir: Path, tmp_path: Path
) -> None:
    to = tmp_path / "head"
    command = ["train", "heads", "--task", "intents", "--data", str(files["train"]), "--to", str(to), "--epochs", "2"]
    environment = {"ASSISTANT_MODELS": str(models_dir), "ASSISTANT_HOME": str(tmp_path)}
    result = CliRunner().invoke(cli.app, [*command, "--layers", "1", "--rank", "4", "--search"], env=environment)
    assert result.exit_code == 0, result.output
    card = json.loads((to / "card.json").read_text())
    assert card["task"] == "intents" and len(card["searched"]) == 3 and len(card["epochs"]) == 2
    assert card["on_dev"]["n"] == 3 and card["temperature"] > 0 and card["reliability"]
    assert (to / "reliability.png").read_bytes().startswith(b"\x89PNG") and list((to / "tensorboard").glob("events*"))
    again = CliRunner().invoke(cli.app, command, env=environment)
    assert "holds a finished head" in str(again.exception)
