"""Requirements: kept by replies, rates and states, the verdict and its advice.

Real: all of it, over fabricated samples; rates and intervals are compared with ones counted by hand (Wilson's).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.evaluate.advice import MoreItems
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.learnt import found_of, rows_taught
from tuning_room.evaluate.standing import bound_of, items_to_write, stand
from tuning_room.evaluate.statistics import rate
from tuning_room.evaluate.summary import summarize
from tuning_room.evaluate.verdict import judge
from tuning_room.gates import Gate
from tuning_room.records import Dialogue, Item, Message, write_jsonl
from tuning_room.requirements import Requirement, RequirementGate
from tuning_room.results import ArmIdentity, Besides, Rate, RequirementResult, Results, Sample, Verdict

ASKS = Requirement(id="asks", quote="Ask one question.", has=["asks"])
WARM = Requirement(id="warm", quote="Be warm.", has=["asks_one"])


def replies(arm: str, kept: Sequence[bool], name: str = "asks", suite: str = "kitchen") -> list[Sample]:
    return [
        Sample(
            arm=arm, suite=suite, item=f"{name}-{n}", prompt="p", gold="", reply="r", finish_reason="stop",
            prompt_tokens=9, completion_tokens=4, metrics={"asks": 1.0}, kept={name: float(value)},
        )
        for n, value in enumerate(kept)
    ]  # fmt: skip


def items_of(name: str, count: int) -> list[Item]:
    return [Item(id=f"{name}-{n}", prompt="p", requirements=[name]) for n in range(count)]


def of(one: Requirement, kept: Sequence[bool], **rows: int | None) -> RequirementResult:
    """Return what is found of a requirement that the baked replies keep as given."""
    items = {"kitchen": items_of(one.id, len(kept))}
    (found,) = found_of([one], replies("baked", kept, one.id), items, rows, margin=0.05)
    return found


# By Wilson's interval: 8 of 10 reaches down to 49.0 %, 10 of 10 to 72.2 %, 20 of 24 to 64.1 %, 23 of 24 to 79.8 %.
@pytest.mark.parametrize(
    ("kept", "total", "gate", "state"),
    [
        (20, 24, None, "learnt"),
        (10, 10, None, "learnt"),
        (8, 10, None, "not_shown"),
        (5, 5, None, "not_shown"),
        (19, 24, None, "failed"),
        (0, 1, None, "failed"),
        (9, 10, ("value", 0.9), "learnt"),
        (8, 10, ("value", 0.9), "failed"),
        (23, 24, ("bound", 0.8), "not_shown"),
        (24, 24, ("bound", 0.8), "learnt"),
        (19, 24, ("bound", 0.8), "failed"),
    ],
)
def test_the_state_follows_rate_and_interval(
    kept: int, total: int, gate: tuple[Literal["value", "bound"], float] | None, state: str
) -> None:
    own = RequirementGate(by=gate[0], at_least=gate[1]) if gate else None
    found = of(ASKS.model_copy(update={"gate": own}), [n < kept for n in range(total)])
    assert (found.state, found.items) == (state, total)
    assert (found.rates["baked"].count, found.rates["baked"].total) == (kept, total)
    assert f"of {total} replies" in found.reason and ("too few items" in found.reason) is (state == "not_shown")
    assert found.failing == [f"asks-{n}" for n in range(kept, total)]


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.05, 0.95), st.sampled_from(["value", "bound"]))
def test_what_is_learnt_by_a_bound_is_learnt_by_its_rate(kept: int, total: int, least: float, by: Any) -> None:
    found = rate([n < kept for n in range(total)])
    state = stand(found, bound_of(RequirementGate(at_least=least, by=by))).state
    assert (state == "failed") is (found.rate < least)
    assert by == "bound" or state != "not_shown"


@pytest.mark.parametrize(
    ("one", "items", "state", "said"),
    [
        (ASKS, 0, "not_shown", "no item tests it"),
        (ASKS, 4, "not_shown", "no reply of the arm baked to its 4 items"),
        (Requirement(id="asks", quote="q"), 4, "not_shown", "no metric, check or judge"),
        (Requirement(id="asks", quote="q", judge="Is it warm?"), 4, "not_shown", "evaluate.judge names none"),
        (Requirement(id="asks", quote="q", untested="needs a class"), 0, "untested", "needs a class"),
        (Requirement(id="asks", quote="q", kind="knowledge"), 0, "outside", "belongs in retrieval"),
        (Requirement(id="asks", quote="q", kind="context", has=["asks"]), 4, "outside", "must stay in the prompt"),
    ],
)
def test_a_requirement_without_a_rate_says_why(one: Requirement, items: int, state: str, said: str) -> None:
    (found,) = found_of([one], replies("prompted", [True]), {"kitchen": items_of("asks", items)}, {}, margin=0.05)
    assert found.state == state and said in found.reason
    assert found.rows is None and "baked" not in found.rates and found.difference is None


def test_turns_of_a_dialogue_are_no_independent_replies() -> None:
    rows = [
        one.model_copy(update={"item": f"d{n // 4}", "turn": n % 4 + 1})
        for n, one in enumerate(replies("baked", [True] * 36 + [False] * 4))
    ]
    (found,) = found_of([ASKS], rows, {"kitchen": [Item(id="d0", prompt="p", requirements=["asks"])]}, {}, margin=0.05)
    independent = rate([True] * 36 + [False] * 4)
    assert found.rates["baked"].rate == independent.rate and found.rates["baked"].low < independent.low
    assert found.failing == ["d9"]


def test_the_difference_is_paired_and_adjusted_over_the_requirements_alone() -> None:
    samples = [
        *replies("prompted", [False] * 8 + [True] * 2), *replies("baked", [True] * 10),
        *replies("prompted", [True] * 6, "warm"), *replies("baked", [True] * 6, "warm"),
    ]  # fmt: skip
    items = {"kitchen": [*items_of("asks", 10), *items_of("warm", 6)]}
    asks, warm = found_of([ASKS, WARM], samples, items, {}, margin=0.05)
    assert asks.difference and warm.difference
    found = asks.difference
    assert (found.suite, found.metric, found.first, found.second) == ("requirements", "asks", "prompted", "baked")
    assert (found.only_first, found.only_second, found.total) == (0, 8, 10)
    assert found.p_value == pytest.approx(2 * 0.5**8) and found.p_holm == pytest.approx(2 * found.p_value)
    assert warm.difference.p_value == 1


def test_rows_are_counted_by_what_they_teach(tmp_path: Path) -> None:
    every = Requirement(id="every", quote="q", every_reply=True)
    messages = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    rows = [Dialogue(id=str(n), source="s", group="g", messages=messages, requirements=["asks"][n:]) for n in range(3)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    assert rows_taught([ASKS, WARM, every], tmp_path / "train.jsonl") == {"asks": 1, "warm": 0, "every": 3}
    assert rows_taught([ASKS], tmp_path / "none.jsonl") == {"asks": None}


def judged(found: Sequence[RequirementResult], gates: Sequence[Gate] = (), **unused: int) -> Verdict:
    rates = {"baked": {"all": {"asks": Rate(rate=0.95, low=0.85, high=1, count=19, total=20)}}}
    more = MoreItems("cook", {key.replace("_", ":"): count for key, count in unused.items()})
    return judge(gates, rates, requirements=found, more=more)


MET, BY_BOUND, MISSED = (
    Gate(metric="asks", at_least=0.9),
    Gate(metric="asks", at_least=0.9, by="bound"),
    Gate(metric="asks", at_least=0.99),
)
KEPT, LOST = (
    Gate(metric="asks", at_least=0.8, by="bound", side="retention"),
    Gate(metric="asks", at_least=0.96, by="bound", side="retention"),
)
SHOWN, UNSHOWN, BROKEN = of(ASKS, [True] * 10), of(WARM, [True] * 3), of(WARM, [False, True], warm=7)


@pytest.mark.parametrize(
    ("found", "gates", "verdict"),
    [
        ([SHOWN], [MET], "ship"),
        ([SHOWN], [], "ship"),
        ([SHOWN, UNSHOWN], [MET], "more_items"),
        ([SHOWN], [MET, BY_BOUND], "more_items"),
        ([SHOWN, BROKEN], [MET], "more_data"),
        ([SHOWN, UNSHOWN, BROKEN], [MET, KEPT], "more_data"),
        ([SHOWN, UNSHOWN], [MISSED], "more_data"),
        ([SHOWN, UNSHOWN], [MET, LOST], "less_training"),
        ([BROKEN], [MET, LOST], "start_over"),
        ([of(Requirement(id="warm", quote="q", untested="why"), [])], [MET], "ship"),
        ([of(Requirement(id="warm", quote="q", kind="context"), [])], [], "iterate"),
        ([], [], "iterate"),
    ],
)
def test_states_decide_with_the_gates(found: list[RequirementResult], gates: list[Gate], verdict: str) -> None:
    assert judged(found, gates).verdict == verdict


@pytest.mark.parametrize(
    ("gates", "lost"),
    [
        ([MET], "not_shown"),
        ([KEPT], "no"),
        ([KEPT, Gate(metric="asks", at_least=0.9, side="retention")], "no"),
        ([KEPT, LOST], "yes"),
        ([Gate(metric="asks", at_least=0.96, side="retention")], "yes"),
        ([Gate(metric="asks", at_least=0.9, side="retention")], "not_shown"),
        ([Gate(metric="asks", at_least=0.9, by="bound", side="retention")], "not_shown"),
    ],
)
def test_whether_anything_was_lost_has_three_answers(gates: list[Gate], lost: str) -> None:
    assert judged([SHOWN], gates).lost == lost


def test_the_counts_are_those_of_what_should_be_learnt() -> None:
    outside = of(Requirement(id="o", quote="q", kind="knowledge"), [])
    untested = of(Requirement(id="u", quote="q", untested="why"), [])
    found = judged([SHOWN, UNSHOWN, BROKEN, untested, outside], [MET])
    assert found.learnt and found.learnt.model_dump() == {
        "learnt": 1, "of": 4, "failed": 1, "not_shown": 1, "untested": 1, "outside": 1
    }  # fmt: skip
    assert found.failing == ["warm-0"]
    said = "\n".join(found.advice)
    assert "Not tested, so not claimed: u (why)." in said and "names no requirements" not in said
    assert "The requirement warm was not learnt: kept by 50.0% of 2 replies" in said and "7 training rows" in said


def test_what_no_row_teaches_any_more_turns_red_and_the_verdict_away_from_ship() -> None:
    taught, untaught = of(WARM, [True] * 10, warm=40), of(WARM, [n < 2 for n in range(10)], warm=0)
    before, after = judged([SHOWN, taught], [MET, KEPT]), judged([SHOWN, untaught], [MET, KEPT])
    assert (before.verdict, before.lost, before.advice) == ("ship", "no", [])
    assert (untaught.state, after.verdict) == ("failed", "more_data")
    assert "No training row teaches it: write rows with requirements: [warm]." in " ".join(after.advice)


@pytest.mark.parametrize(
    ("unused", "said"),
    [
        ({}, "too few items to show at least 60%. Write about 3 more with requirements: [warm]."),
        ({"requirement_warm": 5}, "at least 60%. 'tuning-room evaluate cook --all-items' asks the other 5."),
        ({"requirement_warm": 2}, "--all-items' asks the other 2; write about 1 more with requirements: [warm]."),
    ],
)
def test_the_advice_is_what_settles_it(unused: dict[str, int], said: str) -> None:
    (advice,) = (sentence for sentence in judged([UNSHOWN], [MET], **unused).advice if "warm" in sentence)
    assert advice.endswith(said)
    # The three items that were asked and the three that are to be written show it, if all are kept.
    assert items_to_write(UNSHOWN) == 3 and of(WARM, [True] * 6).state == "learnt"


def test_a_gate_by_bound_names_the_command_as_well() -> None:
    (advice,) = (s for s in judged([SHOWN], [BY_BOUND], all=40).advice if "rate itself" in s)
    assert "--all-items' asks the other 40." in advice


@pytest.fixture
def config(tmp_path: Path) -> EvaluateConfig:
    gates = [
        {"requirement": "asks", "at_least": 0.7, "by": "bound"},
        {"requirement": "asks", "not_below": "prompted", "margin": 0.3, "by": "bound"},
    ]
    return EvaluateConfig.model_validate(
        {
            "model": "m", "full_prompt": tmp_path / "p", "short_prompt": "s", "suites": {"kitchen": tmp_path / "i"},
            "metrics": ["asks"], "gates": gates,
        }
    )  # fmt: skip


def summary(config: EvaluateConfig, kept: Sequence[bool]) -> Results:
    samples = [*replies("prompted", [True] * len(kept)), *replies("baked", kept)]
    identity = ArmIdentity(base_model="b", adapter="", system_prompt="", system_tokens=0)
    found = found_of([ASKS], samples, {"kitchen": items_of("asks", len(kept))}, {"asks": 12}, margin=0.05)
    arms = {"prompted": identity, "baked": identity}
    return summarize(config, samples, arms, {"kitchen": len(kept)}, Besides(), requirements=found)


def test_a_gate_holds_a_requirement(config: EvaluateConfig) -> None:
    found = summary(config, [True] * 12)
    assert [held.passed for held in found.verdict.gates] == [True, True] and found.verdict.verdict == "ship"
    assert found.verdict.gates[0].held == pytest.approx(rate([True] * 12).low)
    assert found.metrics["requirement:asks"].title == "Keeps asks"
    assert "requirements" not in found.rates["baked"] and list(found.rates["baked"]["kitchen"]) == ["asks"]
    missed = summary(config, [True] * 6 + [False] * 6)
    assert [held.passed for held in missed.verdict.gates] == [False, False]
    assert Results.model_validate_json(missed.model_dump_json()) == missed


def test_what_no_item_tests_is_a_warning(config: EvaluateConfig) -> None:
    samples = replies("baked", [True])
    found = found_of([WARM], samples, {"kitchen": items_of("asks", 1)}, {}, margin=0.05)
    identity = ArmIdentity(base_model="b", adapter="", system_prompt="", system_tokens=0)
    ungated = config.model_copy(update={"gates": []})
    results = summarize(ungated, samples, {"baked": identity}, {"kitchen": 1}, Besides(), requirements=found)
    assert any(warning.startswith("warm: no item tests") for warning in results.warnings)
    assert results.verdict.verdict == "more_items"
    assert "Write about 6 more with requirements: [warm]" in " ".join(results.verdict.advice)
