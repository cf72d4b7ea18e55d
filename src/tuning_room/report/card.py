"""The adapter's model card, in the form that the Hugging Face hub reads (Mitchell et al. 2019)."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuning_room.report.content import Report
from tuning_room.report.labels import suite_title
from tuning_room.report.page import environment
from tuning_room.report.selection import SHIPPED
from tuning_room.report.suites import SuiteMetric, SuiteSection

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TAGS = ["lora", "peft", "tuning-room"]
# What Markdown would take for more than text.
MARKUP = re.compile(r"([\\`*_{}\[\]<>#|])")
COMPARED = ("base", "prompted", "baked", "reference")


def model_card(report: Report) -> str:
    """Return the card as Markdown behind YAML; the license is left out, since the run does not know it."""
    made = environment(report, escape=False)
    made.filters["plain"] = plain
    body = made.get_template("model_card.md.j2").render(
        report=report,
        arms=[arm for arm in COMPARED if arm in report.arms],
        suites=[suite for suite in report.suites if SHIPPED in suite.arms],
    )
    return f"---\n{_metadata(report)}---\n{body}"


def plain(text: str) -> str:
    """Return a text that Markdown shows as it stands, on one line."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def _metadata(report: Report) -> str:
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        base_model=report.lineage.model,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=TAGS,
        model_name=report.lineage.release,
        eval_results=list(_results(report)) or None,
    )
    return f"{data.to_yaml()}\n"


def _results(report: Report) -> Iterator["EvalResult"]:
    for suite in report.suites:
        if SHIPPED in suite.arms:
            yield from (_result(report, suite, metric) for metric in suite.metrics)


def _result(report: Report, suite: SuiteSection, metric: SuiteMetric) -> "EvalResult":
    from huggingface_hub import EvalResult

    kind = "dialogues" if suite.dialogues else "items"
    rate = report.rates[SHIPPED][suite.name][metric.name]
    return EvalResult(
        task_type="text-generation",
        dataset_type=f"{report.recipe}/{suite.name}",
        dataset_name=f"{report.recipe}, {suite_title(suite.name)} ({suite.items} held-out {kind})",
        metric_type=metric.name,
        metric_name=report.metrics[metric.name].title,
        metric_value=round(rate.rate, 4),
    )
