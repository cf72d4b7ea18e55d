"""`dataset export`, and the stage's own command beside it. Real: the command line in this process, files."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tuning_room.cli import cli, main, stage
from tuning_room.cli import dataset as commands
from tuning_room.errors import DataError, MissingInputError
from tuning_room.formats import FORMATS
from tuning_room.generate.candidates import example_candidates
from tuning_room.records import Dialogue, Message, write_jsonl

USER, REPLY = Message(role="user", content="Hi"), Message(role="assistant", content="Why?")


def test_the_command_offers_every_format() -> None:
    assert commands.FORMATS == FORMATS


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_exported_can_be_a_seed(
    form: str, write_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        Dialogue(
            id=f"r{n}", source="s", group="g", topic="sums", messages=[Message(role="system", content="S"), USER, REPLY]
        )
        for n in range(3)
    ]
    write_jsonl(tmp_path / "runs" / "cook" / "dataset" / "train.jsonl", rows)
    words = ["dataset", "export", str(write_recipe()), "--format", form, "--to", "out.jsonl", "--json"]
    monkeypatch.setattr(sys, "argv", ["tuning-room", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == {"rows": 3, "format": form, "file": "out.jsonl"}
    seeds = example_candidates(tmp_path / "out.jsonl")
    assert [(seed.id, seed.topic, seed.messages) for seed in seeds] == [
        (f"r{n}", "sums", [USER, REPLY]) for n in range(3)
    ]


def called(*words: str) -> Result:
    return CliRunner().invoke(cli, ["dataset", *words])


def test_the_stage_has_the_options_that_other_stages_have() -> None:
    offered = {name: [option.opts for option in stage.command(name).params] for name in ("dataset", "generate")}
    assert offered["dataset"] == offered["generate"]


def test_a_recipe_that_is_called_as_a_command_is_reached_by_its_path(
    write_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe().rename(tmp_path / "review")
    assert called("review").exit_code == 2
    for words in (("./review",), ("--json", "./review"), ("./review", "--force")):
        # The stage itself: it asks for the candidates.
        assert isinstance(called(*words).exception, MissingInputError)


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_further_command_has_help(name: str) -> None:
    result = called(name, "-h")
    assert result.exit_code == 0
    assert f"dataset {name} [OPTIONS] RECIPE" in result.output
    assert commands.COMMANDS[name].help in result.output


def test_what_cannot_be_exported_leaves_no_file(
    write_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = str(write_recipe())
    assert isinstance(called("export", recipe, "--to", "out.jsonl").exception, MissingInputError)
    rows = [
        Dialogue(id=name, source="s", group="g", messages=said) for name, said in (("a", [USER, REPLY]), ("b", [USER]))
    ]
    write_jsonl(tmp_path / "runs" / "cook" / "dataset" / "train.jsonl", rows)
    refused = called("export", recipe, "--to", "out.jsonl", "--format", "alpaca").exception
    assert isinstance(refused, DataError) and "train.jsonl: b:" in str(refused)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
