"""Which choice of a sweep comes first, and that none is tried twice. Real here: the trainings, the in-process engine.

Not real: the model knows nothing, so what it says to the prompts is noise; the checks are held against it all the same.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from training_rows import Configure

from tuning_room.errors import TrainingError, WorkspaceBusyError
from tuning_room.records import Tried, read_json
from tuning_room.train import sweep as sweep_stage
from tuning_room.train.config import SweepConfig, TrainConfig
from tuning_room.train.sweeping import Combination, combinations, judge_by, ranked, sweep
from tuning_room.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def config(**changes: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "model": "m",
        "recipe": "r",
        "short_prompt": "Ask.",
        "rank": 4,
        "alpha": 8,
        "batch_size": 4,
    }
    return TrainConfig(**{**given, "learning_rate": 4e-3, **changes})


def test_without_a_word_the_learning_rate_is_halved_kept_and_doubled() -> None:
    assert combinations(config()) == [Combination(2e-3, 4, 1), Combination(4e-3, 4, 1), Combination(8e-3, 4, 1)]


def test_every_combination_is_a_choice() -> None:
    found = combinations(config(sweep=SweepConfig(learning_rate=[1e-3], rank=[2, 4], epochs=[1, 2])))
    assert found == [Combination(1e-3, 2, 1), Combination(1e-3, 2, 2), Combination(1e-3, 4, 1), Combination(1e-3, 4, 2)]


def test_each_choice_gets_the_same_steps_and_is_tried_once(configure: Configure, tmp_path: Path) -> None:
    asked: list[Path] = []

    def judge(adapter: Path) -> tuple[float | None, int]:
        asked.append(adapter)
        return len(asked) / 10, 10

    wanted = config(sweep=SweepConfig(rank=[2, 4], epochs=[1, 3], learning_rate=[5e-3], steps=3))
    found = list(sweep(wanted, configure(), tmp_path / "sweep", judge))
    assert [one.steps for one in found] == [3] * 4 and [one.accepted for one in found] == [0.1, 0.2, 0.3, 0.4]
    assert len({one.valid_loss for one in found}) == 4
    again = list(sweep(wanted, configure(), tmp_path / "sweep", judge))
    assert again == found and len(asked) == 4
    more = config(sweep=SweepConfig(rank=[2, 8], epochs=[1], learning_rate=[5e-3], steps=3))
    assert list(sweep(more, configure(), tmp_path / "sweep", judge))[:1] == found[:1] and len(asked) == 5
    shares = {len((p.parent / "train.jsonl").read_text(encoding="utf-8").splitlines()) for p in asked}
    assert shares == {12, 4}  # 3 steps of 4 rows: once all of 12, or three times the same 4


def test_a_choice_that_fails_is_kept_with_its_reason(configure: Configure, tmp_path: Path) -> None:
    rates = [5e-3, 1e30]
    wanted = config(sweep=SweepConfig(learning_rate=rates, steps=3))
    found = list(sweep(wanted, configure(warmup_steps=1), tmp_path / "sweep", lambda adapter: (1.0, 1)))
    assert not found[0].failed and "the loss is nan" in found[1].failed
    assert ranked(found) == found
    hopeless = config(sweep=SweepConfig(learning_rate=[1e30], steps=3))
    with pytest.raises(TrainingError, match="no combination could be trained"):
        list(sweep(hopeless, configure(), tmp_path / "other", lambda adapter: (1.0, 1)))


def test_other_checks_or_prompts_are_another_sweep(configure: Configure, tmp_path: Path) -> None:
    def tried(judged: float, checks: dict[str, Any], prompts: int = 4) -> float | None:
        wanted = config(sweep=SweepConfig(learning_rate=[5e-3], steps=2, prompts=prompts), checks=checks)
        return next(sweep(wanted, configure(), tmp_path / "sweep", lambda adapter: (judged, prompts))).accepted

    assert tried(0.1, {}) == 0.1 and tried(0.2, {}) == 0.1
    assert tried(0.3, {"length": {"at_least": 9}}) == 0.3 and tried(0.4, {}, prompts=5) == 0.4


@pytest.mark.parametrize("wrong", [{"learning_rate": [0]}, {"rank": [0]}, {"epochs": [0]}, {"steps": 0}], ids=str)
def test_choices_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SweepConfig(**wrong)


tried = st.builds(
    Tried,
    learning_rate=st.floats(1e-5, 1),
    rank=st.integers(1, 64),
    epochs=st.integers(1, 4),
    steps=st.just(10),
    valid_loss=st.floats(0, 5),
    accepted=st.one_of(st.none(), st.floats(0, 1)),
    replies=st.just(8),
    seconds=st.just(1.0),
    failed=st.sampled_from(["", "", "the loss is nan"]),
)


@given(st.lists(tried, max_size=8))
def test_behaviour_counts_before_the_loss_and_failures_come_last(found: list[Tried]) -> None:
    order = ranked(found)
    assert len(order) == len(found) and all(one in found for one in order)
    for one, other in pairwise(order):
        assert bool(one.failed) <= bool(other.failed)
        if bool(one.failed) == bool(other.failed):
            assert (one.accepted or 0) >= (other.accepted or 0)
            if (one.accepted or 0) == (other.accepted or 0):
                assert (one.valid_loss or 0) <= (other.valid_loss or 0)


def test_replies_are_held_against_the_datasets_checks(
    configure: Configure, rows: tuple[Path, Path], tmp_path: Path
) -> None:
    from tuning_room.train.loop import LoraTrainer

    trainer = LoraTrainer(configure(max_steps=1))
    trainer.train().save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    model = trainer.config.model_path
    assert judge_by({"length": {"at_least": 0, "at_most": 999}}, model, rows[1], 3)(tmp_path / "adapter") == (1.0, 3)
    assert judge_by({"length": {"at_least": 500}}, model, rows[1], 9)(tmp_path / "adapter") == (0.0, 5)
    assert judge_by({}, model, rows[1], 9)(tmp_path / "adapter") == (None, 0)


def test_the_stage_writes_what_was_tried_best_first(tiny_model: Path, rows: tuple[Path, Path], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    workspace.train_rows.parent.mkdir(parents=True)
    workspace.train_rows.write_bytes(rows[0].read_bytes())
    workspace.valid_rows.write_bytes(rows[1].read_bytes())
    workspace.dataset_statistics.write_text("{}")  # by this a run's rows are told from those of others
    wanted = SweepConfig(steps=2, prompts=2, learning_rate=[1e-4, 2e-2])
    given = config(model=str(tiny_model), sweep=wanted, checks={"length": {"at_least": 0}})
    with workspace.locked(), pytest.raises(WorkspaceBusyError):
        list(sweep_stage(given, workspace))
    found = list(sweep_stage(given, workspace))
    written = read_json(workspace.sweep)["tried"]
    assert [entry["learning_rate"] for entry in written] == [one.learning_rate for one in ranked(found)]
    assert not workspace.adapter.exists()


def test_what_else_was_tried_is_no_part_of_what_is_trained() -> None:
    assert config().digest() == config(sweep=SweepConfig(), checks={"length": {}}).digest()
