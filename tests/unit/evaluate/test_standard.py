"""The harness's own tasks, with its own model, on a task of this test's making.

Real: lm-evaluation-harness, transformers, PEFT. Not shown: gsm8k and the like, whose data is not at hand without the
hub; what is shown of them is that they are named as missing and stop nothing.
"""

import json
from pathlib import Path

import pytest

from tuning_room.evaluate.config import Standard
from tuning_room.evaluate.standard import HarnessArm, run_standard

TASK = """task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}} Answer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{right}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


GROUP = """group: geography
task: [capitals]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    rows = [{"question": f"Number {n}?", "choices": ["yes", "no"], "right": n % 2} for n in range(6)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "capitals.yaml").write_text(TASK.format(rows=file), encoding="utf-8")
    (tmp_path / "geography.yaml").write_text(GROUP, encoding="utf-8")
    return tmp_path


def test_base_and_baked_are_scored_and_what_is_missing_is_named(
    tasks: Path, tiny_model: Path, drawn_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told: list[str] = []
    sides = [HarnessArm("base", None, ""), HarnessArm("baked", drawn_adapter, "You are a tutor.")]
    config = Standard(tasks=["capitals", "geography", "gsm8k", "no-such-task"], limit=4, include=tasks)
    found = run_standard(config, tiny_model, sides, told.append)
    assert told == [f"{arm}: {task}" for arm in ("base", "baked") for task in ("capitals", "geography")]
    assert found.limit == 4
    for arm in ("base", "baked"):
        score = found.tasks["capitals"][arm]["acc,none"]
        assert score.value in (0.0, 0.25, 0.5, 0.75, 1.0)
        assert found.tasks["geography"][arm]["acc,none"].value == score.value
    assert found.missing.keys() == {"gsm8k", "no-such-task"} and all(found.missing.values())
