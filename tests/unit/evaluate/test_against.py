"""Two runs side by side. Real: the reading of the files, and the statistics. Fabricated: the replies."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from evaluated_runs import Replies, write_evaluated
from statsmodels.stats.contingency_tables import mcnemar

from tuning_room.errors import DataError, MissingInputError
from tuning_room.evaluate.against import compare, read_run
from tuning_room.records import read_jsonl, write_jsonl
from tuning_room.results import Sample


def told(*values: float) -> Replies:
    return {f"i{number:02}": {"tells": value} for number, value in enumerate(values)}


def test_a_run_with_itself_has_no_change(tmp_path: Path) -> None:
    side = read_run(write_evaluated(tmp_path, {"easy": told(1, 0, 1)}))
    found = compare(side, side)
    (change,) = found.changes
    assert (change.difference, change.p_value, change.newly_failing, change.newly_passing) == (0, 1, [], [])
    assert found.notes == []
    json.dumps(asdict(found))


def test_what_got_worse_and_better_is_named(tmp_path: Path) -> None:
    first = read_run(write_evaluated(tmp_path / "a", {"easy": told(1, 1, 1, 1, 1, 1, 0, 0)}))
    second = read_run(write_evaluated(tmp_path / "b", {"easy": told(0, 0, 0, 0, 0, 1, 0, 1)}))
    (change,) = compare(first, second).changes
    assert not change.higher_is_better
    assert (change.first_rate, change.second_rate, change.difference) == (6 / 8, 2 / 8, -4 / 8)
    assert change.newly_passing == ["i00", "i01", "i02", "i03", "i04"] and change.newly_failing == ["i07"]
    assert change.p_value == pytest.approx(mcnemar([[1, 5], [1, 1]], exact=True).pvalue)
    assert change.low < change.difference < change.high
    third = read_run(write_evaluated(tmp_path / "c", {"easy": told(0, 0, 0, 0, 0, 1, 0, 1)}, higher=True))
    (turned,) = compare(first, third).changes
    assert turned.higher_is_better and turned.newly_failing == change.newly_passing


def test_p_values_are_adjusted_over_all_suites_and_metrics(tmp_path: Path) -> None:
    first = read_run(write_evaluated(tmp_path / "a", {"easy": told(*[1] * 8), "hard": told(*[1] * 8)}))
    second = read_run(write_evaluated(tmp_path / "b", {"easy": told(*[0] * 8), "hard": told(*[1] * 8)}))
    easy, hard = compare(first, second).changes
    assert easy.p_holm == pytest.approx(2 * easy.p_value) and hard.p_holm == 1


def test_turns_of_a_dialogue_are_one_dialogue(tmp_path: Path) -> None:
    before = {"a@1": {"tells": 0.0}, "a@2": {"tells": 1.0}, "b@1": {"tells": 1.0}, "b@2": {"tells": 1.0}}
    after = {**before, "b@1": {"tells": 0.0}, "b@2": {"tells": 0.0}}
    first = read_run(write_evaluated(tmp_path / "a", {"drift": before}))
    (change,) = compare(first, read_run(write_evaluated(tmp_path / "b", {"drift": after}))).changes
    assert (change.replies, change.dialogues, change.only_first) == (4, 2, 1)
    assert change.newly_passing == ["b turn 1", "b turn 2"]


def test_requirements_are_compared_over_all_suites(tmp_path: Path) -> None:
    sides = []
    for run, values in {"a": (1.0, 0.0, 1.0), "b": (1.0, 1.0, 0.0)}.items():
        root = write_evaluated(tmp_path / run, {"easy": told(0, 0), "hard": told(0)})
        kept = iter(values)
        for suite in ("easy", "hard"):
            file = root / "evaluation" / "samples" / f"baked.{suite}.jsonl"
            rows = [row.model_copy(update={"kept": {"warm": next(kept)}}) for row in read_jsonl(file, Sample)]
            write_jsonl(file, rows)
        sides.append(read_run(root))
    changes = {(change.suite, change.metric): change for change in compare(*sides).changes}
    warm = changes["requirements", "warm"]
    assert (warm.replies, warm.first_rate, warm.second_rate) == (3, 2 / 3, 2 / 3)
    assert (warm.newly_passing, warm.newly_failing) == (["easy/i01"], ["hard/i00"])


def test_only_common_items_count_and_the_others_are_said(tmp_path: Path) -> None:
    first = read_run(write_evaluated(tmp_path / "a", {"easy": told(1, 1, 1, 1), "old": told(1)}, changed="i01"))
    second = read_run(write_evaluated(tmp_path / "b", {"easy": told(1, 1, 1), "new": told(1)}))
    found = compare(first, second)
    assert [(change.suite, change.replies) for change in found.changes] == [("easy", 2)]
    left_out = "left out 1 only in the first, 1 with the same id but a different text"
    assert f"easy: compared on 2 replies; {left_out}" in found.notes[0]
    assert any(note.startswith("new: compared on 0") for note in found.notes)
    assert any(note.startswith("old: not in") for note in found.notes)


def test_no_item_in_common_is_an_error(tmp_path: Path) -> None:
    first = read_run(write_evaluated(tmp_path / "a", {"easy": told(1)}))
    with pytest.raises(DataError, match="no item in common"):
        compare(first, read_run(write_evaluated(tmp_path / "b", {"hard": told(1)})))


def test_other_full_prompts_are_refused_other_short_ones_said(tmp_path: Path) -> None:
    first = read_run(write_evaluated(tmp_path / "a", {"easy": told(1)}))
    with pytest.raises(DataError, match="different full prompts"):
        compare(first, read_run(write_evaluated(tmp_path / "b", {"easy": told(1)}, full="other")))
    third = read_run(write_evaluated(tmp_path / "c", {"easy": told(1)}, short="other", base="other"))
    assert compare(first, third).notes == [
        "the two runs differ in their short prompt",
        "the two runs differ in their base model",
    ]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="results"):
        read_run(tmp_path)
    place = write_evaluated(tmp_path, {"easy": told(1)}) / "evaluation"
    assert read_run(place).replies["easy"].keys() == {("i00", 1)}
    (place / "samples" / "baked.easy.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"baked\.easy\.jsonl:1: arm"):
        read_run(place)
    whole = (place / "results.json").read_text(encoding="utf-8")
    for spoilt in (
        "[]",
        "{}",
        whole.replace('"schema_version": 3', '"schema_version": 2'),
        whole.replace('"rate": 1', '"rate": "high"'),
        whole.replace('"rates": {', '"rates": {"base": {}}, "kept": {'),
    ):
        assert spoilt != whole
        (place / "results.json").write_text(spoilt, encoding="utf-8")
        with pytest.raises(DataError, match=r"results\.json"):
            read_run(place)


def test_a_single_reply_is_named_by_its_item_alone(tmp_path: Path) -> None:
    # As the evaluation writes them: the reply to a single item is turn 1.
    first = read_run(write_evaluated(tmp_path / "a", {"easy": {"i@1": {"tells": 0.0}, "j@1": {"tells": 0.0}}}))
    second = read_run(write_evaluated(tmp_path / "b", {"easy": {"i@1": {"tells": 1.0}, "j@1": {"tells": 0.0}}}))
    (change,) = compare(first, second).changes
    assert change.newly_failing == ["i"]


def test_a_metric_is_compared_on_the_items_that_it_concerns(tmp_path: Path) -> None:
    before = {"harm@1": {"refuses": 1.0}, "fine@1": {"over_refuses": 0.0}}
    after = {"harm@1": {"refuses": 0.0}, "fine@1": {"over_refuses": 0.0}}
    first = read_run(write_evaluated(tmp_path / "a", {"safety": before}))
    second = read_run(write_evaluated(tmp_path / "b", {"safety": after}))
    found = {change.metric: change for change in compare(first, second).changes}
    assert (found["refuses"].replies, found["refuses"].newly_failing) == (1, ["harm"])
    assert (found["over_refuses"].replies, found["over_refuses"].difference) == (1, 0)
