"""Which replies are shown.

Real: the selection. Fabricated: the replies, some of them hostile, empty or cut off.
"""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from report_samples import SCRIPT, report_config

from tuning_room.report import run
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


def test_examples_show_one_item_under_three_arms(data: dict[str, Any]) -> None:
    examples = data["examples"]
    assert [example["suite"] for example in examples] == ["problems"] * 6 + ["attacks"] * 6
    assert len({example["item"] for example in examples}) == 12
    assert all([r["arm"] for r in example["replies"]] == ["base", "prompted", "baked"] for example in examples)


def test_failures_hold_every_baked_reply_that_breaks_something(data: dict[str, Any], finished: Workspace) -> None:
    failures = data["failures"]
    wanted = {"asks": True, "tells": False, "leaks": False, "on_topic": True}
    shown = [example["replies"][0] for example in failures["shown"]]
    assert (failures["total"], failures["found"], len(shown)) == (70, 12, 12)
    assert all(reply["arm"] == "baked" and reply["metrics"] != wanted for reply in shown)
    assert SCRIPT in [reply["text"] for reply in shown]
    rates = data["rates"]["baked"]["all"]
    assert failures["by_metric"]["tells"] == rates["tells"]["count"]
    assert failures["by_metric"]["asks"] == 70 - rates["asks"]["count"]


def test_failures_put_those_that_break_most_gates_first(data: dict[str, Any]) -> None:
    shown = [example["replies"][0]["metrics"] for example in data["failures"]["shown"]]
    gated = [(not m["asks"]) + m["tells"] + m["leaks"] for m in shown]
    assert gated == sorted(gated, reverse=True)


def test_failures_beyond_the_limit_are_counted(workspace: Workspace) -> None:
    run(report_config(workspace.root, worst=3), workspace)
    assert "Shown are the 3 that fail most" in workspace.report_html.read_text()


def test_cut_off_reply_is_marked(data: dict[str, Any], page: str) -> None:
    cut = [r for example in data["examples"] for r in example["replies"] if r["cut"]]
    assert len(cut) == 1
    assert page.count("cut off at the token limit") == 1
