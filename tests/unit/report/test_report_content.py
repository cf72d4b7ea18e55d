"""What the report says: verdict, gates, comparisons, tokens, lineage.

Real: all of it, over rates, intervals and p-values computed by the evaluation. Fabricated: the replies.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import ADAPTER, ARMS, GATES, SHORT, report_config, write_run

from tuning_room.evaluate.config import Gate
from tuning_room.evaluate.verdict import judge
from tuning_room.report import labels, run
from tuning_room.workspace import Workspace


def made(root: Path, *, gates: list[Gate] = GATES, arms: tuple[str, ...] = ARMS, **changes: Any) -> dict[str, Any]:
    workspace = write_run(root, gates=gates, arms=arms)
    run(report_config(root, **changes), workspace)
    content: dict[str, Any] = json.loads(workspace.report_json.read_text())
    return content


def test_report_json_has_the_agreed_keys(data: dict[str, Any]) -> None:
    agreed = {"schema_version", "verdict", "rates", "differences", "tokens", "economics", "lineage", "examples"}
    assert agreed <= set(data)
    assert data["schema_version"] == 1
    assert set(data["verdict"]) == {"verdict", "reason", "gates"}


def test_verdict_names_the_gates_that_were_not_met(data: dict[str, Any]) -> None:
    verdict = data["verdict"]
    assert verdict["verdict"] == "more_data"
    assert verdict["reason"] == (
        "1 of 4 gates was not met. Baked: states a result, all items: 7.1%, at most 5.0% is asked for."
    )
    assert [gate["passed"] for gate in verdict["gates"]] == [True, False, True, True]


def test_verdict_ship_says_that_all_were_met(tmp_path: Path) -> None:
    verdict = made(tmp_path, gates=[GATES[0], GATES[3]])["verdict"]
    assert (verdict["verdict"], verdict["reason"]) == ("ship", "Both gates were met.")


def test_verdict_without_gates_says_so(tmp_path: Path) -> None:
    verdict = made(tmp_path, gates=[])["verdict"]
    assert verdict["verdict"] == "iterate"
    assert verdict["reason"].startswith("No gate was set")


def test_gate_carries_its_interval_and_the_arm_that_it_is_held_against(data: dict[str, Any]) -> None:
    gates = data["verdict"]["gates"]
    assert gates[3]["against"] == "prompted"
    assert gates[3]["relation"] == "not below"
    assert gates[1]["rate"] == data["rates"]["baked"]["all"]["tells"]


def test_rates_are_those_of_the_evaluation(data: dict[str, Any], finished: Workspace) -> None:
    assert data["rates"] == json.loads(finished.results.read_text())["rates"]
    assert data["suites"] == ["all", "problems", "attacks"]


def test_comparison_says_better_only_where_the_test_allows_it(data: dict[str, Any]) -> None:
    for row in data["differences"]:
        claims = "better" in row["reading"] or "worse" in row["reading"]
        assert claims == (row["p_value"] < 0.05), row
    readings = {(row["suite"], row["metric"]): row["reading"] for row in data["differences"]}
    assert readings["all", "asks"] == "Baked is better: has it more often."
    assert readings["all", "tells"] == "Baked is better: has it less often."
    assert readings["all", "on_topic"] == "No difference shown."


def test_direction_comes_from_the_gates_before_the_labels() -> None:
    found = labels.directions(["tells", "asks", "rhymes"], ["baked tells (all) at least 90%"])
    assert found == {"tells": True, "asks": True, "rhymes": None}


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
    data = made(tmp_path, arms=arms, gates=[])
    assert data["economics"]["saving"] is None
    assert data["differences"] == []
    assert all(reply["arm"] in arms for example in data["examples"] for reply in example["replies"])


def test_lineage_has_every_digest_and_leaves_the_report_itself_out(data: dict[str, Any]) -> None:
    lineage = data["lineage"]
    assert lineage["release"] == "socratic-tutor-3f2a9c0d"
    assert lineage["adapter_digest"] == ADAPTER
    assert all(len(value) == 64 for name, value in lineage.items() if name.endswith("_digest"))
    assert [stage["name"] for stage in lineage["stages"]] == ["convert", "generate", "dataset", "train", "evaluate"]
    assert data["date"] == "2025-11-20"
    assert data["prompts"]["short"] == SHORT


def test_data_funnel_comes_from_the_manifest(data: dict[str, Any]) -> None:
    funnel = data["data"]
    assert (funnel["documents"], funnel["chunks"], funnel["candidates"], funnel["train"]) == (4, 118, 1480, 920)
    assert funnel["accepted"] + sum(funnel["rejected"].values()) == funnel["candidates"]


names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
BOUNDS = [{"at_least": 0.9}, {"at_most": 0.05}, {"not_below": "prompted"}, {"not_above": "base"}]


@given(metric=names, suite=names, bound=st.sampled_from(BOUNDS))
def test_gate_written_by_the_evaluation_is_taken_apart(metric: str, suite: str, bound: dict[str, Any]) -> None:
    from tuning_room.evaluate.statistics import Rate

    rates = {arm: {suite: {metric: Rate(0.5, 0.4, 0.6, 5, 10)}} for arm in ARMS}
    gate = judge([Gate.model_validate({"metric": metric, "suite": suite, **bound})], rates).gates[0].gate
    parts = labels.parse_gate(gate)
    assert parts is not None
    assert (parts.arm, parts.metric, parts.suite) == ("baked", metric, suite)
    assert parts.relation == next(iter(bound)).replace("_", " ")


SIZES = st.integers(1, 999).map(lambda tenths: tenths / 1000)


@given(
    family=st.sampled_from(["", "authority", "role play (acted)"]), margin=SIZES, by=st.sampled_from(["value", "bound"])
)
def test_family_margin_and_bound_of_a_gate_are_taken_apart(family: str, margin: float, by: str) -> None:
    gate = Gate.model_validate(
        {"metric": "asks", "not_below": "prompted", "family": family, "margin": margin, "by": by}
    )
    parts = labels.parse_gate(gate.name)
    assert parts is not None
    assert parts[:5] == ("baked", "asks", "all", "not below", "prompted")
    assert (parts.family, parts.by) == (family, by)
    assert parts.margin == pytest.approx(margin)
    assert family in labels.gate_title(gate.name)
    assert ("interval" in labels.gate_title(gate.name)) == (by == "bound")


@given(st.text())
def test_gate_in_other_words_stands_for_itself(gate: str) -> None:
    assert labels.parse_gate(gate) is None or labels.gate_title(gate)
    if labels.parse_gate(gate) is None:
        assert labels.gate_title(gate) == gate


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


def test_unknown_metric_and_arm_stand_for_themselves() -> None:
    assert labels.metric_label("ends_in_rhyme") == ("Ends in rhyme", "ends in rhyme", "not: ends in rhyme", None)
    assert labels.arm_title("half_baked") == "half baked"
    assert labels.p_value(0.0004) == "<0.001" and labels.p_value(0.05) == "0.050"
