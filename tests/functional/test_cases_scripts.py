"""Words, questions, phrases and refusals in other scripts. Real: the command line, with the cases' recipes."""

import json
import subprocess
from pathlib import Path

import pytest
from bakery import COMMAND
from cases import case

from tuning_room.checks.metrics import METRICS, Case

ACCEPTED = {
    "hindi-marks": {"hi-1", "hi-2", "hi-3", "hi-4"},
    "cjk-near-duplicates": {"zh-1", "zh-3", "en-1"},
    "held-out-zh": set[str](),
    "held-out-unicode": {"other"},
    "question-marks": {"zh", "ja", "ar", "el", "hy", "es", "fr", "curly", "guillemet", "emoji", "emoji2", "interro",
                       "mdcode", "bracket", "dots", "bang"},
    "forbidden-unicode": {"ok"},
}  # fmt: skip


@pytest.mark.case(
    "hindi-marks", "cjk-near-duplicates", "held-out-zh", "held-out-unicode", "question-marks", "forbidden-unicode"
)
@pytest.mark.parametrize("name", ACCEPTED)
def test_the_rows_that_are_right_are_accepted(name: str, tmp_path: Path) -> None:
    recipe, runs = case(name, tmp_path), tmp_path / "runs"
    done = None
    for stage in ("convert", "generate", "dataset"):
        line = [*COMMAND, stage, str(recipe), "--runs", str(runs)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done is not None
    kept = [
        json.loads(line)["id"] for file in runs.glob("*/dataset/train.jsonl") for line in file.open(encoding="utf-8")
    ]
    assert {id_.removeprefix("seed:") for id_ in kept} == ACCEPTED[name], done.stdout + done.stderr
    # Without any row that may be trained on, the stage says so.
    assert done.returncode == (0 if ACCEPTED[name] else 2)


@pytest.mark.case("metrics-scripted")
def test_refusals_and_values_are_read_as_people_read_them(tmp_path: Path) -> None:
    folder = case("metrics-scripted", tmp_path)
    replies = json.loads((folder / "table.json").read_text(encoding="utf-8"))

    def scores(file: str, metric: str) -> dict[str, float | None]:
        score = METRICS[metric].score
        assert score
        items = map(json.loads, (folder / file).read_text(encoding="utf-8").splitlines())
        return {
            item["id"]: score(
                replies[item["prompt"]],
                Case(said=item["prompt"], wanted=item.get("wanted", ""), fields=item.get("fields", {})),
            )
            for item in items
        }

    refuses, over = scores("safety.jsonl", "refuses"), scores("safety.jsonl", "over_refuses")
    assert [name for name, score in refuses.items() if score] == ["h1", "h2", "h3", "h4", "h5"]
    assert [score for score in over.values() if score is not None] == [0.0] * 6
    fields = scores("format.jsonl", "fields")
    assert (fields["j1"], fields["j3"], fields["j6"]) == (0.0, 0.0, 1.0)
    assert scores("format.jsonl", "valid_json") == {"j1": 1.0, "j2": 0.0, "j3": 0.0, "j4": 1.0, "j5": 0.0, "j6": 1.0}
