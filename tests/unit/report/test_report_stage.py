"""The report stage as the runner performs it.

Real: the whole stage, the manifest, and the evaluation's own summary and statistics. Fabricated: the run folder's
replies, losses and counts.
"""

import json
from pathlib import Path

import pytest
from report_samples import SHORT, report_config

from tuning_room.files import digest
from tuning_room.report import STAGE, ReportConfig, ReportResult, run
from tuning_room.workspace import Workspace


def written(workspace: Workspace) -> list[Path]:
    return [workspace.report_html, workspace.report_json, workspace.model_card]


def test_report_performed_by_runner_writes_page_and_data(workspace: Workspace, config: ReportConfig) -> None:
    result, ran = workspace.perform(STAGE, config)
    assert ran
    assert result == ReportResult(page="report.html", data="report.json", card="model_card.md", verdict="more_data")
    assert set(workspace.record("report").outputs) == {"report.html", "report.json", "model_card.md"}
    assert set(workspace.record("report").inputs) == {
        "evaluation/results.json", "evaluation/samples", "training/metrics.jsonl",
        "training/sweep.json", "prompt.md", "adapter",
    }  # fmt: skip


def test_report_of_unchanged_run_is_not_made_again(workspace: Workspace, config: ReportConfig) -> None:
    workspace.perform(STAGE, config)
    assert workspace.perform(STAGE, config)[1] is False
    assert workspace.perform(STAGE, config.model_copy(update={"messages_per_day": 5}))[1] is True


def test_report_of_the_same_run_has_the_same_bytes(workspace: Workspace, config: ReportConfig) -> None:
    workspace.perform(STAGE, config)
    before = [path.read_bytes() for path in written(workspace)]
    workspace.perform(STAGE, config, force=True)
    assert before == [path.read_bytes() for path in written(workspace)]


def test_report_without_manifest_says_what_is_not_recorded(workspace: Workspace, config: ReportConfig) -> None:
    workspace.manifest.unlink()
    run(config, workspace)
    assert "has no record of how its data was made" in workspace.report_html.read_text()
    data = json.loads(workspace.report_json.read_text())
    assert (data["date"], data["lineage"]["stages"], data["data"]["candidates"]) == ("", [], None)


def test_report_leaves_the_adapter_as_it_is_so_that_no_other_stage_is_stale(
    workspace: Workspace, config: ReportConfig
) -> None:
    before = digest(workspace.adapter)
    run(config, workspace)
    assert digest(workspace.adapter) == before
    assert workspace.model_card.is_file()


def test_report_leaves_no_temporary_file(workspace: Workspace, config: ReportConfig) -> None:
    run(config, workspace)
    assert not list(workspace.root.rglob("*.tmp"))


@pytest.mark.parametrize("changes", [{"messages_per_day": 0}, {"examples": -1}, {"dialogues": -1}, {"colour": "red"}])
def test_config_refuses_what_it_cannot_use(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        report_config(tmp_path, **changes)


def test_config_has_defaults_for_how_much_is_shown(tmp_path: Path) -> None:
    config = report_config(tmp_path)
    assert (config.examples, config.worst, config.short_prompt) == (12, 20, SHORT)
