"""From samples to `results.json`: rates with intervals, differences between arms, drift, tokens, verdict."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, NamedTuple

from tuning_room.checks import METRICS
from tuning_room.errors import RecipeError
from tuning_room.evaluate.arms import Identity
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.drift import Turn, drift
from tuning_room.evaluate.economics import paid_back
from tuning_room.evaluate.gates import Gate, Pair, is_wanted, question
from tuning_room.evaluate.power import detectable_difference, too_small
from tuning_room.evaluate.samples import Sample
from tuning_room.evaluate.statistics import (
    Interval,
    Rate,
    bootstrap_difference,
    gap_recovered,
    holm,
    measured,
    non_inferior,
    paired,
)
from tuning_room.evaluate.verdict import Failing, Verdict, judge, pairs
from tuning_room.models.embeddings import PACKAGED, embedding_folder

SCHEMA_VERSION = 2
ALL = "all"
COMPARED = (("prompted", "baked"), ("base", "baked"), ("prompted", "baked_prompted"), ("reference", "baked"))

Grouped = Mapping[str, Mapping[str, Sequence[Sample]]]  # arm -> suite


class Measured(NamedTuple):
    """What else was measured: divergence from the base by arm, what a request costs, and the harness's own tasks.

    Each is empty where it was not measured.
    """

    retention: Mapping[str, Mapping[str, Any]] = {}
    economics: Mapping[str, Any] = {}
    standard: Mapping[str, Any] = {}


def summarize(
    config: EvaluateConfig,
    samples: list[Sample],
    identities: Mapping[str, Identity],
    sizes: Mapping[str, int],
    also: Measured,
) -> dict[str, Any]:
    """Return everything that the report shows, as plain values; the schema is in docs/evaluation.md.

    `sizes` are the items that each suite has in all.
    """
    grouped = _grouped(samples, config)
    rates = {arm: {suite: _rates(rows) for suite, rows in suites.items()} for arm, suites in grouped.items()}
    families = {arm: {s: _families(rows) for s, rows in suites.items() if s != ALL} for arm, suites in grouped.items()}
    verdict = _verdict(config, grouped, rates, families, also)
    tokens = {arm: _tokens(suites[ALL]) for arm, suites in grouped.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "identities": {arm: identities[arm]._asdict() for arm in grouped},
        "suites": _suites(config, grouped, sizes),
        "rates": _plain(rates),
        "families": {arm: _plain(suites) for arm, suites in families.items()},
        "trained_families": config.trained_families,
        "differences": _differences(grouped, config),
        "detectable": _detectable(rates),
        "gap_recovered": _gaps(grouped),
        "drift": _drifts(grouped),
        "tokens": tokens,
        "length_ratio": _length_ratios(grouped),
        "retention": dict(also.retention),
        "standard": dict(also.standard),
        "economics": _economics(also.economics, tokens),
        "warnings": _warnings(config.gates, rates, families),
        "verdict": {**verdict._asdict(), "gates": [gate._asdict() for gate in verdict.gates]},
    }


def check_metrics(config: EvaluateConfig) -> None:
    """Raise RecipeError for a metric that does not exist."""
    places = {"evaluate.metrics": config.metrics}
    places |= {f"suites.{name}.metrics": suite.metrics for name, suite in config.suites.items() if suite.metrics}
    for place, names in places.items():
        if unknown := [name for name in names if name not in METRICS]:
            raise RecipeError(f"{place}: no such metric: {', '.join(unknown)}", hint=f"use {', '.join(METRICS)}")
        if "resembles" in names:
            embedding_folder(PACKAGED)  # said before minutes are spent on replies that could not be measured


def _grouped(samples: list[Sample], config: EvaluateConfig) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples by arm and suite, each in the items' order.

    `all` holds those suites of single replies that measure the default metrics; a dialogue's turns depend on each
    other, so they are left to their own suite.
    """
    grouped: dict[str, dict[str, list[Sample]]] = {}
    for (arm, suite), rows in groupby(samples, key=lambda sample: (sample.arm, sample.suite)):
        grouped.setdefault(arm, {})[suite] = sorted(rows, key=lambda sample: (sample.item, sample.turn))
    for suites in grouped.values():
        pooled = [name for name, rows in suites.items() if config.suites[name].metrics is None and not _is_drift(rows)]
        suites[ALL] = [sample for name in pooled or suites for sample in suites[name]]
    return grouped


def _is_drift(rows: Sequence[Sample]) -> bool:
    return any(sample.turn > 1 for sample in rows)


def _metrics(rows: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(name for sample in rows for name in sample.metrics))


def _rates(rows: Sequence[Sample]) -> dict[str, Rate]:
    return {metric: measured(*_values(rows, metric)) for metric in _metrics(rows)}


def _values(rows: Sequence[Sample], metric: str) -> tuple[list[float], list[str]]:
    """Return a metric of the rows that it concerns, and the item of each."""
    concerned = [sample for sample in rows if metric in sample.metrics]
    return [sample.metrics[metric] for sample in concerned], [f"{s.suite}/{s.item}" for s in concerned]


def _families(rows: Sequence[Sample]) -> dict[str, dict[str, Rate]]:
    kinds = sorted({_kind(sample) for sample in rows} - {""})
    return {kind: _rates([sample for sample in rows if _kind(sample) == kind]) for kind in kinds}


def _kind(sample: Sample) -> str:
    return sample.family or sample.wanted or sample.topic


def _plain(rates: Mapping[str, Mapping[str, Mapping[str, Rate]]]) -> dict[str, Any]:
    return {a: {s: {m: asdict(r) for m, r in ms.items()} for s, ms in ss.items()} for a, ss in rates.items()}


def _suites(config: EvaluateConfig, grouped: Grouped, sizes: Mapping[str, int]) -> dict[str, Any]:
    taken = {name: len({s.item for s in rows}) for suites in grouped.values() for name, rows in suites.items()}
    return {
        name: {"metrics": config.measured(name), "items": taken.get(name, 0), "of": sizes[name]}
        for name in config.suites
    }


def _differences(grouped: Grouped, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Return each pair of arms on each suite and metric.

    The p-values of one pair are adjusted for their number, those on what must not be lost apart from those on the
    behaviour: however many ways there are of being better, none makes a loss harder to show.
    """
    rows = []
    for first, second in COMPARED:
        if {first, second} <= set(grouped):
            found = list(_compared(grouped[first], grouped[second], config))
            rows += [{"first": first, "second": second, **row} for row in _adjusted(found)]
    return rows


def _adjusted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    sides = [question(row["suite"], row["metric"]) for row in rows]
    adjusted: dict[int, float] = {}
    for side in set(sides):
        chosen = [n for n, one in enumerate(sides) if one == side]
        adjusted |= zip(chosen, holm([rows[n]["p_value"] for n in chosen]), strict=True)
    return [{**row, "p_holm": adjusted[n]} for n, row in enumerate(rows)]


def _compared(
    first: Mapping[str, Sequence[Sample]], second: Mapping[str, Sequence[Sample]], config: EvaluateConfig
) -> Iterator[dict[str, Any]]:
    for suite, rows in second.items():
        for metric in _metrics(rows) if suite in first else ():
            before, items = _values(first[suite], metric)
            found = paired(before, _values(rows, metric)[0], items)
            wanted = is_wanted(metric, suite, config.gates)
            holds = non_inferior(Interval(found.difference, found.low, found.high), config.margin, wanted=wanted)
            named = {"suite": suite, "metric": metric, "wanted": wanted}
            yield {**named, **found._asdict(), "margin": config.margin, "non_inferior": holds}


def _detectable(rates: Mapping[str, Mapping[str, Mapping[str, Rate]]]) -> dict[str, dict[str, float]]:
    """Return the smallest difference from the prompted arm, else the base, that each suite's items can show."""
    first = next(iter(rates))
    known = {**rates.get("base", {}), **rates.get("prompted", {})} or rates[first]
    return {s: {m: detectable_difference(r.total, r.rate) for m, r in metrics.items()} for s, metrics in known.items()}


def _gaps(grouped: Grouped) -> dict[str, dict[str, float | None]]:
    if not {"base", "prompted", "baked"} <= set(grouped):
        return {}
    found: dict[str, dict[str, float | None]] = {}
    for suite, rows in grouped["baked"].items():
        if suite not in grouped["base"] or suite not in grouped["prompted"]:
            continue
        for metric in _metrics(rows):
            base, items = _values(grouped["base"][suite], metric)
            prompted, baked = (_values(grouped[arm][suite], metric)[0] for arm in ("prompted", "baked"))
            found.setdefault(suite, {})[metric] = gap_recovered(base, prompted, baked, items)
    return found


def _drifts(grouped: Grouped) -> dict[str, dict[str, Any]]:
    return {
        arm: {suite: asdict(drift(_turns(rows))) for suite, rows in suites.items() if suite != ALL and _is_drift(rows)}
        for arm, suites in grouped.items()
    }


def _turns(rows: Sequence[Sample]) -> list[Turn]:
    return [Turn(sample.item, sample.turn, sample.metrics) for sample in rows]


def _tokens(rows: Sequence[Sample]) -> dict[str, float]:
    return {
        "prompt": sum(sample.prompt_tokens for sample in rows) / len(rows),
        "completion": sum(sample.completion_tokens for sample in rows) / len(rows),
    }


def _economics(found: Mapping[str, Any], tokens: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return paid_back(found, tokens, found["training_seconds"]) if found else {}


def _length_ratios(grouped: Grouped) -> dict[str, dict[str, float]]:
    """Return how long each arm's replies are by the prompted arm's, in tokens, by suite."""
    known = {suite: _tokens(rows)["completion"] for suite, rows in grouped.get("prompted", {}).items()}
    return {
        arm: {s: _tokens(rows)["completion"] / known[s] for s, rows in suites.items() if known.get(s)}
        for arm, suites in grouped.items()
    }


def _verdict(
    config: EvaluateConfig,
    grouped: Grouped,
    rates: Mapping[str, Mapping[str, Mapping[str, Rate]]],
    families: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Rate]]]],
    also: Measured,
) -> Verdict:
    kept = {arm: {**suites, **_kl(also.retention.get(arm))} for arm, suites in rates.items()}
    intervals = {pair: found for pair in pairs(config.gates) if (found := _interval(pair, grouped))}
    failing = list(_failing(grouped.get("baked", {}), config.gates))
    return judge(config.gates, kept, families=families, intervals=intervals, failing=failing)


def _kl(found: Mapping[str, Any] | None) -> dict[str, dict[str, Rate]]:
    """Return the divergence as a suite's rate, so that a gate can hold it: {metric: kl, suite: retention}."""
    if not found:
        return {}
    return {"retention": {"kl": Rate(found["kl"], found["low"], found["high"], 0, found["texts"])}}


def _interval(pair: Pair, grouped: Grouped) -> Interval | None:
    if not {pair.first, pair.second} <= set(grouped) or pair.suite not in grouped[pair.first]:
        return None
    arms = (grouped[arm][pair.suite] for arm in (pair.first, pair.second))
    first, second = ([s for s in rows if pair.family in ("", _kind(s))] for rows in arms)
    values, items = _values(first, pair.metric)
    return bootstrap_difference(values, _values(second, pair.metric)[0], items) if values else None


def _failing(suites: Mapping[str, Sequence[Sample]], gates: Sequence[Gate]) -> Iterator[Failing]:
    for suite, rows in suites.items():
        for sample in rows if suite != ALL else ():
            for metric, value in sample.metrics.items():
                if (value < 1) if is_wanted(metric, suite, gates) else (value > 0):
                    yield Failing(suite, metric, sample.item, sample.topic, sample.family)


def _warnings(
    gates: Iterable[Gate],
    rates: Mapping[str, Mapping[str, Mapping[str, Rate]]],
    families: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Rate]]]],
) -> list[str]:
    """Return for each gate whether its items are too few to show what it asks for."""
    found = []
    for gate in gates:
        suite = families.get(gate.arm, {}).get(gate.suite, {}).get(gate.family) if gate.family else None
        rate = (suite or rates.get(gate.arm, {}).get(gate.suite, {})).get(gate.metric)
        found.append(too_small(gate, rate.total) if rate else "")
    return [warning for warning in found if warning]
