"""The command line in this process. Real: click, the recipe, the run folder; no stage is run."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tuning_room import __version__
from tuning_room.cli import COMMANDS, cli, main
from tuning_room.cli.options import SHIP, exit_code, show, summary
from tuning_room.errors import EngineError
from tuning_room.files import atomic_writer
from tuning_room.recipe import ALL_STAGES, Done
from tuning_room.workspace import StageResult

WriteRecipe = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that calls `tuning-room` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tuning-room", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return run


def one_line(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


def test_the_help_is_the_table_of_contents() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    table = result.output.partition("Commands:\n")[2]
    assert re.findall(r"^  (\w+)", table, re.MULTILINE) == list(COMMANDS)
    # Lines are broken at spaces and hyphens.
    text = "".join(result.output.split())
    for entry in COMMANDS.values():
        assert "".join(entry.help.split()) in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "-h"])
    assert result.exit_code == 0, result.output
    assert "".join(COMMANDS[name].help.split()) in "".join(result.output.split())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "deploy"])
def test_each_option_says_what_it_does(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    # One command makes a recipe, all others read one.
    assert name == "init" or {"recipe", "recipes"} & {parameter.name for parameter in command.params}


def test_every_stage_has_a_command() -> None:
    assert set(ALL_STAGES) <= set(COMMANDS)
    assert {name for name, entry in COMMANDS.items() if entry.module == "stage"} == {"dataset", "report"}


def test_the_version_is_the_packages(call: Call) -> None:
    assert call("--version") == (0, f"tuning-room {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [["bakee", "x"], ["bake"], ["bake", "x", "--fast"], ["chat", "x", "--arm", "third"], ["serve", "x", "--port", "a"]],
)
def test_a_wrong_call_says_how_it_is_right(arguments: list[str], call: Call) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert "Usage:" in err or "No such command" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("deploy", "init")])
def test_a_recipe_that_is_nowhere_is_one_line(name: str, call: Call) -> None:
    code, out, err = call(name, "nowhere")
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "recipe 'nowhere'" in err


def test_deploy_asks_what_to_do(call: Call) -> None:
    code, out, err = call("deploy")
    assert code == 2
    assert "render" in out + err
    assert one_line(call("deploy", "render", "nowhere")[2])


def test_a_stage_before_its_input_says_which_stage_is_missing(call: Call, write_recipe: WriteRecipe) -> None:
    code, _, err = call("dataset", write_recipe())
    assert code == 2
    assert one_line(err)
    assert "candidates.jsonl" in err


def test_a_device_that_is_not_there_is_said_before_the_first_stage(
    call: Call, write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNING_ROOM_DEVICE", "gpu")
    code, out, err = call("bake", write_recipe())
    assert (code, out) == (2, "") and one_line(err)
    assert "TUNING_ROOM_DEVICE: no such device: 'gpu'; set it to cpu, cuda or auto" in err


def test_status_of_a_run_that_has_not_begun(call: Call, write_recipe: WriteRecipe, tmp_path: Path) -> None:
    code, out, err = call("status", write_recipe())
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1) for line in out.splitlines()] == [[name, "not run"] for name in ALL_STAGES]
    assert not (tmp_path / "runs").exists(), "looking leaves nothing behind"


def test_status_as_json_and_after_a_failure(call: Call, write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    call("dataset", folder, "--runs", "elsewhere")
    code, out, _ = call("status", folder, "--runs", "elsewhere", "--json")
    states = json.loads(out)
    assert code == 0
    assert states["run"] == "elsewhere/cook"
    assert states["stages"]["dataset"].startswith("failed: ")
    assert states["stages"]["convert"] == "not run"


def test_advice_as_json_and_as_tables(call: Call, write_recipe: WriteRecipe, embedded_model: Path) -> None:
    folder = write_recipe()
    code, out, err = call("advise", folder, "--json")
    assert (code, err) == (0, "")
    advice = json.loads(out)
    assert advice["full_tokens"] > advice["short_tokens"] > 0
    code, out, _ = call("advise", folder)
    assert code == 0
    assert f"{advice['full_tokens_per_day']:,}" in out


@pytest.mark.parametrize("runs", ["a file", "a file/below"])
def test_a_place_that_cannot_hold_runs_is_one_line(
    runs: str, call: Call, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    with atomic_writer(tmp_path / "a file") as out:
        out.write("x")
    code, _, err = call("convert", write_recipe(), "--runs", runs)
    assert code == 2
    assert one_line(err), err


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_a_port_that_does_not_exist_is_refused(port: int, call: Call, write_recipe: WriteRecipe) -> None:
    code, _, err = call("serve", write_recipe(), "--port", port)
    assert code == 2
    assert "port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("tokens", [0, -5])
def test_a_reply_of_no_tokens_is_refused(tokens: int, call: Call, write_recipe: WriteRecipe) -> None:
    code, _, err = call("chat", write_recipe(), "--max-tokens", tokens)
    assert code == 2
    assert "max-tokens" in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (EngineError("it is silent", hint="start it"), 2, "error: it is silent; start it\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to continue\n"),
        (click.Abort(), 130, "stopped; run the same command again to continue\n"),
        (BrokenPipeError(), 0, ""),
        (PermissionError(13, "Permission denied", "runs"), 2, "error: runs: Permission denied\n"),
        (OSError("no space"), 2, "error: no space\n"),
    ],
)
def test_an_error_is_a_line_and_a_code(
    error: BaseException, code: int, words: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(recipe: str, runs: str) -> Any:
        raise error

    monkeypatch.setattr("tuning_room.cli.status.opened", fail)
    ended, out, err = call("status", "x")
    # click ends the line in which Ctrl-C was shown.
    assert (ended, out, err.removeprefix("\n")) == (code, "", words)


def test_verdicts_are_exit_codes() -> None:
    assert exit_code("ship") == SHIP == 0
    assert {exit_code(verdict) for verdict in ("more_data", "less_training", "start_over", "iterate")} == {3}


def done(stage: str, *, ran: bool = True, seconds: float = 61.5, **values: Any) -> Done:
    kind = type("Result", (StageResult,), {"__annotations__": dict.fromkeys(values, Any)})
    return Done(stage, kind(**values), ran, seconds)


RESULTS = {
    "convert": ({"documents": 4, "pages": 35, "tables": 11, "chunks": 144}, "4 documents, 35 pages, 11 tables"),
    "generate": ({"candidates": 9, "errors": 1}, "9 candidates, 1 rows failed"),
    "dataset": ({"accepted": 5, "train": 4, "valid": 1, "rejected": {"length": 2, "error": 1}}, "3 rejected"),
    "train": ({"rows": 8, "steps": 2, "final_loss": 1.23456}, "8 rows, 2 steps, loss 1.235"),
    "evaluate": ({"verdict": "ship"}, "verdict ship"),
    "report": ({"page": "report.html"}, "report.html"),
    "deploy": ({"release": "cook-1234", "files": ["a", "b"]}, "release cook-1234, 2 files"),
}


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_a_finished_stage_is_a_few_words_or_an_object(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    values, words = RESULTS[stage]
    assert words in summary(done(stage, **values))
    show(done(stage, **values), as_json=False)
    assert f"{stage:<9} done in 1 min 1 s: " in capsys.readouterr().out
    show(done(stage, ran=False, **values), as_json=False)
    assert f"{stage:<9} unchanged: " in capsys.readouterr().out
    show(done(stage, **values), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"stage": stage, "ran": True, "seconds": 61.5, **values}


def test_what_was_wrong_with_a_teachers_replies_is_in_its_line() -> None:
    cleaned = {"reasoning": 8, "quotes": 2}
    reasons = {"cut off": 3, "empty": 2, "unclear": 1, "refused": 1}
    counts = {"cut_off": 3, "unknown_tags": {"musing": 2}, "failures": reasons, "reasoning_tokens": 4096}
    assert summary(done("generate", candidates=9, errors=7, cleaned=cleaned, **counts)) == (
        "9 candidates, 7 rows failed (3: cut off; 2: empty; 1: unclear), "
        "replies cleaned: 8 of reasoning, 2 of quotes, tags at the start of replies left in: 2 with <musing>, "
        "the teacher reasons: up to 4096 tokens more a reply, 3 replies cut off: raise generate.teacher.max_tokens"
    )


def test_how_many_sections_of_the_documents_gave_rows_is_in_the_line_of_the_rules() -> None:
    found = summary(done("generate", candidates=9, errors=0, sections=7, sections_used=2))
    assert found == "9 candidates, 0 rows failed, 2 of 7 sections of the documents gave rows"


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_the_summary_names_what_the_stages_result_has(stage: str) -> None:
    assert set(RESULTS[stage][0]) <= set(ALL_STAGES[stage].result.model_fields)


@pytest.mark.parametrize("option", ["--plan", "--sweep"])
def test_steps_are_not_tried_by_several_processes(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    recipe = str(Path(__file__).parents[3] / "recipes" / "socratic-tutor")
    found = CliRunner().invoke(cli, ["train", recipe, option])
    assert found.exit_code == 2 and "not under torchrun" in found.output
