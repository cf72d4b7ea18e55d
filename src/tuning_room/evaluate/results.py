"""From samples to `results.json`: rates with intervals, differences between arms, tokens, verdict."""

from dataclasses import asdict
from itertools import groupby
from typing import Any

from tuning_room.checks import METRICS
from tuning_room.errors import RecipeError
from tuning_room.evaluate.arms import Identity
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.samples import Sample
from tuning_room.evaluate.statistics import Rate, difference, rate
from tuning_room.evaluate.verdict import judge

SCHEMA_VERSION = 1


def summarize(config: EvaluateConfig, samples: list[Sample], identities: dict[str, Identity]) -> dict[str, Any]:
    """Return everything that the report shows, as plain values; the schema is in docs/evaluation.md."""
    grouped = _grouped(samples)
    rates = {arm: {suite: _rates(rows, config) for suite, rows in suites.items()} for arm, suites in grouped.items()}
    verdict = judge(config.gates, rates)
    return {
        "schema_version": SCHEMA_VERSION,
        "identities": {arm: identities[arm]._asdict() for arm in grouped},
        "rates": {a: {s: {m: asdict(r) for m, r in ms.items()} for s, ms in ss.items()} for a, ss in rates.items()},
        "differences": _differences(grouped, config),
        "tokens": {arm: _tokens(suites["all"]) for arm, suites in grouped.items()},
        "verdict": {"verdict": verdict.verdict, "gates": [gate._asdict() for gate in verdict.gates]},
    }


def check_metrics(names: list[str]) -> None:
    """Raise RecipeError for a metric that does not exist."""
    if unknown := [name for name in names if name not in METRICS]:
        raise RecipeError(f"evaluate.metrics: no such metric: {', '.join(unknown)}", hint=f"use {', '.join(METRICS)}")


def _grouped(samples: list[Sample]) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples by arm and suite, each in the items' order; `all` holds every suite."""
    grouped: dict[str, dict[str, list[Sample]]] = {}
    for (arm, suite), rows in groupby(samples, key=lambda sample: (sample.arm, sample.suite)):
        grouped.setdefault(arm, {})[suite] = sorted(rows, key=lambda sample: sample.item)
    for suites in grouped.values():
        suites["all"] = [sample for rows in list(suites.values()) for sample in rows]
    return grouped


def _rates(rows: list[Sample], config: EvaluateConfig) -> dict[str, Rate]:
    return {metric: rate([sample.metrics[metric] for sample in rows]) for metric in config.metrics}


def _differences(grouped: dict[str, dict[str, list[Sample]]], config: EvaluateConfig) -> list[dict[str, Any]]:
    if not {"prompted", "baked"} <= set(grouped):
        return []
    rows = []
    for suite in grouped["baked"]:
        for metric in config.metrics:
            first = [sample.metrics[metric] for sample in grouped["prompted"][suite]]
            second = [sample.metrics[metric] for sample in grouped["baked"][suite]]
            named = {"suite": suite, "metric": metric, "first": "prompted", "second": "baked"}
            rows.append({**named, **difference(first, second)._asdict()})
    return rows


def _tokens(rows: list[Sample]) -> dict[str, float]:
    return {
        "prompt": sum(sample.prompt_tokens for sample in rows) / len(rows),
        "completion": sum(sample.completion_tokens for sample in rows) / len(rows),
    }
