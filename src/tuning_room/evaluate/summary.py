"""From samples to the results: rates with intervals, differences between arms, drift, tokens, verdict."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from tuning_room.checks import find_metric
from tuning_room.errors import RecipeError
from tuning_room.evaluate.advice import Failing
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.power import detectable_difference, too_small
from tuning_room.evaluate.statistics import (
    Interval,
    TurnScores,
    bootstrap_difference,
    drift,
    gap_recovered,
    holm,
    non_inferior,
    paired,
    rate_of,
)
from tuning_room.evaluate.verdict import judge, pairs
from tuning_room.gates import ArmPair, Gate, higher_is_better, question
from tuning_room.models.embeddings import packaged_folder
from tuning_room.results import (
    ALL,
    ArmIdentity,
    Besides,
    BreakEven,
    Difference,
    Drift,
    FamilyRates,
    MeanTokens,
    MetricWords,
    Rate,
    Rates,
    Results,
    Retention,
    Sample,
    ServingCosts,
    SuiteResult,
    Verdict,
    misses,
)

COMPARED = (("prompted", "baked"), ("base", "baked"), ("prompted", "baked_prompted"), ("reference", "baked"))

Grouped = Mapping[str, Mapping[str, Sequence[Sample]]]  # arm -> suite


class PairedScores(NamedTuple):
    """A metric's values by arm on the replies where all arms have it, in the same order, and the dialogue of each."""

    values: list[list[float]]
    dialogues: list[str]


def summarize(
    config: EvaluateConfig,
    samples: Sequence[Sample],
    identities: Mapping[str, ArmIdentity],
    sizes: Mapping[str, int],
    besides: Besides,
) -> Results:
    """Return everything that was found; `sizes` holds the number of items in each suite's file."""
    grouped = _grouped(samples, config)
    rates = {arm: {suite: _rates(rows) for suite, rows in suites.items()} for arm, suites in grouped.items()}
    families = {arm: {s: _families(rows) for s, rows in suites.items() if s != ALL} for arm, suites in grouped.items()}
    adapted = [arm for arm in grouped if identities[arm].adapter]
    retention = dict.fromkeys(adapted, besides.divergence) if besides.divergence else {}
    tokens = {arm: _tokens(suites[ALL]) for arm, suites in grouped.items()}
    return Results(
        identities={arm: identities[arm] for arm in grouped},
        metrics=_words(config, rates),
        suites=_suites(config, grouped, sizes),
        rates=rates,
        families=families,
        trained_families=config.trained_families,
        differences=_differences(grouped, config),
        detectable=_detectable(rates),
        gap_recovered=_gaps(grouped),
        drift=_drifts(grouped),
        tokens=tokens,
        length_ratio=_length_ratios(grouped),
        retention=retention,
        standard=besides.standard,
        economics=paid_back(besides.economics, tokens, besides.economics.training_seconds or 0.0),
        warnings=_warnings(config.gates, rates, families),
        verdict=_verdict(config, grouped, rates, families, retention),
    )


def check_metrics(config: EvaluateConfig) -> None:
    """Raise RecipeError for a metric that does not exist, or that is not measured reply by reply."""
    places = {"evaluate.metrics": config.metrics}
    places |= {f"suites.{name}.metrics": suite.metrics for name, suite in config.suites.items() if suite.metrics}
    gated = "evaluate.gates"
    for place, names in {**places, gated: [gate.metric for gate in config.gates]}.items():
        for name in names:
            try:
                metric = find_metric(name)
            except RecipeError as error:
                raise RecipeError(f"{place}: {error.args[0]}", hint=error.hint) from None
            if metric.score is None and place != gated:
                raise RecipeError(f"{place}: '{name}' is not measured reply by reply", hint="only a gate can name it")
        if "resembles" in names:
            packaged_folder()  # fails before minutes are spent on replies that could not be measured


def _grouped(samples: Sequence[Sample], config: EvaluateConfig) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples by arm and suite, each in the items' order.

    `all` pools the suites of single replies that use the default metrics; the turns of a dialogue depend on each other,
    so dialogues stay in their own suite.
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
    found = {metric: _paired(metric, rows) for metric in _metrics(rows)}
    return {metric: rate_of(scores.values[0], scores.dialogues) for metric, scores in found.items()}


def _paired(metric: str, *arms: Sequence[Sample]) -> PairedScores:
    """Return a metric of the replies to the same turns; one that depends on the reply may concern an arm alone."""
    scores = [{(s.suite, s.item, s.turn): s.metrics[metric] for s in rows if metric in s.metrics} for rows in arms]
    common = [key for key in scores[0] if all(key in others for others in scores[1:])]
    dialogues = [f"{suite}/{item}" for suite, item, _ in common]
    return PairedScores([[known[key] for key in common] for known in scores], dialogues)


def _families(rows: Sequence[Sample]) -> dict[str, dict[str, Rate]]:
    kinds = sorted({sample.kind for sample in rows} - {""})
    return {kind: _rates([sample for sample in rows if sample.kind == kind]) for kind in kinds}


def _words(config: EvaluateConfig, rates: Rates) -> dict[str, MetricWords]:
    """Return the words of every metric that was measured or that a gate holds."""
    names = [metric for suites in rates.values() for metrics in suites.values() for metric in metrics]
    known = {name: find_metric(name) for name in dict.fromkeys([*names, *(gate.metric for gate in config.gates)])}
    return {
        name: MetricWords(title=metric.title, yes=metric.yes, no=metric.no, is_share=metric.is_share)
        for name, metric in known.items()
    }


def _suites(config: EvaluateConfig, grouped: Grouped, sizes: Mapping[str, int]) -> dict[str, SuiteResult]:
    """Return how many items were used, and whether higher is better for each metric; `all` first."""
    found = {}
    for name in (ALL, *config.suites):
        rows = [sample for suites in grouped.values() for sample in suites.get(name, ())]
        metrics = _metrics(rows) or (config.metrics if name == ALL else config.metrics_of(name))
        items = len({(sample.suite, sample.item) for sample in rows})
        directions = {metric: higher_is_better(metric, name, config.gates) for metric in metrics}
        found[name] = SuiteResult(metrics=directions, items=items, of=sizes.get(name, items))
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
    adjusted: dict[int, float] = {}
    for side in set(sides):
        chosen = [n for n, one in enumerate(sides) if one == side]
        adjusted |= zip(chosen, holm([rows[n].p_value for n in chosen]), strict=True)
    return [row.model_copy(update={"p_holm": adjusted[n]}) for n, row in enumerate(rows)]


def _compared(first: str, second: str, grouped: Grouped, config: EvaluateConfig) -> Iterator[Difference]:
    for suite, rows in grouped[second].items():
        before = grouped[first].get(suite, ())
        for metric in _metrics(rows) if before else ():
            scores = _paired(metric, before, rows)
            if not scores.dialogues:
                continue
            one, other = scores.values
            found = paired(one, other, scores.dialogues)
            higher = higher_is_better(metric, suite, config.gates)
            interval = Interval(found.difference, found.low, found.high)
            yield Difference(
                suite=suite,
                metric=metric,
                first=first,
                second=second,
                higher_is_better=higher,
                **found._asdict(),
                p_holm=found.p_value,
                margin=config.margin,
                non_inferior=non_inferior(interval, config.margin, higher_is_better=higher),
            )


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
        for metric in _metrics(rows):
            scores = _paired(metric, *(grouped[arm][suite] for arm in ("base", "prompted", "baked")))
            if scores.dialogues:
                base, prompted, baked = scores.values
                found.setdefault(suite, {})[metric] = gap_recovered(base, prompted, baked, scores.dialogues)
    return found


def _drifts(grouped: Grouped) -> dict[str, dict[str, Drift]]:
    return {
        arm: {
            suite: drift([TurnScores(sample.item, sample.turn, sample.metrics) for sample in rows])
            for suite, rows in suites.items()
            if suite != ALL and _is_drift(rows)
        }
        for arm, suites in grouped.items()
    }


def _tokens(rows: Sequence[Sample]) -> MeanTokens:
    return MeanTokens(
        prompt=sum(sample.prompt_tokens for sample in rows) / len(rows),
        completion=sum(sample.completion_tokens for sample in rows) / len(rows),
    )


def _length_ratios(grouped: Grouped) -> dict[str, dict[str, float]]:
    """Return by arm and suite the length of the replies, in tokens, relative to the prompted arm's."""
    known = {suite: _tokens(rows).completion for suite, rows in grouped.get("prompted", {}).items()}
    return {
        arm: {s: _tokens(rows).completion / known[s] for s, rows in suites.items() if known.get(s)}
        for arm, suites in grouped.items()
    }


def _verdict(
    config: EvaluateConfig, grouped: Grouped, rates: Rates, families: FamilyRates, retention: Mapping[str, Retention]
) -> Verdict:
    # The divergence as a suite's rate, so that a gate can hold it: {metric: kl, suite: retention}.
    divergence = {arm: {"retention": {"kl": found.as_rate()}} for arm, found in retention.items()}
    held = {arm: {**suites, **divergence.get(arm, {})} for arm, suites in rates.items()}
    intervals = {pair: found for pair in pairs(config.gates) if (found := _interval(pair, grouped))}
    failing = list(_failing(grouped.get("baked", {}), config.gates))
    return judge(config.gates, held, families=families, intervals=intervals, failing=failing)


def _interval(pair: ArmPair, grouped: Grouped) -> Interval | None:
    if not {pair.first, pair.second} <= set(grouped) or pair.suite not in grouped[pair.first]:
        return None
    arms = (grouped[arm][pair.suite] for arm in (pair.first, pair.second))
    scores = _paired(pair.metric, *([s for s in rows if pair.family in ("", s.kind)] for rows in arms))
    one, other = scores.values
    return bootstrap_difference(one, other, scores.dialogues) if scores.dialogues else None


def _failing(suites: Mapping[str, Sequence[Sample]], gates: Sequence[Gate]) -> Iterator[Failing]:
    for suite, rows in suites.items():
        for sample in rows if suite != ALL else ():
            for metric, value in sample.metrics.items():
                if misses(value, higher_is_better=higher_is_better(metric, suite, gates)):
                    yield Failing(suite, metric, sample.item, sample.topic, sample.family, sample.kind)


def _warnings(gates: Sequence[Gate], rates: Rates, families: FamilyRates) -> list[str]:
    """Return a warning for each gate with too few items to show what it requires."""
    found = []
    for gate in gates:
        suite = families.get(gate.arm, {}).get(gate.suite, {}).get(gate.family) if gate.family else None
        rate = (suite or rates.get(gate.arm, {}).get(gate.suite, {})).get(gate.metric)
        if rate and (warning := too_small(gate, rate.total)):
            found.append(warning)
    return found


def paid_back(costs: ServingCosts, tokens: Mapping[str, MeanTokens], training: float) -> ServingCosts:
    """Add after how many requests the seconds of training are won back, against the prompted arm cold and warm.

    `tokens` holds the mean tokens of a request by arm. A request takes the time to its first token, and the rest of its
    reply at the rate of a single request. Replies of different lengths count towards the saving, as they do in use. A
    break-even that is already known stays; without both arms there is none.
    """
    if not training or costs.break_even or not {"prompted", "baked"} <= {row.arm for row in costs.arms} & set(tokens):
        return costs
    spent = {}
    for row in costs.arms:
        after_first = max(tokens[row.arm].completion - 1, 0)
        rest = after_first / row.tokens_per_second if row.tokens_per_second else 0.0
        spent[row.label] = row.first_token_seconds + rest
    rows = []
    for label in ("prompted, cold", "prompted, warm prefix cache"):
        saved = spent[label] - spent["baked, adapter"]
        requests = round(training / saved) if saved > 0 else None
        rows.append(BreakEven(against=label, seconds_saved_per_request=saved, requests=requests))
    return costs.model_copy(update={"training_seconds": training, "break_even": rows})
