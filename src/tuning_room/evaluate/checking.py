"""What a recipe names for its evaluation, checked before anything is asked: metrics, suites, arms, requirements."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuning_room.checks import CHECK, find_metric, validate
from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.suites import chosen, read_items
from tuning_room.gates import Arm, Gate
from tuning_room.records import Item
from tuning_room.requirements import Requirement, check_ids
from tuning_room.results import ALL

CONTINUOUS = {"overlap", "resembles"}  # shares of which no reply has all or nothing
KL, RETENTION = "kl", "retention"  # the divergence, and the suite under which it stands
GATES = "evaluate.gates"
JUDGED = ("prompted", "baked")  # the arms whose replies a judge is asked about


def check(config: EvaluateConfig) -> None:
    """Raise RecipeError, or DataError for a faulty item, for whatever the evaluation could not use as it is named."""
    requirements = config.read_requirements()
    check_metrics(config)
    _check_checks(config.checks, "dataset.checks")
    for one in requirements:
        _check_requirement(one, config)
    for name, suite in config.suites.items():
        check_ids(suite.requirements, requirements, f"suites.{name}.requirements")
        for item in read_items(suite.items):
            check_ids(item.requirements, requirements, f"{suite.items}: {item.id}: requirements")
    items = chosen(config)
    for gate in config.gates:
        _check_gate(gate, config, items, requirements)


def check_metrics(config: EvaluateConfig) -> None:
    """Raise RecipeError for a metric that does not exist, or that is not measured reply by reply."""
    _check_names(config.metrics, config, "evaluate.metrics")
    for name, suite in config.suites.items():
        _check_names(suite.metrics or [], config, f"suites.{name}.metrics")
        for metric in suite.breaks or []:
            if metric not in config.metrics_of(name):
                known = ", ".join(config.metrics_of(name))
                raise RecipeError(f"suites.{name}.breaks: '{metric}' is not measured there", hint=f"use {known}")
    gated = [gate.metric for gate in config.gates if not gate.requirement and gate.metric != KL]
    _check_names(gated, config, GATES)


def _check_names(names: Iterable[str], config: EvaluateConfig, place: str) -> None:
    for name in names:
        check_name = name.removeprefix(CHECK)
        if name.startswith(CHECK) and check_name not in config.checks:
            known = ", ".join(config.checks) or "none"
            raise RecipeError(f"{place}: '{name}': the recipe has no such check", hint=f"dataset.checks has {known}")
        try:
            metric = find_metric(name)
        except RecipeError as error:
            raise RecipeError(f"{place}: {error.args[0]}", hint=error.hint) from None
        if metric.score is None:
            raise RecipeError(f"{place}: '{name}' is not measured reply by reply", hint="only a gate can name it")


def _check_requirement(one: Requirement, config: EvaluateConfig) -> None:
    place = f"{config.requirements}: {one.id}"
    _check_names(one.has, config, f"{place}: has")
    _check_names(one.has_not, config, f"{place}: has_not")
    if shares := sorted(CONTINUOUS & {*one.metrics}):
        raise RecipeError(
            f"{place}: '{shares[0]}' is a share, so that no reply simply has it or has it not",
            hint="hold it to a bound with a gate on a suite, and say untested: <why> here",
        )
    _check_checks(one.checks, place)


def _check_checks(checks: Mapping[str, Any], place: str) -> None:
    for name, parameters in checks.items():
        try:
            validate({name: parameters})
        except ModuleNotFoundError:
            # A recipe is read on an installation without evaluation too; the stages say what they need.
            continue
        except RecipeError as error:
            raise RecipeError(f"{place}: {error.args[0]}", hint=error.hint) from None


def _check_gate(
    gate: Gate, config: EvaluateConfig, items: Mapping[str, Sequence[Item]], requirements: Sequence[Requirement]
) -> None:
    where = f"{GATES}: {gate.name}"
    arms: list[Arm] = [gate.arm, *([gate.compared] if gate.compared else [])]
    if gate.requirement:
        _check_requirement_gate(gate, arms, config, items, requirements)
    elif gate.metric == KL:
        _check_divergence(gate, arms, config)
    else:
        suites = _suites(gate, config, items)
        for arm in arms:
            _check_asked(where, arm, suites, config)
        if not any(gate.metric in config.metrics_of(name) for name in suites):
            measured = dict.fromkeys(metric for name in suites for metric in config.metrics_of(name))
            raise RecipeError(f"{where}: the suite does not measure it", hint=f"it measures {', '.join(measured)}")
        if gate.family:
            _check_family(where, gate, items)


def _check_requirement_gate(
    gate: Gate,
    arms: Sequence[Arm],
    config: EvaluateConfig,
    items: Mapping[str, Sequence[Item]],
    requirements: Sequence[Requirement],
) -> None:
    where = f"{GATES}: {gate.name}"
    check_ids([gate.requirement], requirements, where)
    one = next(one for one in requirements if one.id == gate.requirement)
    if not (one.metrics or one.checks or (one.judge and config.judge)):
        raise RecipeError(f"{where}: nothing says which replies keep it", hint="give it has, has_not or checks")
    testing = [name for name, rows in items.items() if any(one.id in item.requirements for item in rows)]
    if not testing:
        raise RecipeError(f"{where}: no item tests it", hint=f"write items with requirements: [{one.id}]")
    for arm in arms:
        _check_asked(where, arm, testing, config)
        if not (one.metrics or one.checks or arm in JUDGED):
            raise RecipeError(f"{where}: the judge is not asked about the arm {arm}", hint=f"use {' or '.join(JUDGED)}")


def _check_divergence(gate: Gate, arms: Sequence[Arm], config: EvaluateConfig) -> None:
    where = f"{GATES}: {gate.name}"
    if gate.suite != RETENTION or gate.family:
        raise RecipeError(f"{where}: the divergence belongs to no suite", hint=f"write suite: {RETENTION}")
    if config.neutral is None:
        raise RecipeError(f"{where}: there are no neutral texts", hint="name a file of them under evaluate.neutral")
    for arm in arms:
        if arm not in ("baked", "baked_prompted") or arm not in config.arms or arm in config.endpoints:
            raise RecipeError(f"{where}: not measured for the arm {arm}", hint="it is that of an adapter run here")


def _suites(gate: Gate, config: EvaluateConfig, items: Mapping[str, Sequence[Item]]) -> list[str]:
    """Return the suites that a gate is about; RecipeError if there is none of its name."""
    if gate.suite == ALL:
        if gate.family:
            raise RecipeError(f"{GATES}: {gate.name}: a family belongs to a suite", hint="name the suite as well")
        asked = [name for name in items if gate.arm in config.arms_of(name)] or list(items)
        single = [name for name in asked if not any(item.turns for item in items[name])]
        return [name for name in single if config.suites[name].is_usual] or asked
    if gate.suite not in items:
        known = ", ".join([ALL, *items])
        raise RecipeError(f"{GATES}: {gate.name}: there is no suite '{gate.suite}'", hint=f"choose from {known}")
    return [gate.suite]


def _check_asked(where: str, arm: Arm, suites: Sequence[str], config: EvaluateConfig) -> None:
    if not any(arm in config.arms_of(name) for name in suites):
        asked = ", ".join(dict.fromkeys(arm for name in suites for arm in config.arms_of(name))) or "no arm"
        raise RecipeError(f"{where}: the arm {arm} is not asked there", hint=f"asked: {asked}; add it to the arms")


def _check_family(where: str, gate: Gate, items: Mapping[str, Sequence[Item]]) -> None:
    kinds = sorted({item.kind for item in items[gate.suite]} - {""})
    if gate.family not in kinds:
        known = ", ".join(kinds) or "none"
        raise RecipeError(f"{where}: no item that is used belongs to the family", hint=f"families used: {known}")
