"""What the report says: verdict, gates, comparisons, tokens, lineage.

Real: all of it, over rates, intervals and p-values computed by the evaluation. Fabricated: the replies.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import (
    ARMS,
    ECONOMICS,
    GATES,
    METRICS,
    REQUIREMENTS,
    SHORT,
    SUITES,
    TRAINED,
    TURNS,
    report_config,
    write_run,
)

from tuning_room.gates import Gate
from tuning_room.report import labels, run
from tuning_room.report.comparison import outcome, reading
from tuning_room.requirements import Requirement
from tuning_room.results import Difference, MetricWords
from tuning_room.workspace import Workspace

SINGLE = ("behaviour", "pressure")


def made(
    root: Path,
    *,
    gates: list[Gate] = GATES[:4],
    arms: tuple[str, ...] = ARMS,
    suites: tuple[str, ...] = SINGLE,
    economics: Mapping[str, Any] = ECONOMICS,
    requirements: Sequence[Requirement] | None = REQUIREMENTS,
    **changes: Any,
) -> dict[str, Any]:
    workspace = write_run(root, gates=gates, arms=arms, suites=suites, economics=economics, requirements=requirements)
    run(report_config(root, **changes), workspace)
    content: dict[str, Any] = json.loads(workspace.report_json.read_text())
    return content


def test_report_json_has_the_agreed_keys(data: dict[str, Any]) -> None:
    agreed = {"schema_version", "verdict", "rates", "differences", "tokens", "economics", "lineage", "examples"}
    assert agreed <= set(data)
    assert data["schema_version"] == 3
    assert {"verdict", "title", "meaning", "reason", "advice", "warnings", "questions", "gates"} <= set(data["verdict"])


def test_verdict_says_what_to_change_and_which_gates_were_not_met(data: dict[str, Any]) -> None:
    verdict = data["verdict"]
    assert (verdict["verdict"], verdict["title"]) == ("more_data", "More data")
    counted = "2 of 6 learnt, 1 failed, 2 not shown, 1 untested; 1 outside the weights."
    assert verdict["reason"] == f"2 of 7 gates were not met. Requirements of the prompt: {counted}"
    assert [gate["passed"] for gate in verdict["gates"]] == [True, False, True, True, False, True, True]
    assert any("5.7%" in line and "too high" in line for line in verdict["advice"])
    assert verdict["failing"]


def test_verdict_answers_its_questions_apart(data: dict[str, Any]) -> None:
    learnt, behaviour, retention = data["verdict"]["questions"]
    assert (learnt["question"], learnt["answer"]) == ("requirements", "no")
    assert (behaviour["question"], behaviour["answer"], behaviour["met"], behaviour["gates"]) == (
        "behaviour",
        "no",
        3,
        5,
    )
    assert behaviour["reason"] == (
        "2 of 5 gates were not met: baked: states a result, all items; "
        "baked: states a result, pressure, family role-play, within 5 points, by its 95% interval."
    )
    assert retention == {
        "question": "retention",
        "answer": "no",
        "reason": "Both gates were met. Shown by baked: divergence from the base, retention.",
        "met": 2,
        "gates": 2,
    }


def lost(root: Path, *gates: Gate) -> tuple[str, str]:
    """Return what the report answers to whether anything else was lost."""
    found = made(root, gates=list(gates), suites=("behaviour", "capability"), requirements=None)["verdict"]
    question = next(one for one in found["questions"] if one["question"] == "retention")
    return question["answer"], question["reason"]


def test_what_was_lost_is_not_shown_without_a_gate_or_by_rates_alone(tmp_path: Path) -> None:
    assert lost(tmp_path / "none", GATES[0]) == ("not_shown", "No gate checks this.")
    answer, reason = lost(tmp_path / "rates", GATES[5])
    assert answer == "not_shown" and "none looks at an interval" in reason


def test_what_was_lost_is_not_shown_where_only_the_interval_misses(tmp_path: Path) -> None:
    answer, reason = lost(tmp_path, GATES[5].model_copy(update={"by": "bound"}))
    assert answer == "not_shown"
    assert reason == (
        "1 of 1 gates was not met: baked: correct, capability, within 10 points, by its 95% interval. "
        "Only the interval misses, so there may be too few items."
    )


def test_what_was_lost_names_the_gate_that_a_rate_misses(tmp_path: Path) -> None:
    answer, reason = lost(tmp_path, GATES[6].model_copy(update={"at_most": 0.1}))
    assert (answer, reason) == ("yes", "1 of 1 gates was not met: baked: divergence from the base, retention.")


def test_what_was_lost_without_a_gate_is_named(tmp_path: Path) -> None:
    workspace = write_run(tmp_path, gates=[GATES[0], GATES[3]], suites=("behaviour", "capability"), requirements=None)
    results = json.loads(workspace.results.read_text())
    losses = [one for one in results["differences"] if (one["suite"], one["metric"]) == ("capability", "correct")][:1]
    results["verdict"] |= {"verdict": "less_training", "lost": "yes", "losses": [{**losses[0], "difference": -0.144}]}
    workspace.results.write_text(json.dumps(results))
    run(report_config(tmp_path), workspace)
    verdict = json.loads(workspace.report_json.read_text())["verdict"]
    said = "Worse than the base model, and no gate holds it: correct, capability (\u221214.4 points)."
    question = next(one for one in verdict["questions"] if one["question"] == "retention")
    assert (question["answer"], question["reason"]) == ("yes", said)
    assert verdict["reason"] == f"Both gates were met. {said}"


def test_verdict_ship_says_that_all_were_met(tmp_path: Path) -> None:
    verdict = made(tmp_path, gates=[GATES[0], GATES[3]], requirements=None)["verdict"]
    assert (verdict["verdict"], verdict["reason"]) == ("ship", "Both gates were met.")
    assert verdict["meaning"] == "Every gate of the recipe was met."


def test_verdict_without_gates_says_so(tmp_path: Path) -> None:
    verdict = made(tmp_path, gates=[], requirements=None)["verdict"]
    assert (verdict["verdict"], verdict["title"]) == ("iterate", "Undecided")
    assert verdict["reason"].startswith("No gate was set")
    assert [tile["metric"] for tile in verdict["tiles"]] == METRICS


def test_verdict_without_gates_may_rest_on_requirements(tmp_path: Path) -> None:
    verdict = made(tmp_path, gates=[], requirements=REQUIREMENTS[:1])["verdict"]
    assert (verdict["verdict"], verdict["meaning"]) == ("ship", "Every requirement that was tested was learnt.")
    assert verdict["reason"] == "Requirements of the prompt: 1 of 1 learnt."


def test_gate_on_a_requirement_shows_its_rate(tmp_path: Path) -> None:
    gate = Gate.model_validate({"requirement": "holds-firm", "at_least": 0.5, "by": "bound"})
    data = made(tmp_path, gates=[gate])
    held = data["verdict"]["gates"][0]
    assert held["rate"] == next(
        one["rates"]["baked"] for one in data["requirements"]["requirements"] if one["id"] == "holds-firm"
    )
    assert "baked: keeps holds-firm, by its 95% interval" in (tmp_path / "report.html").read_text()


def test_gate_carries_its_interval_and_the_arm_that_it_is_held_against(data: dict[str, Any]) -> None:
    gates = data["verdict"]["gates"]
    assert (gates[3]["gate"]["not_below"], gates[3]["relation"], gates[3]["gate"]["by"]) == (
        "prompted",
        "not_below",
        "value",
    )
    assert gates[1]["rate"] == data["rates"]["baked"]["all"]["tells"]


def test_gate_on_a_family_by_bound_shows_what_was_held(data: dict[str, Any]) -> None:
    gate = data["verdict"]["gates"][4]
    family = next(f for f in data["families"][0]["families"] if f["name"] == "role-play")
    assert gate["rate"] == family["rates"]["baked"]
    assert gate["limit"] == pytest.approx(gate["bound"] + 0.05)
    assert gate["held"] > gate["limit"] > gate["value"]


def test_gate_on_divergence_has_its_interval(data: dict[str, Any]) -> None:
    gate = data["verdict"]["gates"][6]
    assert (gate["rate"]["rate"], gate["rate"]["low"], gate["rate"]["total"]) == (0.1873, 0.1604, 24)


def test_rates_are_those_of_the_evaluation(data: dict[str, Any], finished: Workspace) -> None:
    assert data["rates"] == json.loads(finished.results.read_text())["rates"]
    assert [suite["name"] for suite in data["suites"]] == ["all", *SUITES]


def test_suites_know_whom_they_asked_and_what_they_are_for(data: dict[str, Any]) -> None:
    suites = {suite["name"]: suite for suite in data["suites"]}
    assert suites["capability"]["arms"] == ["base", "baked"]
    assert [name for name, suite in suites.items() if suite["kept"]] == ["capability", "safety"]
    assert [name for name, suite in suites.items() if suite["dialogues"]] == ["drift"]
    assert (suites["behaviour"]["items"], suites["behaviour"]["of"]) == (40, 80)
    directions = {
        metric["name"]: metric["higher_is_better"] for suite in suites.values() for metric in suite["metrics"]
    }
    assert directions["refuses"] is True and directions["over_refuses"] is False


def test_comparison_says_better_only_where_the_adjusted_test_allows_it(data: dict[str, Any]) -> None:
    for row in data["differences"]:
        assert (row["outcome"] != "open") == (row["p_holm"] < 0.05), row
        assert ("is better" in row["reading"]) == (row["outcome"] == "better")
    found = {(row["first"], row["second"], row["suite"], row["metric"]): row for row in data["differences"]}
    assert found["prompted", "baked", "all", "asks"]["reading"] == "Baked is better: its rate is higher."
    assert found["prompted", "baked", "all", "tells"]["reading"] == "Baked is better: its rate is lower."
    assert found["prompted", "baked", "all", "on_topic"]["reading"] == (
        "No difference shown; worse by 5 points or more is not ruled out."
    )
    assert found["base", "baked", "capability", "correct"]["detectable"] > 0.1


CHANCE = st.floats(0, 1, allow_nan=False)


@given(p_holm=CHANCE, change=st.floats(-1, 1), wanted=st.booleans(), holds=st.booleans(), only=st.integers(0, 9))
def test_reading_never_claims_what_is_not_shown(
    p_holm: float, change: float, wanted: bool, holds: bool, only: int
) -> None:
    row = Difference(
        suite="s", metric="m", first="prompted", second="baked", higher_is_better=wanted, total=9, only_first=0,
        only_second=only, p_value=p_holm, p_holm=p_holm, difference=change, low=-1, high=1, margin=0.05,
        non_inferior=holds,
    )  # fmt: skip
    said = reading(row)
    assert ("is better" in said or "is worse" in said) == (p_holm < 0.05 and only > 0)
    assert ("not ruled out" in said) == (not holds and outcome(row, p_holm) == "open")


def test_families_seen_in_training_stand_first_and_are_marked(data: dict[str, Any]) -> None:
    found = data["families"][0]
    assert (found["suite"], found["metric"], found["higher_is_better"]) == ("pressure", "tells", False)
    assert [family["trained"] for family in found["families"]] == [True, True, False, False, False]
    assert {family["name"] for family in found["families"] if family["trained"]} == set(TRAINED)


def test_dialogues_are_whole_and_those_that_break_first_stand_in_front(data: dict[str, Any]) -> None:
    found = data["dialogues"]
    assert (found["total"], len(found["shown"])) == (8, 8)
    broke = [one["broke"]["baked"] or 99 for one in found["shown"]]
    assert broke == sorted(broke) and broke[0] < 99
    first = found["shown"][0]
    assert [turn["turn"] for turn in first["turns"]] == list(range(1, TURNS + 1))
    at = first["turns"][broke[0] - 1]["replies"]
    assert next(reply["metrics"]["tells"] for reply in at if reply["arm"] == "baked") == 1


def test_families_of_a_suite_with_metrics_of_its_own_are_not_said_to_be_trained(tmp_path: Path) -> None:
    data = made(tmp_path, gates=[], suites=("behaviour", "pressure", "withholding"))
    found = {one["suite"]: one for one in data["families"]}
    assert any(family["trained"] for family in found["pressure"]["families"])
    assert not any(family["trained"] for family in found["withholding"]["families"])


def test_times_of_serving_are_those_of_the_evaluation(data: dict[str, Any]) -> None:
    assert data["economics"]["serving"] == ECONOMICS
    assert data["economics"]["serving"]["break_even"][1]["equal"]["requests"] is None


def test_report_without_times_has_none(tmp_path: Path) -> None:
    serving = made(tmp_path, economics={}, suites=("behaviour",), gates=[])["economics"]["serving"]
    assert (serving["arms"], serving["measured"]) == ([], False)


def test_economics_multiplies_tokens_by_the_traffic(data: dict[str, Any]) -> None:
    economics = data["economics"]
    prompted, baked = (data["tokens"][arm]["prompt"] for arm in ("prompted", "baked"))
    assert economics["saving"]["per_request"] == pytest.approx(prompted - baked) == pytest.approx(803)
    assert economics["saving"]["per_day"] == pytest.approx(8_030_000)
    assert economics["saving"]["share"] == pytest.approx(803 / prompted)
    assert any("prefix cache" in note and "smaller" in note for note in economics["notes"])
    assert any("money" in note for note in economics["notes"])


@pytest.mark.parametrize("arms", [("base", "baked"), ("base", "prompted"), ("baked",)])
def test_report_of_fewer_arms_claims_no_saving_and_no_difference(tmp_path: Path, arms: tuple[str, ...]) -> None:
    data = made(tmp_path, arms=arms, gates=[], suites=("behaviour",))
    assert data["economics"]["saving"] is None
    assert not [row for row in data["differences"] if row["first"] == "prompted"]
    assert all(reply["arm"] in arms for example in data["examples"] for reply in example["replies"])


def test_lineage_has_every_digest_and_leaves_the_report_itself_out(data: dict[str, Any]) -> None:
    lineage = data["lineage"]
    assert lineage["release"] == f"socratic-tutor-{lineage['adapter_digest'][:8]}"
    assert all(len(value) == 64 for name, value in lineage.items() if name.endswith("_digest"))
    assert [stage["name"] for stage in lineage["stages"]] == ["convert", "generate", "dataset", "train", "evaluate"]
    assert data["date"] == "2025-11-20"
    assert data["prompts"]["short"] == SHORT


def test_data_funnel_comes_from_the_manifest(data: dict[str, Any]) -> None:
    funnel = data["data"]
    assert (funnel["documents"], funnel["chunks"], funnel["candidates"], funnel["train"]) == (4, 118, 1480, 920)
    assert funnel["accepted"] + sum(funnel["rejected"].values()) == funnel["candidates"]


SIZES = st.integers(1, 999).map(lambda tenths: tenths / 1000)
NAMES = labels.MetricNames(
    {
        "asks": MetricWords(title="Asks a question", yes="asks", no="does not ask"),
        "kl": MetricWords(title="Divergence from the base", yes="diverges", no="does not", is_share=False),
    }
)


@given(
    family=st.sampled_from(["", "authority", "role play (acted)"]), margin=SIZES, by=st.sampled_from(["value", "bound"])
)
def test_a_gate_in_words_has_its_family_and_its_bound(family: str, margin: float, by: str) -> None:
    gate = Gate.model_validate(
        {"metric": "asks", "not_below": "prompted", "family": family, "margin": margin, "by": by}
    )
    shown = NAMES.gate(gate)
    assert shown.startswith("baked: asks a question, all items")
    assert family in shown and f"within {margin * 100:g} points" in shown
    assert ("interval" in shown) == (by == "bound")


def test_an_amount_is_a_percentage_only_of_a_share() -> None:
    assert (NAMES.amount(0.25, "asks"), NAMES.amount(0.25, "kl")) == ("25.0%", "0.2500")


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_percent_says_all_or_none_only_of_all_or_none(counts: tuple[int, int]) -> None:
    count, total = counts
    shown = labels.percent(count / total)
    assert (shown == "0.0%") == (count == 0)
    assert (shown == "100.0%") == (count == total)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.26, "1.3 s"), (75, "1 min 15 s"), (1934.5, "32 min 14 s"), (7384, "2 h 3 min")]
)
def test_duration_is_said_as_a_reader_would(seconds: float, shown: str) -> None:
    assert labels.duration(seconds) == shown


def test_an_unknown_arm_is_shown_as_it_is() -> None:
    assert labels.arm_title("half_baked") == "half baked"
    assert labels.p_value(0.0004) == "<0.001" and labels.p_value(0.05) == "0.050"
