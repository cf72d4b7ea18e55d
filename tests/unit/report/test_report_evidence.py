"""What the report reads, and when it refuses: parts of a run folder that do not belong together.

Real: all reading and checking. Fabricated: the run folder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_samples import ADAPTER

from drawn_adapters import stated_digest, write_stated_adapter
from tuning_room.errors import AdapterMismatchError, DataError, MissingInputError, StageError, TuningRoomError
from tuning_room.records import read_json, write_json
from tuning_room.report import ReportConfig, run
from tuning_room.workspace import Workspace


def refused(workspace: Workspace, config: ReportConfig, kind: type[TuningRoomError]) -> str:
    """Return the message with which the stage refuses; nothing may have been written."""
    with pytest.raises(kind) as caught:
        run(config, workspace)
    assert caught.value.hint
    assert not workspace.report_html.exists()
    assert not workspace.report_json.exists()
    return str(caught.value)


def changed(path: Path, change: Callable[[Any], None]) -> None:
    content = read_json(path)
    change(content)
    write_json(path, content)


@pytest.mark.parametrize(
    "name",
    ["evaluation/results.json", "evaluation/samples/baked.pressure.jsonl", "training/metrics.jsonl",
     "adapter/tuning_room.json", "prompt.md"],
)  # fmt: skip
def test_missing_input_is_named(workspace: Workspace, config: ReportConfig, name: str) -> None:
    (workspace.root / name).unlink()
    assert name in refused(workspace, config, MissingInputError)


def test_results_without_a_field_are_refused_by_its_name(workspace: Workspace, config: ReportConfig) -> None:
    changed(workspace.results, lambda results: results.pop("tokens"))
    assert "results.json: tokens" in refused(workspace, config, DataError)


def test_results_of_another_schema_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    changed(workspace.results, lambda results: results.update(schema_version=2))
    message = refused(workspace, config, DataError)
    assert "schema_version is 2" in message and "reads 3" in message and "tuning-room evaluate" in message


def test_results_with_a_new_field_are_read(workspace: Workspace, config: ReportConfig) -> None:
    changed(workspace.results, lambda results: results.update(energy=3))
    assert run(config, workspace).verdict == "more_data"


def test_broken_sample_is_refused_with_its_line(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "base.behaviour.jsonl"
    path.write_text(path.read_text() + "{not json\n")
    assert "base.behaviour.jsonl:41" in refused(workspace, config, DataError)


def test_loss_that_is_no_number_is_refused_with_its_line(workspace: Workspace, config: ReportConfig) -> None:
    with workspace.metrics.open("a") as out:
        out.write(json.dumps({"step": 231, "loss": float("nan")}) + "\n")
    assert "metrics.jsonl:231" in refused(workspace, config, DataError)


def test_results_of_another_adapter_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    write_stated_adapter(workspace.adapter, b"other weights", recipe="socratic-tutor")
    message = refused(workspace, config, AdapterMismatchError)
    assert ADAPTER[:8] in message and stated_digest(b"other weights")[:8] in message


def test_an_adapter_that_is_not_the_one_trained_is_refused(workspace: Workspace, config: ReportConfig) -> None:
    (workspace.adapter / "adapter_config.json").write_text('{"lora_alpha": 800}')
    assert "adapter_config.json are not those" in refused(workspace, config, AdapterMismatchError)


def test_an_adapter_of_another_recipe_is_refused(workspace: Workspace, config: ReportConfig) -> None:
    write_stated_adapter(workspace.adapter, settings="{}", recipe="cook")
    assert "by the recipe 'cook', not by 'socratic-tutor'" in refused(workspace, config, AdapterMismatchError)


def test_results_under_another_full_prompt_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    config.full_prompt.write_text("You do something else.")
    assert "prompted was evaluated with another system prompt" in refused(workspace, config, StageError)


def test_results_under_another_short_prompt_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    other = config.model_copy(update={"short_prompt": "You are somebody else."})
    assert "baked was evaluated" in refused(workspace, other, StageError)


def test_samples_that_results_do_not_count_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "baked.behaviour.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    assert "of 39 replies" in refused(workspace, config, StageError)


def test_samples_of_other_items_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "prompted.behaviour.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["item"] = "behaviour-000"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "not the items of the other arms" in refused(workspace, config, StageError)


def test_samples_of_other_turns_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "prompted.drift.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[7]["turn"] = 9
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "not the items of the other arms" in refused(workspace, config, StageError)


def test_metric_that_does_not_concern_a_reply_is_not_counted(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "baked.safety.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {tuple(row["metrics"]) for row in rows} == {("refuses",), ("over_refuses",)}
    assert run(config, workspace).verdict == "more_data"
    report = read_json(workspace.report_json)
    assert report["rates"]["baked"]["safety"]["refuses"]["total"] == 10


def test_results_without_what_is_optional_are_read(workspace: Workspace, config: ReportConfig) -> None:
    optional = ("families", "trained_families", "detectable", "gap_recovered", "drift", "length_ratio", "retention",
                "economics", "warnings", "standard", "judge")  # fmt: skip
    changed(workspace.results, lambda results: [results.pop(name) for name in optional])
    assert run(config, workspace).verdict == "more_data"
    assert "No times were measured in this run." in workspace.report_html.read_text()


def test_prompt_that_is_not_utf8_is_refused(workspace: Workspace, config: ReportConfig) -> None:
    config.full_prompt.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(workspace, config, DataError)
