"""What a training will take, against what it then takes. Real: the steps that are tried; not real: their memory."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_rows import Configure

from tuning_room import train
from tuning_room.errors import TrainingError
from tuning_room.train import planning
from tuning_room.train.config import TrainConfig
from tuning_room.train.loop import LoraTrainer
from tuning_room.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("retention", [0.0, 1.0])
def test_a_plan_counts_what_training_then_does_and_changes_nothing(
    stage: tuple[TrainConfig, Workspace], tmp_path: Path, retention: float
) -> None:
    config, workspace = stage
    prompts = tmp_path / "neutral.txt"
    prompts.write_text("Name a river.\nWhat is a lake?\nWhere is north?\n", encoding="utf-8")
    config = config.model_copy(update={"retention": retention, "retention_prompts": prompts})
    if retention:
        train.plan(config, workspace)  # what a teacher has to say is kept
    before = sorted(path for path in workspace.root.rglob("*"))
    planned = train.plan(config, workspace)
    assert sorted(path for path in workspace.root.rglob("*")) == before
    train.run(config, workspace)
    metrics = [json.loads(line) for line in workspace.metrics.read_text(encoding="utf-8").splitlines()]
    assert (planned.rows, planned.steps) == (14, len(metrics))
    assert planned.tokens == sum(metric["tokens"] for metric in metrics)
    assert planned.largest_step == max(metric["tokens"] for metric in metrics)
    assert planned.seconds > 0 and 0 < planned.peak_bytes < planned.available_bytes


def test_what_does_not_fit_is_refused_with_the_setting_that_would(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(trainer: LoraTrainer, step: int) -> planning.Probe:
        tokens = planning._own_sizes(trainer)[step]
        return planning.Probe(tokens, 1.0, 1000 * tokens)

    monkeypatch.setattr(planning, "_tried", tried)
    config = configure()
    found = planning.plan(config, time.perf_counter())
    assert found.seconds > found.steps and found.peak_bytes == 1000 * found.largest_step

    def check(available: float) -> None:
        probes = [planning.Probe(tokens, 1.0, 1000 * tokens) for tokens in (10, 90)]
        planning.check_fits(found._replace(available_bytes=int(available)), config, probes)

    check(found.peak_bytes / 0.94)
    half = found.peak_bytes - 1000 * found.largest_step / 2
    with pytest.raises(TrainingError, match=r"GB are available; set train.batch_size to 2"):
        check(half / 0.949)
    with pytest.raises(TrainingError, match="choose a smaller base model"):
        check(1)


def test_available_memory_is_the_machines(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    7 kB\n", encoding="ascii")
    assert planning.available_memory(tmp_path / "meminfo") == 7 * 1024
    assert planning.available_memory(tmp_path / "none") > 1 << 50 and planning.available_memory() > 1 << 20


@given(st.floats(0, 10), st.floats(0, 5), st.lists(st.integers(1, 900), min_size=2, max_size=4, unique=True))
def test_a_line_through_points_is_found(start: float, slope: float, places: list[int]) -> None:
    points = [(float(place), start + slope * place) for place in places]
    assert planning._line(points, 500) == pytest.approx(start + slope * 500, rel=1e-6, abs=1e-6)
    assert planning._line([(10.0, 3.0), (20.0, 1.0)], 90) == 2.0, "more tokens never take less"
