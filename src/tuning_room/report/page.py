"""The page: templates over the report's values. Replies are not to be trusted, so everything is escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tuning_room.report import figures, forest, labels
from tuning_room.report.content import Report
from tuning_room.report.facts import ALL

FILTERS = {
    "percent": labels.percent,
    "amount": labels.amount,
    "points": labels.points,
    "all_met": labels.all_met,
    "p_value": labels.p_value,
    "number": labels.number,
    "whole": labels.whole,
    "duration": labels.duration,
    "arm": labels.arm_title,
    "suite": labels.suite_title,
    "metric": labels.metric_label,
    "gate": labels.gate_title,
}


def render(report: Report) -> str:
    """Return the report as one HTML page that asks nothing of a network and runs no script."""
    return (
        environment(escape=True)
        .get_template("report.html.j2")
        .render(
            report=report,
            ALL=ALL,
            descriptions=labels.ARM_DESCRIPTIONS,
            questions=labels.QUESTIONS,
            figures=figures,
            forest=forest,
            loss=figures.loss_figure(report.training),
            bars=figures.funnel_bars(report.data),
        )
    )


def environment(*, escape: bool) -> Environment:
    """Return the templates' environment, with the labels as filters; only Markdown is not escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(FILTERS)
    return made
