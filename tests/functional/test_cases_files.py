"""Chat templates and files as people have them. Real: the command line and the embedded model, with the cases."""

import json
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import run
from cases import case

from tuning_room.deploy.release import check_names
from tuning_room.engines import Sampling
from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import setup
from tuning_room.generate.examples import read_examples
from tuning_room.models import load_tokenizer, resolve
from tuning_room.recipe import load_recipe
from tuning_room.records import Dialogue, read_jsonl
from tuning_room.rendering import prompt_ids, render_dialogue
from tuning_room.serve import open_engine
from tuning_room.workspace import Workspace


def change(recipe: Path, **changes: Any) -> Path:
    """Change a recipe's keys at the top; None removes one."""
    values = {**yaml.safe_load((recipe / "recipe.yaml").read_text(encoding="utf-8-sig")), **changes}
    kept = {key: value for key, value in values.items() if value is not None}
    (recipe / "recipe.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return recipe


def rows(folder: Path) -> list[Dialogue]:
    """Return the rows of the run in a folder."""
    return [row for file in folder.glob("runs/*/dataset/train.jsonl") for row in read_jsonl(file, Dialogue)]


def data(recipe: Path) -> None:
    """Run a recipe as far as its training data."""
    for stage in ("convert", "generate", "dataset"):
        done = run(stage, str(recipe), cwd=recipe.parent)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.case("control-tokens")
def test_control_tokens_in_words_are_text(tmp_path: Path) -> None:
    recipe = case("control-tokens", tmp_path)
    data(recipe)
    tokenizer = load_tokenizer(resolve("embedded:smollm2-135m"))
    found = {row.id.removeprefix("seed:"): render_dialogue(tokenizer, row.messages) for row in rows(tmp_path)}
    assert {"ct-1", "ct-2", "ct-3"} <= found.keys()
    begin, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    for rendered in found.values():
        assert (rendered.input_ids.count(begin), rendered.input_ids.count(end)) == (3, 3)
        learned = [token for token, learn in zip(*rendered, strict=True) if learn]
        assert learned.count(end) == 1


READ = (
    "chatgpt", "first-gpt", "gold-int", "id-int", "last-human", "messages-developer", "messages-null", "messages-parts",
    "messages-weight", "ok-assistant", "openai-tools", "reasoning", "role-content", "two-humans",
)  # fmt: skip


@pytest.mark.case("sharegpt-wild")
@pytest.mark.parametrize("name", READ)
def test_rows_of_other_projects_are_read(name: str, tmp_path: Path) -> None:
    found = read_examples(case(f"sharegpt-wild/{name}", tmp_path) / "seeds.jsonl").candidates
    assert len(found) == 4
    assert "<think>" not in str(found)


@pytest.mark.case("sharegpt-wild")
def test_what_cannot_be_read_is_listed_once_or_left_out(tmp_path: Path) -> None:
    recipe = case("sharegpt-wild/many-bad", tmp_path)
    lines = (recipe / "seeds.jsonl").read_text(encoding="utf-8")
    call = {"from": "observation", "value": "rain"}
    (recipe / "seeds.jsonl").write_text(lines + json.dumps({"conversations": [call, call]}) + "\n", encoding="utf-8")
    assert run("convert", str(recipe), cwd=tmp_path).returncode == 0
    done = run("generate", str(recipe), cwd=tmp_path)
    assert done.returncode == 2
    assert "2 of 8 rows cannot be used" in done.stderr
    assert all(words in done.stderr for words in ("line 7", "line 8", "on_error: skip"))
    done = run("generate", str(change(recipe, generate={"rows": 0, "on_error": "skip"})), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["candidates"], sum(result["skipped"].values())) == (6, 2)


def without_a_system_role(folder: Path) -> Path:
    """Return the case with a model's folder that its recipe can name: the embedded weights under its template."""
    recipe = case("no-system-role", folder)
    place = folder / "model"
    place.mkdir()
    for path in resolve("embedded:smollm2-135m").iterdir():
        (place / path.name).symlink_to(path)
    (place / "chat_template.jinja").unlink(missing_ok=True)
    (place / "chat_template.jinja").write_bytes((recipe / "chat_template.jinja").read_bytes())
    return change(recipe, model="../model")


@pytest.mark.case("no-system-role")
@pytest.mark.parametrize("stage", ["advise", "convert", "generate", "dataset", "train", "bake"])
def test_a_template_without_a_system_role_is_said_before_the_first_stage(stage: str, tmp_path: Path) -> None:
    done = run(stage, str(without_a_system_role(tmp_path)), cwd=tmp_path)
    assert done.returncode == 2
    assert "takes no system turn" in done.stderr
    assert "system_turn: fold" in done.stderr


def test_it_is_folded_where_the_recipe_says_so(tmp_path: Path) -> None:
    recipe = change(without_a_system_role(tmp_path), system_turn="fold")
    data(recipe)
    assert run("advise", str(recipe), cwd=tmp_path).returncode == 0
    done = run("train", str(recipe), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row, *_) = rows(tmp_path)
    loaded = load_recipe(str(recipe))
    engine = open_engine(loaded.serve, Workspace(tmp_path / "runs" / loaded.name))
    seen = engine.tokenizer.decode(render_dialogue(engine.tokenizer, row.messages).input_ids)  # type: ignore[attr-defined]
    assert f"You are Kay, a tutor.\n\n{row.messages[1].content}" in seen
    (reply,) = engine.complete(engine.models()[1], [row.messages[:2]], Sampling(max_tokens=4))
    assert reply.prompt_tokens == len(prompt_ids(engine.tokenizer, row.messages[:2]))  # type: ignore[attr-defined]


@pytest.mark.case("yaml-norway")
def test_yes_and_no_without_quotes_are_said_before_the_first_stage(tmp_path: Path) -> None:
    done = run("convert", str(case("yaml-norway", tmp_path)), cwd=tmp_path)
    assert done.returncode == 2
    assert "quote yes and no" in done.stderr
    assert "recipe.yaml" in done.stderr and "line " in done.stderr


@pytest.mark.case("bom-prompt")
def test_a_byte_order_mark_is_no_part_of_the_prompt(tmp_path: Path) -> None:
    recipe = case("bom-prompt", tmp_path)
    marked = (recipe / "prompt.md").read_bytes()
    assert marked.startswith(BOM_UTF8)
    with_mark = json.loads(run("advise", str(recipe), "--json", cwd=tmp_path).stdout)
    assert setup("prompted", load_recipe(str(recipe)).evaluate).system.startswith("You")
    (recipe / "prompt.md").write_bytes(marked.removeprefix(BOM_UTF8))
    assert json.loads(run("advise", str(recipe), "--json", cwd=tmp_path).stdout) == with_mark
    assert with_mark["full_tokens"] == 17


@pytest.mark.case("line-separators")
def test_rows_with_other_line_separators_go_through_a_sweep(tmp_path: Path) -> None:
    recipe = case("line-separators", tmp_path)
    data(recipe)
    done = run("train", str(recipe), "--sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.case("long-names")
def test_names_are_held_to_what_kserve_makes_of_them(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="<name>-predictor-<namespace> of it, which has 70 characters"):
        check_names(load_recipe(str(case("long-names/inference", tmp_path))).deploy)
    check_names(load_recipe(str(case("long-names/llm", tmp_path / "other"))).deploy)
