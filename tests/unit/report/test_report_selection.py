"""Which replies are shown.

Real: the selection. Fabricated: the replies, some of them hostile, empty or cut off.
"""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from report_samples import ARMS, SCRIPT, SUITES, report_config, write_run

from tuning_room.records import read_json
from tuning_room.report import ReportConfig, run
from tuning_room.report.selection import shares, spaced
from tuning_room.workspace import Workspace


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=5), st.integers(0, 80))
def test_places_are_dealt_evenly_and_none_is_lost(sizes: dict[str, int], count: int) -> None:
    dealt = shares(sizes, count)
    assert sum(dealt.values()) == min(count, sum(sizes.values()))
    assert all(dealt[name] <= size for name, size in sizes.items())
    unfilled = [dealt[name] for name in sizes if dealt[name] < sizes[name]]
    assert not unfilled or max(dealt.values()) - min(unfilled) <= 1


@given(st.integers(1, 500).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))))
def test_positions_are_evenly_spaced(pair: tuple[int, int]) -> None:
    size, count = pair
    places = spaced(size, count)
    assert len(set(places)) == count
    assert min(places) >= 0 and max(places) < size
    steps = {after - before for before, after in pairwise(places)}
    assert not steps or max(steps) - min(steps) <= 1


def test_examples_come_from_every_suite_of_single_items(data: dict[str, Any]) -> None:
    examples = data["examples"]
    suites = Counter(example["suite"] for example in examples)
    assert suites == {name: 2 for name in SUITES if name != "drift"}
    assert len({(example["suite"], example["item"]) for example in examples}) == 12


def test_examples_show_an_item_under_the_arms_that_were_asked(data: dict[str, Any]) -> None:
    for example in data["examples"]:
        asked = [arm for arm in ("base", "prompted", "baked") if arm in SUITES[example["suite"]].get("arms", ARMS)]
        assert [reply["arm"] for reply in example["replies"]] == asked


def test_failures_hold_every_baked_reply_that_breaks_a_gate(data: dict[str, Any]) -> None:
    failures = data["failures"]
    groups = {group["metric"]: group for group in failures["groups"]}
    rates = data["rates"]["baked"]
    assert set(groups) == {"asks", "tells", "leaks", "correct"}
    assert groups["tells"]["found"] == failures["by_metric"]["tells"] == rates["all"]["tells"]["count"]
    assert groups["asks"]["found"] == 70 - rates["all"]["asks"]["count"]
    assert groups["leaks"]["suites"] == ["pressure"]
    assert groups["correct"]["found"] == 30 - rates["capability"]["correct"]["count"]


def test_failures_show_an_item_once_beside_the_other_arms(data: dict[str, Any]) -> None:
    shown = [example for group in data["failures"]["groups"] for example in group["shown"]]
    assert len({(example["suite"], example["item"]) for example in shown}) == len(shown)
    assert all(example["replies"][-1]["arm"] == "baked" for example in shown)
    assert any(len(example["replies"]) == 3 for example in shown)
    assert SCRIPT in [example["replies"][-1]["text"] for example in shown]


def test_failures_put_the_worst_first(data: dict[str, Any]) -> None:
    shown = data["failures"]["groups"][0]["shown"]
    broken = [
        (not m["asks"]) + m["tells"] + (m["leaks"] if example["suite"] == "pressure" else 0)
        for example in shown
        for m in [example["replies"][-1]["metrics"]]
    ]
    assert broken == sorted(broken, reverse=True)


def test_failures_beyond_the_limit_are_counted(workspace: Workspace) -> None:
    run(report_config(workspace.root, worst=3), workspace)
    failures = read_json(workspace.report_json)["failures"]
    assert sum(len(group["shown"]) for group in failures["groups"]) <= 3
    assert sum(group["found"] for group in failures["groups"]) > 3


def test_without_gates_whatever_is_measured_counts(tmp_path: Path) -> None:
    workspace = write_run(tmp_path, gates=[], suites=("behaviour",))
    run(report_config(tmp_path), workspace)
    failures = read_json(workspace.report_json)["failures"]
    assert failures["gated"] is False
    assert set(failures["by_metric"]) >= {"tells", "asks"}
    assert "no gate is set" in workspace.report_html.read_text()


def test_choices_that_were_weighed_are_said_to_have_no_reply(data: dict[str, Any], page: str) -> None:
    weighed = [r for e in data["examples"] for r in e["replies"] if r["weighed"]]
    assert all(reply["text"] == "" for reply in weighed)
    assert "the choices were weighed by their likelihood" in page


def test_cut_off_reply_is_marked(workspace: Workspace) -> None:
    run(report_config(workspace.root, examples=1000), workspace)
    examples = read_json(workspace.report_json)["examples"]
    assert sum(reply["cut"] for example in examples for reply in example["replies"]) == 1
    assert "cut off at the token limit" in workspace.report_html.read_text()


def test_what_was_said_before_is_shown(workspace: Workspace, config: ReportConfig) -> None:
    for arm in ARMS:
        path = workspace.evaluation / "samples" / f"{arm}.withholding.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        said = [{"role": "user", "content": "58 boxes?"}, {"role": "assistant", "content": "Split them."}]
        path.write_text("".join(json.dumps({**row, "before": said}) + "\n" for row in rows))
    run(config, workspace)
    assert "58 boxes?" in workspace.report_html.read_text()
