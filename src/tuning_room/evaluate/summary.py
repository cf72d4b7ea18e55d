"""From samples to the results: rates with intervals, differences between arms, drift, tokens, verdict."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from tuning_room.checks import find_metric
from tuning_room.evaluate.advice import Failing, MoreItems
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.economics import paid_back
from tuning_room.evaluate.pairing import Arms, adjusted, metrics_in, paired_scores, rates_in
from tuning_room.evaluate.power import detectable_difference, too_small
from tuning_room.evaluate.statistics import Interval, TurnScores, bootstrap_difference, drift, gap_recovered
from tuning_room.evaluate.verdict import judge, pairs
from tuning_room.gates import REQUIREMENTS, ArmPair, Gate, higher_is_better, question, requirement_metric
from tuning_room.results import (
    ALL,
    BREAKS,
    ArmIdentity,
    Besides,
    Difference,
    Drift,
    FamilyRates,
    MeanTokens,
    MetricWords,
    Rate,
    Rates,
    RequirementResult,
    Results,
    Retention,
    Sample,
    SuiteResult,
    misses,
)

COMPARED = (("prompted", "baked"), ("base", "baked"), ("prompted", "baked_prompted"), ("reference", "baked"))

Grouped = Mapping[str, Mapping[str, Sequence[Sample]]]  # arm -> suite


def summarize(
    config: EvaluateConfig,
    samples: Sequence[Sample],
    identities: Mapping[str, ArmIdentity],
    sizes: Mapping[str, int],
    besides: Besides,
    *,
    requirements: Sequence[RequirementResult] | None = None,
    unused: Mapping[str, int] | None = None,
) -> Results:
    """Return everything that was found.

    `sizes` holds the number of items in each suite's file, `unused` how many items were not asked, by suite and by the
    metric of each requirement.
    """
    grouped = _grouped(samples, config)
    rates = {arm: {suite: rates_in(rows) for suite, rows in suites.items()} for arm, suites in grouped.items()}
    families = {arm: {s: _families(rows) for s, rows in suites.items() if s != ALL} for arm, suites in grouped.items()}
    adapted = [arm for arm in grouped if identities[arm].adapter]
    retention = dict.fromkeys(adapted, besides.divergence) if besides.divergence else {}
    tokens = {arm: _tokens(suites[ALL]) for arm, suites in grouped.items()}
    kept = {arm: _kept(suites) for arm, suites in grouped.items()}
    differences = _differences(grouped, config)
    return Results(
        identities={arm: identities[arm] for arm in grouped},
        metrics=_words(config, rates),
        suites=_suites(config, grouped, sizes),
        rates=rates,
        families=families,
        trained_families=config.trained_families,
        differences=differences,
        detectable=_detectable(rates),
        gap_recovered=_gaps(grouped),
        drift=_drifts(grouped, config),
        tokens=tokens,
        length_ratio=_length_ratios(grouped),
        retention=retention,
        standard=besides.standard,
        economics=paid_back(besides.economics, tokens, besides.economics.training_seconds or 0.0),
        warnings=[*_warnings(config.gates, rates, families), *_untested(requirements or ())],
        verdict=judge(
            config.gates,
            _held(rates, retention, kept),
            families=families,
            intervals=_intervals(config.gates, {arm: {**suites, **kept[arm]} for arm, suites in grouped.items()}),
            failing=list(_failing(grouped.get("baked", {}), config.gates)),
            requirements=requirements,
            differences=differences,
            more=MoreItems(config.recipe, unused or {}),
        ),
        requirements=None if requirements is None else list(requirements),
    )


def _grouped(samples: Sequence[Sample], config: EvaluateConfig) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples by arm and suite, each in the items' order.

    `all` pools the suites of single replies that use the default metrics and the arms' own system turns; the turns of a
    dialogue depend on each other, so dialogues stay in their own suite.
    """
    grouped: dict[str, dict[str, list[Sample]]] = {}
    for (arm, suite), rows in groupby(samples, key=lambda sample: (sample.arm, sample.suite)):
        grouped.setdefault(arm, {})[suite] = sorted(rows, key=lambda sample: (sample.item, sample.turn))
    for suites in grouped.values():
        pooled = [name for name, rows in suites.items() if config.suites[name].is_usual and not _is_drift(rows)]
        suites[ALL] = [sample for name in pooled or suites for sample in suites[name]]
    return grouped


def _is_drift(rows: Sequence[Sample]) -> bool:
    return any(sample.turn > 1 for sample in rows)


def _families(rows: Sequence[Sample]) -> dict[str, dict[str, Rate]]:
    kinds = sorted({sample.kind for sample in rows} - {""})
    return {kind: rates_in([sample for sample in rows if sample.kind == kind]) for kind in kinds}


def _words(config: EvaluateConfig, rates: Rates) -> dict[str, MetricWords]:
    """Return the words of every metric that was measured or that a gate holds."""
    names = [metric for suites in rates.values() for metrics in suites.values() for metric in metrics]
    gated = [gate.metric for gate in config.gates if not gate.requirement]
    known = {name: find_metric(name) for name in dict.fromkeys([*names, *gated])}
    words = {
        name: MetricWords(title=metric.title, yes=metric.yes, no=metric.no, is_share=metric.is_share)
        for name, metric in known.items()
    }
    required = {gate.metric: gate.requirement for gate in config.gates if gate.requirement}
    return words | {
        name: MetricWords(title=f"Keeps {one}", yes=f"keeps {one}", no=f"does not keep {one}")
        for name, one in required.items()
    }


def _suites(config: EvaluateConfig, grouped: Grouped, sizes: Mapping[str, int]) -> dict[str, SuiteResult]:
    """Return how many items were used, and whether higher is better for each metric; `all` first."""
    found = {}
    for name in (ALL, *config.suites):
        rows = [sample for suites in grouped.values() for sample in suites.get(name, ())]
        metrics = metrics_in(rows) or (config.metrics if name == ALL else config.metrics_of(name))
        items = len({(sample.suite, sample.item) for sample in rows})
        directions = {metric: higher_is_better(metric, name, config.gates) for metric in metrics}
        system = "arm" if name == ALL else config.suites[name].system
        found[name] = SuiteResult(metrics=directions, items=items, of=sizes.get(name, items), system=system)
    return found


def _differences(grouped: Grouped, config: EvaluateConfig) -> list[Difference]:
    """Return each pair of arms on each suite and metric.

    The p-values of a pair are adjusted for their number, those on retention apart from those on the behaviour: however
    many ways there are of being better, none should make a loss harder to show.
    """
    rows: list[Difference] = []
    for first, second in COMPARED:
        if {first, second} <= set(grouped):
            rows += _adjusted(list(_compared(first, second, grouped, config)))
    return rows


def _adjusted(rows: Sequence[Difference]) -> list[Difference]:
    sides = [question(row.suite, row.metric) for row in rows]
    found = dict(enumerate(rows))
    for side in set(sides):
        chosen = [n for n, one in enumerate(sides) if one == side]
        found |= zip(chosen, adjusted([rows[n] for n in chosen]), strict=True)
    return [found[n] for n in range(len(rows))]


def _compared(first: str, second: str, grouped: Grouped, config: EvaluateConfig) -> Iterator[Difference]:
    for suite, rows in grouped[second].items():
        arms = Arms(suite, first, second, grouped[first].get(suite, ()), rows)
        for metric in metrics_in(rows) if arms.before else ():
            higher = higher_is_better(metric, suite, config.gates)
            if found := arms.difference(metric, higher_is_better=higher, margin=config.margin):
                yield found


def _detectable(rates: Rates) -> dict[str, dict[str, float]]:
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
        for metric in metrics_in(rows):
            scores = paired_scores(metric, *(grouped[arm][suite] for arm in ("base", "prompted", "baked")))
            if scores.dialogues:
                base, prompted, baked = scores.values
                found.setdefault(suite, {})[metric] = gap_recovered(base, prompted, baked, scores.dialogues)
    return found


def _drifts(grouped: Grouped, config: EvaluateConfig) -> dict[str, dict[str, Drift]]:
    found: dict[str, dict[str, Drift]] = {arm: {} for arm in grouped}
    for arm, suites in grouped.items():
        for suite, rows in suites.items():
            if suite != ALL and _is_drift(rows):
                turns = [TurnScores(sample.item, sample.turn, sample.metrics) for sample in rows]
                found[arm][suite] = drift(turns, breaks=breaks_of(suite, config))
    return found


def breaks_of(suite: str, config: EvaluateConfig) -> dict[str, bool]:
    """Return the metrics that break the behaviour in a suite's dialogues, with whether higher is better.

    They are those that the suite names, else those with a gate on it, else `leaks` and `tells` where it measures them,
    else all that it measures.
    """
    measured = config.metrics_of(suite)
    gated = [gate.metric for gate in config.gates if gate.suite == suite]
    for names in (config.suites[suite].breaks or (), gated, BREAKS, measured):
        if chosen := [name for name in dict.fromkeys(names) if name in measured]:
            return {name: higher_is_better(name, suite, config.gates) for name in chosen}
    return {}


def _tokens(rows: Sequence[Sample]) -> MeanTokens:
    """Return the means over what was generated: choices that were weighed are no replies."""
    spoken = [sample for sample in rows if not sample.is_weighed]
    count = max(len(spoken), 1)
    return MeanTokens(
        prompt=sum(sample.prompt_tokens for sample in spoken) / count,
        completion=sum(sample.completion_tokens for sample in spoken) / count,
        replies=len(spoken),
        cut=sum(sample.finish_reason == "length" for sample in spoken),
    )


def _length_ratios(grouped: Grouped) -> dict[str, dict[str, float]]:
    """Return by arm and suite the length of the replies, in tokens, relative to the prompted arm's."""
    known = {suite: _tokens(rows).completion for suite, rows in grouped.get("prompted", {}).items()}
    return {
        arm: {s: _tokens(rows).completion / known[s] for s, rows in suites.items() if known.get(s)}
        for arm, suites in grouped.items()
    }


def _kept(suites: Mapping[str, Sequence[Sample]]) -> dict[str, list[Sample]]:
    """Return an arm's replies as a suite of the requirements that they keep, which a gate can name like a metric."""
    rows = [sample for suite, samples in suites.items() if suite != ALL for sample in samples if sample.kept]
    named = [{requirement_metric(name): value for name, value in row.kept.items()} for row in rows]
    kept = [row.model_copy(update={"metrics": metrics}) for row, metrics in zip(rows, named, strict=True)]
    return {REQUIREMENTS: kept} if kept else {}


def _held(
    rates: Rates, retention: Mapping[str, Retention], kept: Mapping[str, Mapping[str, Sequence[Sample]]]
) -> Rates:
    """Return all rates that a gate can hold."""
    # The divergence as a suite's rate: {metric: kl, suite: retention}.
    divergence = {arm: {"retention": {"kl": found.as_rate()}} for arm, found in retention.items()}
    required = {arm: {suite: rates_in(rows) for suite, rows in suites.items()} for arm, suites in kept.items()}
    return {arm: {**suites, **divergence.get(arm, {}), **required[arm]} for arm, suites in rates.items()}


def _intervals(gates: Sequence[Gate], grouped: Grouped) -> dict[ArmPair, Interval]:
    return {pair: found for pair in pairs(gates) if (found := _interval(pair, grouped))}


def _interval(pair: ArmPair, grouped: Grouped) -> Interval | None:
    if not {pair.first, pair.second} <= set(grouped) or pair.suite not in grouped[pair.first]:
        return None
    arms = (grouped[arm][pair.suite] for arm in (pair.first, pair.second))
    scores = paired_scores(pair.metric, *([s for s in rows if pair.family in ("", s.kind)] for rows in arms))
    one, other = scores.values
    return bootstrap_difference(one, other, scores.dialogues) if scores.dialogues else None


def _failing(suites: Mapping[str, Sequence[Sample]], gates: Sequence[Gate]) -> Iterator[Failing]:
    for suite, rows in suites.items():
        for sample in rows if suite != ALL else ():
            for metric, value in sample.metrics.items():
                if misses(value, higher_is_better=higher_is_better(metric, suite, gates)):
                    yield Failing(suite, metric, sample.item, sample.topic, sample.family, sample.kind)


def _untested(requirements: Sequence[RequirementResult]) -> list[str]:
    return [
        f"{one.id}: no item tests this requirement: write items with requirements: [{one.id}]"
        for one in requirements
        if one.state == "not_shown" and not one.items
    ]


def _warnings(gates: Sequence[Gate], rates: Rates, families: FamilyRates) -> list[str]:
    """Return a warning for each gate with too few items to show what it requires."""
    found = []
    for gate in gates:
        suite = families.get(gate.arm, {}).get(gate.suite, {}).get(gate.family) if gate.family else None
        rate = (suite or rates.get(gate.arm, {}).get(gate.suite, {})).get(gate.metric)
        if rate and (warning := too_small(gate, rate.total)):
            found.append(warning)
    return found
