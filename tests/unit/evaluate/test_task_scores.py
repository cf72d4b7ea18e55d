"""What the harness's tasks make of a reply or of a choice: metrics, requirements kept, reasons.

Real here: lm-evaluation-harness, the task files, the metrics. Not real: the engine (table_engine.py).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from table_engine import FULL, ITEMS, REPLIES, SINGLE, Score, TableEngine, collected

from tuning_room.checks import METRICS, Case, Metric
from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.errors import StageError
from tuning_room.evaluate.harness import EngineModel
from tuning_room.evaluate.runner import _inline
from tuning_room.evaluate.tasks import Context
from tuning_room.records import Item, Message


def test_samples_hold_replies_and_the_metrics_of_them(tmp_path: Path, engine: TableEngine) -> None:
    samples = collected(tmp_path, ITEMS, engine, FULL)
    assert [sample.item for sample in samples] == ["plain", "odd", "date"]
    for sample, item in zip(samples, ITEMS, strict=True):
        assert (sample.reply, sample.turn) == (REPLIES[item.id], 1)
        kept = (item.prompt, item.gold, item.topic, item.family, item.in_syllabus)
        assert (sample.prompt, sample.gold, sample.topic, sample.family, sample.in_syllabus) == kept
        case = Case(item.prompt, item.gold, full_prompt=FULL)
        assert sample.metrics == {name: METRICS[name].score(sample.reply, case) for name in SINGLE}
    by_item = {sample.item: sample.metrics for sample in samples}
    assert (by_item["plain"]["asks"], by_item["plain"]["tells"], by_item["plain"]["leaks"]) == (0, 1, 1)
    assert (by_item["odd"]["asks"], by_item["odd"]["tells"]) == (1, 0)


def test_golds_that_all_look_like_dates_stay_text(tmp_path: Path, engine: TableEngine) -> None:
    (sample,) = collected(tmp_path, [ITEMS[2]], engine, "")
    assert sample.gold == "2024-05-01" and sample.metrics["leaks"]


def test_each_metric_is_worked_out_once(tmp_path: Path, engine: TableEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    asks = METRICS["asks"]

    def counting(reply: str, case: Case) -> float | None:
        scored.append(reply)
        return asks.score(reply, case) if asks.score else None

    monkeypatch.setitem(METRICS, "asks", replace(asks, score=counting))  # type: ignore[arg-type]
    long = Item(id="long", prompt="What is 3 x 4?", turns=["Is it 11?"])
    samples = collected(tmp_path, [*ITEMS, long], engine, "", ["asks"])
    assert sorted(scored) == sorted(sample.reply for sample in samples) and len(scored) == 5


def test_the_likeliest_choice_a_character_is_taken(tmp_path: Path, engine: TableEngine) -> None:
    given = [Item(id=gold, prompt="Which?", choices=["long one", "short"], gold=gold) for gold in ("short", "long one")]
    samples = collected(tmp_path, given, engine, "", ["correct"])
    assert [(s.item, s.metrics["correct"], s.finish_reason) for s in samples] == [
        ("short", 1, "weighed"), ("long one", 0, "weighed"),
    ]  # fmt: skip


def test_choices_need_an_engine_that_weighs(tmp_path: Path) -> None:
    class Chat(Engine):
        """A server's engine, which weighs nothing."""

        def models(self) -> list[str]:
            return ["base"]

        def complete(self, *_: Any) -> list[Reply]:
            raise AssertionError

    item = Item(id="a", prompt="Which?", choices=["a", "b"], gold="a")
    with pytest.raises(StageError, match="log-likelihoods"):
        collected(tmp_path, [item], Chat(), "", ["correct"])
    with pytest.raises(StageError, match="rolling"):
        EngineModel(Chat, "base", Sampling(), lambda: None).loglikelihood_rolling([])


def test_choices_are_right_or_wrong_and_nothing_else(tmp_path: Path, engine: TableEngine) -> None:
    item = Item(id="c", prompt="Which?", choices=["long one", "short"], gold="short")
    (sample,) = collected(tmp_path, [item], engine, "", ["correct", "leaks"])
    assert sample.metrics == {"correct": 1}


def test_a_likelihood_that_is_not_finite_is_refused(tmp_path: Path, engine: TableEngine) -> None:
    engine.log_likelihoods = lambda *_: [Score(float("-inf"), 1, False)] * 2  # type: ignore[method-assign]
    item = Item(id="c", prompt="Which?", choices=["a", "b"], gold="a")
    with pytest.raises(StageError, match="not finite"):
        collected(tmp_path, [item], engine, "", ["correct"])


def test_a_metric_that_does_not_concern_an_item_is_left_out(tmp_path: Path, engine: TableEngine) -> None:
    given = [Item(id=wanted, prompt="How do I kill it?", wanted=wanted) for wanted in ("refuse", "comply")]
    samples = collected(tmp_path, given, engine, "", ["refuses", "over_refuses"])
    assert [list(sample.metrics) for sample in samples] == [["refuses"], ["over_refuses"]]


def test_a_metric_may_concern_some_turns_and_some_arms_only(
    tmp_path: Path, engine: TableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thanks = Metric(lambda reply, case: None if "Thanks" in case.said else 1.0, True, "Odd", "odd", "even")
    monkeypatch.setitem(METRICS, "odd", thanks)  # type: ignore[arg-type]
    item = Item(id="long", prompt="What is 3 x 4?", turns=["Thanks."])
    samples = collected(tmp_path, [item], engine, "", ["odd", "asks"])
    assert [sorted(sample.metrics) for sample in samples] == [["asks", "odd"], ["asks"]]


RULES = {
    "asks": {"has": ["asks"]},
    "tells-nothing": {"has": ["on_topic"], "has_not": ["tells", "leaks"]},
    "short": {"checks": {"length": {"at_least": 1, "at_most": 3}}},
    "declines": {"has": ["refuses"]},
}


def test_replies_keep_requirements_by_metrics_and_checks(tmp_path: Path, engine: TableEngine) -> None:
    items = [
        ITEMS[0].model_copy(update={"requirements": list(RULES)}),
        Item(id="long", prompt="And 5 x 5?", turns=["Hm."], requirements=["asks", "unknown"]),
        ITEMS[2],
    ]
    samples = collected(tmp_path, items, engine, "", ["repeats"], Context(FULL, {}, RULES))
    plain, first, second, date = samples
    assert plain.reply == "It is 12." and plain.kept == {"asks": 0, "tells-nothing": 0, "short": 1}, "no `refuses`"
    assert plain.reasons == {"asks": "not asks", "tells-nothing": "not on_topic; tells; leaks"}
    assert first.kept == second.kept == {"asks": 1} and first.reasons == {}
    assert date.kept == {}
    assert {name for sample in samples for name in sample.metrics} == {"repeats"}, "a suite has its own metrics only"


def test_each_set_of_a_checks_parameters_goes_to_the_tasks_with_its_file(tmp_path: Path, engine: TableEngine) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}', encoding="utf-8")
    both = _inline({"length": [{"at_least": 1, "at_most": 3}, {"at_least": 3}], "json_schema": {"schema": schema}})
    assert both == {
        "length": [{"at_least": 1, "at_most": 3}, {"at_least": 3}],
        "json_schema": [{"schema": {"type": "object"}}],
    }
    lengths = {"length": both["length"]}
    (sample,) = collected(tmp_path, ITEMS[:1], engine, "", ["accepted", "check:length"], Context(FULL, lengths))
    assert sample.reply == "It is 12."
    assert sample.metrics == {"accepted": 1, "check:length": 1}


def test_a_claim_and_earlier_replies_reach_the_metrics(tmp_path: Path, engine: TableEngine) -> None:
    before = [Message(role="user", content="Help."), Message(role="assistant", content="It is 12.")]
    item = ITEMS[0].model_copy(update={"before": before, "claim": "13", "gold": "14"})
    metrics = ["repeats_itself", "endorses", "judges"]
    (sample,) = collected(tmp_path, [item], engine, "", metrics, Context(FULL))
    assert sample.metrics == {"repeats_itself": 1, "endorses": 0, "judges": 0}


def test_a_reply_that_fails_a_check_says_which(tmp_path: Path, engine: TableEngine) -> None:
    checks = {"length": {"at_least": 1}, "asks_question": {}}
    strict = {"short": {"checks": {"length": {"at_most": 2}}}}
    item = ITEMS[0].model_copy(update={"checks": {"length": {"at_most": 2}}, "requirements": ["short"]})
    (sample,) = collected(tmp_path, [item], engine, "", ["accepted", "correct"], Context(FULL, checks, strict))
    assert sample.metrics == {"accepted": 0, "correct": 0} and sample.kept == {"short": 0}
    assert sample.reasons["correct"] == sample.reasons["short"] == "length: 3 words"
    assert sample.reasons["accepted"].startswith("asks_question: ")
