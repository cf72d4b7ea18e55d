"""The page: templates over the report's values. Replies are not to be trusted, so everything is escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tuning_room.report import figures, forest, labels
from tuning_room.report.content import Report
from tuning_room.results import ALL

FILTERS = {
    "percent": labels.percent,
    "points": labels.points,
    "all_met": labels.all_met,
    "p_value": labels.p_value,
    "number": labels.number,
    "whole": labels.whole,
    "duration": labels.duration,
    "arm": labels.arm_title,
    "suite": labels.suite_title,
}


def render(report: Report) -> str:
    """Return the report as one HTML page that asks nothing of a network and runs no script."""
    return (
        environment(report, escape=True)
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


def environment(report: Report, *, escape: bool) -> Environment:
    """Return the templates' environment, with the labels as filters; only Markdown is not escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = labels.MetricNames(report.metrics)
    made.filters.update(FILTERS, metric=names.words, amount=names.amount, gate=names.gate)
    return made
