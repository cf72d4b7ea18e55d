"""The scores of a reply: its metrics, the requirements that it keeps, and the reasons for what it fails."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tuning_room.checks import CHECK, Case, CheckSettings, Exchange, find_metric, rejected_by

Value = Callable[[str], float | None]  # of a metric; None where it does not apply


class KeepingRule(NamedTuple):
    """When a reply keeps a requirement: it has every metric of `has`, none of `has_not`, and passes the checks."""

    has: Sequence[str] = ()
    has_not: Sequence[str] = ()
    checks: CheckSettings = {}


class Scored(NamedTuple):
    """A reply's metrics, whether it keeps each requirement that applies, and by either's name what it failed."""

    metrics: dict[str, float]
    kept: dict[str, float] = {}
    reasons: dict[str, str] = {}


def scored(reply: str, case: Case, metrics: Sequence[str], rules: Mapping[str, KeepingRule]) -> Scored:
    """Return the scores of a reply, each metric worked out once; what does not apply to it is left out."""
    known: dict[str, float | None] = {}

    def value(name: str) -> float | None:
        if name not in known:
            score = find_metric(name).score
            known[name] = score(reply, case) if score else None
        return known[name]

    own = {name: found for name in metrics if (found := value(name)) is not None}
    reasons = {name: why for name, found in own.items() if found < 1 and (why := _rejection(name, reply, case))}
    kept = {}
    for name, rule in rules.items():
        if _applies(rule, value):
            failed = list(_failed(rule, value, reply, case))
            kept[name] = float(not failed)
            reasons |= {name: "; ".join(failed)} if failed else {}
    return Scored(own, kept, reasons)


def _applies(rule: KeepingRule, value: Value) -> bool:
    return bool(rule.checks) or any(value(name) is not None for name in (*rule.has, *rule.has_not))


def _failed(rule: KeepingRule, value: Value, reply: str, case: Case) -> Iterator[str]:
    """Yield what a reply fails of a rule; a metric that does not apply fails nothing."""
    for name in rule.has:
        if (found := value(name)) is not None and found < 1:
            yield _rejection(name, reply, case) or f"not {name}"
    for name in rule.has_not:
        if (found := value(name)) is not None and found > 0:
            yield name
    for name, parameters in rule.checks.items():
        if why := _rejected({name: parameters}, reply, case):
            yield why


def _rejection(metric: str, reply: str, case: Case) -> str:
    """Return which check rejected a reply and why, for a metric that says whether checks are passed; else ''."""
    checks: Mapping[str, CheckSettings] = {"accepted": case.recipe_checks, "correct": case.checks}
    if metric.startswith(CHECK):
        name = metric.removeprefix(CHECK)
        return _rejected({name: case.recipe_checks[name]}, reply, case)
    return _rejected(checks.get(metric, {}), reply, case)


def _rejected(checks: CheckSettings, reply: str, case: Case) -> str:
    name, reason = rejected_by(checks, Exchange(reply, case.said, case.gold or None, language=case.language))
    return f"{name}: {reason}" if name else ""
