"""The page and the adapter's model card: templates over the report's values.

Replies are untrusted, so everything is escaped. The card has the format that the Hugging Face hub reads (Mitchell et
al. 2019).
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tuning_room.models import EMBEDDED, hub_name
from tuning_room.report import figures, labels
from tuning_room.report.content import Report
from tuning_room.report.selection import SHIPPED
from tuning_room.report.suites import SuiteMetric, SuiteSection
from tuning_room.results import ALL

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

FILTERS = {
    "percent": labels.percent,
    "points": labels.points,
    "all_met": labels.all_met,
    "p_value": labels.p_value,
    "number": labels.number,
    "whole": labels.whole,
    "duration": labels.duration,
    "signed_duration": labels.signed_duration,
    "arm": labels.arm_title,
    "suite": labels.suite_title,
}


def render(report: Report) -> str:
    """Return the report as one HTML page that needs no network and runs no script."""
    return (
        environment(report, escape=True)
        .get_template("report.html.j2")
        .render(
            report=report,
            ALL=ALL,
            descriptions=labels.ARM_DESCRIPTIONS,
            questions=labels.QUESTIONS,
            states=labels.STATES,
            unknown=labels.UNKNOWN,
            figures=figures,
            loss=figures.loss_figure(report.training),
            bars=figures.funnel_bars(report.data),
        )
    )


def environment(report: Report, *, escape: bool) -> Environment:
    """Return the templates' environment, with the labels as filters; only Markdown goes without escaping."""
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


COMPARED = ("base", "prompted", "baked", "reference")


def model_card(report: Report) -> str:
    """Return the card as YAML followed by Markdown; base model and licence are the hub's, where known."""
    from huggingface_hub import ModelCardData

    made = environment(report, escape=False)
    made.filters["plain"] = plain
    suites = [suite for suite in report.suites if SHIPPED in suite.arms]
    arms = [arm for arm in COMPARED if arm in report.arms]
    base_model, licence = hub_name(report.lineage.model)
    data = ModelCardData(
        base_model=base_model,
        license=licence,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", "peft", "tuning-room"],
        model_name=report.lineage.release,
        eval_results=[
            _result(report, suite, metric)
            for suite in suites
            for metric in suite.metrics
            if metric.name in report.rates[SHIPPED][suite.name]
        ]
        or None,
    )
    note = next((model.note for model in EMBEDDED if model.reference == report.lineage.model), "")
    body = made.get_template("model_card.md.j2").render(
        report=report, arms=arms, suites=suites, note=note, states=labels.STATES, unknown=labels.UNKNOWN
    )
    return f"---\n{data.to_yaml()}\n---\n{body}"


def plain(text: str) -> str:
    """Return a text on one line, with the characters escaped that have a meaning in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _result(report: Report, suite: SuiteSection, metric: SuiteMetric) -> "EvalResult":
    from huggingface_hub import EvalResult

    kind = "dialogues" if suite.dialogues else "items"
    rate = report.rates[SHIPPED][suite.name][metric.name]
    return EvalResult(
        task_type="text-generation",
        dataset_type=f"{report.recipe}/{suite.name}",
        dataset_name=f"{report.recipe}, {labels.suite_title(suite.name)} ({suite.items} held-out {kind})",
        metric_type=metric.name,
        metric_name=report.metrics[metric.name].title,
        metric_value=round(rate.rate, 4),
    )
