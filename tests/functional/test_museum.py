"""A recipe in German, of example dialogues alone, about neither tutoring nor tickets, goes the same way as any other.

Real: the command line, every stage, the embedded model, py3langid. The adapter is drawn, not trained, but in the slow
test, whose four steps teach nothing either: this shows that nothing in the package knows the prompt's language or
subject, not that a model of this size learns it.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import run

from drawn_adapters import write_drawn_adapter, write_drawn_lineage
from tuning_room.checks import Exchange, rejected_by
from tuning_room.evaluate.suites import chosen
from tuning_room.recipe import load_recipe
from tuning_room.records import Candidate, read_jsonl
from tuning_room.results import Results, read_results

MUSEUM = Path(__file__).parent / "museum"
UNTAUGHT = {"auskunft", "zeiten", "freundlich"}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(MUSEUM, folder / "museum"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's folder, with a dataset."""
    folder = copied(tmp_path_factory.mktemp("german"))
    for stage in ("convert", "generate", "dataset"):
        done = run(stage, ".", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def run_folder(folder: Path) -> Path:
    return folder / "runs" / "museum"


@pytest.fixture(scope="module")
def found(built: Path, embedded_model: Path) -> Results:
    """What is found of an adapter that was drawn."""
    adapter = run_folder(built) / "adapter"
    write_drawn_adapter(embedded_model, adapter)
    write_drawn_lineage(embedded_model, adapter, "museum")
    done = run("evaluate", ".", "--json", cwd=built)
    assert done.returncode in (0, 3), done.stderr
    return read_results(run_folder(built) / "evaluation" / "results.json")


def test_each_reply_that_teaches_a_requirement_passes_its_checks() -> None:
    known = {one.id: one for one in load_recipe(str(MUSEUM)).read_requirements()}
    always = [one.id for one in known.values() if one.every_reply]
    for row in rows(MUSEUM / "seeds.jsonl"):
        said, reply = (message["content"] for message in row["messages"])
        for name in [*always, *row.get("requirements", [])]:
            assert rejected_by(known[name].checks, Exchange(reply, said)) == ("", ""), (row["id"], name)


def test_the_prompts_requirements_are_shown_with_the_rows_and_items_of_each(built: Path) -> None:
    done = run("requirements", ".", "--json", cwd=built)
    assert done.returncode == 0, done.stderr
    said = json.dumps(json.loads(done.stdout), ensure_ascii=False)
    known = yaml.safe_load((MUSEUM / "requirements.yaml").read_text(encoding="utf-8"))
    assert [one["id"] for one in known if f'"{one["id"]}"' not in said] == []


def test_a_draft_of_the_german_prompt_finds_its_rules(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    del recipe["requirements"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "requirements.yaml").unlink()
    (folder / "seeds.jsonl").write_text(without_requirements(MUSEUM / "seeds.jsonl"), encoding="utf-8")
    items = folder / "evaluation" / "fragen.jsonl"
    items.write_text(without_requirements(items), encoding="utf-8")
    done = run("requirements", ".", "--write", cwd=folder)
    assert done.returncode == 0, done.stderr
    drafted = load_recipe(str(folder)).read_requirements()
    assert len(drafted) >= 12
    assert [one.checks for one in drafted if "40 Wörter" in one.quote] == [{"length": {"at_most": 40}}]
    assert [one.checks for one in drafted if "auf Deutsch" in one.quote] == [{"language": {"code": "de"}}]


def without_requirements(path: Path) -> str:
    values = [{key: value for key, value in row.items() if key != "requirements"} for row in rows(path)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in values)


def test_the_rows_are_the_examples_and_name_what_they_teach(built: Path) -> None:
    seeds = rows(MUSEUM / "seeds.jsonl")
    candidates = list(read_jsonl(run_folder(built) / "candidates.jsonl", Candidate))
    assert len(candidates) == len(seeds) >= 40
    assert [row.requirements for row in candidates] == [seed.get("requirements", []) for seed in seeds]
    kept = [*rows(run_folder(built) / "dataset" / "train.jsonl"), *rows(run_folder(built) / "dataset" / "valid.jsonl")]
    assert len(kept) == len(seeds), "a check rejected a reply in German"


def test_each_requirement_has_a_result_of_the_replies_that_were_given(built: Path, found: Results) -> None:
    recipe = load_recipe(str(built))
    known = recipe.read_requirements()
    assert found.requirements is not None
    by_id = {one.id: one for one in found.requirements}
    assert list(by_id) == [one.id for one in known]
    assert {name for name, one in by_id.items() if one.state in ("untested", "outside")} == UNTAUGHT
    items = Counter(name for asked in chosen(recipe.evaluate).values() for item in asked for name in item.requirements)
    taught = Counter(
        name for row in rows(run_folder(built) / "dataset" / "train.jsonl") for name in row.get("requirements", [])
    )
    for one in known:
        result = by_id[one.id]
        assert result.quote == one.quote
        if one.id not in UNTAUGHT:
            assert set(result.rates) == {"prompted", "baked"}
            assert result.items == items[one.id] == result.rates["baked"].total > 0
            assert one.every_reply or result.rows == taught[one.id] > 0


def test_what_a_drawn_adapter_has_not_learnt_keeps_it_from_shipping(found: Results) -> None:
    assert found.requirements is not None
    closing = next(one for one in found.requirements if one.id == "schluss")
    assert (closing.state, closing.rates["baked"].count) == ("failed", 0)
    assert found.verdict.verdict != "ship"


def test_a_sentence_of_the_prompt_that_was_changed_is_an_error_before_anything_is_run(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    prompt = (folder / "prompt.md").read_text(encoding="utf-8")
    (folder / "prompt.md").write_text(prompt.replace("40 Wörter", "60 Wörter"), encoding="utf-8")
    done = run("bake", ".", cwd=folder)
    assert done.returncode == 2
    assert "kurz" in done.stderr and "Schreibe höchstens 40 Wörter." in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_it_is_baked_by_the_real_training(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    done = run("bake", ".", cwd=folder, timeout=900)
    assert done.returncode == 3, done.stderr
    results = read_results(run_folder(folder) / "evaluation" / "results.json")
    assert results.requirements is not None and len(results.requirements) == 14
