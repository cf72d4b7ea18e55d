"""Report: one self-contained page on what was baked, how well it worked, and what it does not do."""

from pathlib import Path

from tuning_room.report.config import ReportConfig
from tuning_room.workspace import Stage, StageResult, Workspace

__all__ = ["STAGE", "ReportConfig", "ReportResult", "run"]


class ReportResult(StageResult):
    """The files' names in the run folder, and the verdict that they give."""

    page: str
    data: str
    card: str
    verdict: str


def inputs(config: ReportConfig, workspace: Workspace) -> list[Path]:
    """Return what the stage reads."""
    trainings = [path for path in (workspace.trainings, workspace.sweep) if path.is_file()]
    return [workspace.results, workspace.samples, workspace.metrics, config.full_prompt, workspace.adapter, *trainings]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what the stage writes."""
    return [workspace.report_html, workspace.report_json, workspace.model_card]


def run(config: ReportConfig, workspace: Workspace) -> ReportResult:
    """Write `report.html`, which needs no network, `report.json` with the same numbers, and the adapter's model card.

    The same run gives the same bytes. Raises MissingInputError, DataError, and StageError or AdapterMismatchError if
    the results belong to an adapter, prompt or set of samples other than those in the run folder.
    """
    from tuning_room.files import atomic_writer
    from tuning_room.records import write_json
    from tuning_room.report.content import build
    from tuning_room.report.evidence import read_evidence
    from tuning_room.report.page import model_card, render

    report = build(config, read_evidence(config, workspace))
    texts = {workspace.report_html: render(report), workspace.model_card: model_card(report)}
    write_json(workspace.report_json, report.model_dump(mode="json"))
    for path, text in texts.items():
        with atomic_writer(path) as out:
            out.write(text)
    return ReportResult(
        page=workspace.report_html.name,
        data=workspace.report_json.name,
        card=workspace.model_card.name,
        verdict=report.verdict.verdict,
    )


STAGE: Stage[ReportConfig, ReportResult] = Stage("report", ReportResult, inputs, outputs, run)
