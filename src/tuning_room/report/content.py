"""The report as plain values: both `report.json` and the page are made from them, so that the two cannot differ."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from tuning_room.records import Tried
from tuning_room.report.comparison import Comparison, comparisons
from tuning_room.report.config import ReportConfig
from tuning_room.report.decision import VerdictSection, decision
from tuning_room.report.making import Funnel, Lineage, Training, funnel, lineage, training
from tuning_room.report.requirements import RequirementsSection, requirements
from tuning_room.report.selection import Dialogues, Example, Failures, dialogues, examples, failures
from tuning_room.report.suites import FamilyMap, SuiteSection, family_maps, suites
from tuning_room.results import (
    Drift,
    MeanTokens,
    MetricWords,
    Rate,
    Results,
    Retention,
    ServingCosts,
    StandardScores,
    Trainings,
)

if TYPE_CHECKING:
    from tuning_room.report.evidence import Evidence

SCHEMA_VERSION: Literal[3] = 3


NOTES = (
    "Counted with the model's own tokenizer on the evaluation items that are pooled as all items.",
    "A server with a warm prefix cache computes the full prompt once and reuses it, which already removes most of "
    "its prefill cost. The saving in cost and in time is therefore smaller than the saving in tokens.",
    "A reply that was cut at the limit would have been longer: the mean length of an arm with such replies is too low.",
    "What shorter replies save is no merit of the short prompt: a sentence in the full prompt may do the same.",
    "No figure here is in money: what a token costs depends on the server, its cache and its load.",
)


class ArmTokens(BaseModel):
    """An arm's tokens: its system turn, means per request, and totals per day at the recipe's traffic.

    `cut` of the `replies` behind the means were ended by the limit on their length.
    """

    arm: str
    system: int
    prompt: float
    completion: float
    prompt_per_day: float
    total_per_day: float
    replies: int = 0
    cut: int = 0


class Saving(BaseModel):
    """Prompt tokens that the prompted arm needs and the baked arm does not; `share` is of the prompted arm's tokens."""

    per_request: float
    per_day: float
    share: float


class Economics(BaseModel):
    """Tokens of each arm, the saving if both prompted and baked were evaluated, and serving times.

    `serving` comes from the evaluation: it has no arms if nothing was timed, and `measured` is false if its numbers are
    not from the machine that it names.
    """

    messages_per_day: int
    arms: list[ArmTokens]
    saving: Saving | None
    serving: ServingCosts
    notes: list[str]


def economics(results: Results, messages_per_day: int) -> Economics:
    """Return what the arms cost in tokens at a number of messages per day."""
    arms = [
        ArmTokens(
            arm=arm,
            system=results.identities[arm].system_tokens,
            prompt=tokens.prompt,
            completion=tokens.completion,
            prompt_per_day=tokens.prompt * messages_per_day,
            total_per_day=(tokens.prompt + tokens.completion) * messages_per_day,
            replies=tokens.replies,
            cut=tokens.cut,
        )
        for arm, tokens in results.tokens.items()
    ]
    saving, serving = _saving(results, messages_per_day), results.economics
    return Economics(messages_per_day=messages_per_day, arms=arms, saving=saving, serving=serving, notes=list(NOTES))


def _saving(results: Results, messages: int) -> Saving | None:
    if not {"prompted", "baked"} <= set(results.tokens):
        return None
    full, short = results.tokens["prompted"].prompt, results.tokens["baked"].prompt
    return Saving(per_request=full - short, per_day=(full - short) * messages, share=(full - short) / full)


class Prompts(BaseModel):
    """The system turn before baking and after it."""

    short: str
    full: str


class Report(BaseModel):
    """Everything that the page shows; docs/report.md describes each field."""

    schema_version: Literal[3] = Field(SCHEMA_VERSION, description="version of this schema: 3")
    recipe: str = Field(description="the recipe's name")
    description: str = Field(description="what the recipe bakes, in a sentence")
    date: str = Field(description="day of the evaluation, `YYYY-MM-DD`; empty if the manifest has none")
    verdict: VerdictSection = Field(description="the verdict, what to change, the questions, the gates, warnings")
    requirements: RequirementsSection | None = Field(
        None, description="what the full prompt asks, and whether it was learnt; null where the recipe does not name it"
    )
    arms: list[str] = Field(description="the arms that were asked, in the recipe's order")
    metrics: dict[str, MetricWords] = Field(description="by metric: its wording, and whether it is a share")
    suites: list[SuiteSection] = Field(
        description="each suite with its size, its arms, and for each metric whether higher is better"
    )
    rates: dict[str, dict[str, dict[str, Rate]]] = Field(description="rates by arm, suite and metric, with intervals")
    differences: list[Comparison] = Field(description="pairs of arms on the same items, and what the numbers show")
    retention: dict[str, Retention] = Field(description="by arm: divergence from the base on neutral texts")
    standard: StandardScores = Field(description="scores of the harness's own tasks, and those that could not be run")
    drift: dict[str, dict[str, Drift]] = Field(description="by arm and suite: rates by turn, survival, mean break")
    families: list[FamilyMap] = Field(description="rates by attack family and arm, trained families marked")
    tokens: dict[str, MeanTokens] = Field(description="by arm: mean `prompt` and `completion` tokens")
    length_ratio: dict[str, dict[str, float]] = Field(
        description="by arm and suite: reply length in tokens relative to the prompted arm's"
    )
    economics: Economics = Field(description="tokens per day at the recipe's traffic; serving times where measured")
    trainings: Trainings | None = Field(description="the baked arm's rates by training seed; null for one training")
    sweep: list[Tried] = Field(description="what `train --sweep` tried, best first; empty without a sweep")
    training: Training = Field(description="loss by step, averaged over a few steps, and figures of the train stage")
    data: Funnel = Field(description="counts from documents to training rows")
    failures: Failures = Field(description="failing replies of the baked arm by gated property, beside other arms'")
    dialogues: Dialogues = Field(description="multi-turn dialogues in full, those that break earliest first")
    examples: list[Example] = Field(description="items spaced evenly over the suites, with the arms' replies")
    lineage: Lineage = Field(description="digests, versions, configuration, stages, and what each arm was")
    prompts: Prompts = Field(description="the short prompt and the full one")


def build(config: ReportConfig, evidence: "Evidence") -> Report:
    """Return the report of a run."""
    results = evidence.results
    known = suites(evidence)
    return Report(
        recipe=config.recipe,
        description=config.description,
        date=evidence.stages["evaluate"].started[:10] if "evaluate" in evidence.stages else "",
        verdict=decision(evidence),
        requirements=requirements(evidence, config.failing),
        arms=list(results.rates),
        metrics=results.metrics,
        suites=known,
        rates=results.rates,
        differences=comparisons(results),
        retention=results.retention,
        standard=results.standard,
        drift={arm: found for arm, found in results.drift.items() if found},
        families=family_maps(evidence, known),
        tokens=results.tokens,
        length_ratio=results.length_ratio,
        economics=economics(results, config.messages_per_day),
        trainings=evidence.trainings,
        sweep=list(evidence.sweep),
        training=training(evidence),
        data=funnel(evidence.stages),
        failures=failures(evidence, known, config.worst),
        dialogues=dialogues(evidence, config.dialogues),
        examples=examples(evidence, known, config.examples),
        lineage=lineage(config, evidence),
        prompts=Prompts(short=config.short_prompt, full=evidence.full_prompt),
    )
