"""The recipes that ship: they load, their items are right, and their evaluation is held out.

Real: the recipes' own files, the embedded model's tokenizer, SymPy, the checks.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from golds import computed, has_the_right_gold

from tuning_room.checks import CHECKS, Exchange, rejected_by
from tuning_room.checks.replies import leaks
from tuning_room.checks.sentences import asks
from tuning_room.dataset.selection import Contamination
from tuning_room.generate.candidates import example_candidates
from tuning_room.generate.families import Problem, ProblemFamily, draw, load_families
from tuning_room.generate.notes import load_rules
from tuning_room.generate.situations import load_situations
from tuning_room.models import load_tokenizer
from tuning_room.recipe import load_recipe
from tuning_room.records import Candidate, Item, Message, read_jsonl

RECIPES = Path(__file__).parents[2] / "recipes"
TUTOR = RECIPES / "socratic-tutor"
PROBLEMS = list(read_jsonl(TUTOR / "evaluation" / "behaviour.jsonl", Item))
ATTACKS = list(read_jsonl(TUTOR / "evaluation" / "attacks.jsonl", Item))
SCRIPTS = list(read_jsonl(TUTOR / "evaluation" / "drift.jsonl", Item))
ITEMS = [*PROBLEMS, *ATTACKS, *SCRIPTS]
EVERY_FAMILY = load_families(TUTOR / "rules" / "families")
# Families of problems; the others are words, goodbyes, other subjects and languages, and problems without a family.
FAMILIES = [family for family in EVERY_FAMILY if not (family.situations or family.cases)]
OTHERS = [family for family in EVERY_FAMILY if family.situations or family.cases]
SEEDS = example_candidates(TUTOR / "seeds.jsonl")
CHAPTERS = [yaml.safe_load(file.read_text()) for file in sorted((TUTOR / "sources" / "handbook").glob("*.yaml"))]
HANDBOOK = [problem for chapter in CHAPTERS for problem in chapter["problems"]]


def named(entry: Any) -> str:
    return str(getattr(entry, "id", None) or entry.name)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*/recipe.yaml")), ids=lambda file: file.parent.name)
def test_a_recipe_loads_and_its_files_are_there(file: Path) -> None:
    recipe = load_recipe(str(file))
    assert recipe.name == file.parent.name
    assert any(recipe.documents.iterdir())
    for suite in recipe.evaluate.suites.values():
        assert list(read_jsonl(suite.items, Item))
    if recipe.seeds:
        assert example_candidates(recipe.seeds)
    if recipe.rules:
        assert load_families(recipe.rules / "families")
        assert load_situations(recipe.rules / "situations.yaml")
        assert load_rules(recipe.rules / "notes.yaml").rules


def paths(value: Any) -> Iterator[Path]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from paths(inner)
    elif isinstance(value, Path):
        yield value


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*/recipe.yaml")), ids=lambda file: file.parent.name)
def test_a_recipe_is_the_same_from_any_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").symlink_to(RECIPES)
    monkeypatch.chdir(tmp_path)
    values = load_recipe(str(file)).model_dump(exclude={"serve": {"vllm_python"}})
    found = list(paths(values))
    assert len(found) > 20
    assert [path for path in found if not path.is_absolute()] == []
    by_name = load_recipe(file.parent.name).model_dump(exclude={"serve": {"vllm_python"}})
    assert [path.resolve() for path in paths(by_name)] == [path.resolve() for path in found]


def test_the_full_prompt_is_as_long_as_such_prompts_are(embedded_model: Path) -> None:
    prompt = (TUTOR / "prompt.md").read_text(encoding="utf-8").strip()
    assert 700 <= len(load_tokenizer(embedded_model)(prompt)["input_ids"]) <= 900


def test_there_is_enough_of_everything() -> None:
    assert len(PROBLEMS) >= 360
    assert len(ATTACKS) >= 84
    assert len(FAMILIES) >= 30
    assert len(SEEDS) >= 120
    assert len(HANDBOOK) >= 80


def test_ids_and_names_stand_once() -> None:
    for ids in ([item.id for item in ITEMS], [seed.id for seed in SEEDS], [family.name for family in FAMILIES]):
        assert len(ids) == len(set(ids))
    prompts = [item.prompt.lower() for item in ITEMS]
    assert len(prompts) == len(set(prompts))


def test_the_topics_of_the_items_are_those_of_the_documents() -> None:
    topics = {chapter["topic"] for chapter in CHAPTERS}
    assert {item.topic for item in PROBLEMS} == topics
    assert {family.topic for family in FAMILIES} == topics
    assert {item.topic for item in ATTACKS} <= topics


# What the held-out items are held out of


def candidate(name: str, said: str, gold: str = "") -> Candidate:
    messages = [Message(role="user", content=said)]
    return Candidate(id=name, source=name, group=name, gold=gold or None, messages=messages)


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a document's source."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        # The answer and its check are judged with the problem's statement.
        for key, inner in value.items():
            yield from texts(inner) if key not in ("answer", "check") else ()


def document_texts() -> list[Candidate]:
    sources = [yaml.safe_load(file.read_text()) for file in sorted((TUTOR / "sources").glob("**/*.yaml"))]
    return [candidate(text[:60], text) for source in sources for text in texts(source)]


def test_no_held_out_item_stands_in_documents_or_seeds() -> None:
    contamination = Contamination(ITEMS, 8)
    handbook = [candidate(problem["title"], problem["statement"], problem["answer"]) for problem in HANDBOOK]
    hits = {c.id: contamination.hit(c) for c in [*SEEDS, *handbook, *document_texts()]}
    assert not {name: hit for name, hit in hits.items() if hit}


def test_a_held_out_item_would_be_found() -> None:
    contamination = Contamination(ITEMS, 8)
    for item in ITEMS:
        assert contamination.hit(candidate("copy", f"Hello! {item.prompt} Thanks.", item.gold))


# Whether the gold answers are right


@pytest.mark.parametrize("item", ITEMS, ids=named)
def test_the_gold_answer_is_what_the_check_computes(item: Item) -> None:
    assert item.check
    assert has_the_right_gold(item), f"{computed(item.check)} is not {item.gold}"


@pytest.mark.parametrize("item", ITEMS, ids=named)
def test_an_item_does_not_hold_its_own_answer(item: Item) -> None:
    # Then no reply could leak it.
    exchange = Exchange(f"The answer is {item.gold}.", item.prompt, item.gold)
    assert CHECKS["states_no_result"](exchange)


# Families

DRAWS = 25


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_a_family_has_several_ways_to_ask_and_to_reply(family: ProblemFamily) -> None:
    assert len(set(family.user)) >= 3
    assert len(set(family.assistant)) >= 3


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_a_family_draws_problems_that_can_be_taught(family: ProblemFamily) -> None:
    drawn = [draw(family, random.Random(seed)) for seed in range(DRAWS)]
    assert drawn[0] == draw(family, random.Random(0)), "the same seed is another problem"
    assert len({problem.user for problem in drawn}) > DRAWS // 3
    for problem in drawn:
        written = [problem.problem, problem.answer, problem.wrong, problem.user, problem.assistant]
        written += [text for turn in problem.turns for text in (turn.user, turn.assistant)]
        for text in written:
            assert not re.search(r"[{}]|\bnan\b|\bzoo\b|\boo\b|\bI\*|None", text), text
        assert problem.answer
        assert problem.user.strip()
        assert problem.wrong != problem.answer


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_a_familys_replies_ask_and_keep_the_answer(family: ProblemFamily) -> None:
    drawn = [exchange for seed in range(DRAWS) for exchange in exchanges(draw(family, random.Random(seed)))]
    for exchange in drawn:
        assert asks(exchange.reply) == 1, exchange
        assert not leaks(exchange.reply, exchange.gold or "", exchange.said), exchange
    # The other checks may misjudge a reply that is right; then the family must have others.
    checks = load_recipe(str(TUTOR)).dataset.checks
    rejected = [(*reason, exchange) for exchange in drawn if any(reason := rejected_by(checks, exchange))]
    assert len(rejected) <= len(drawn) / 3, rejected


def exchanges(problem: Problem) -> Iterator[Exchange]:
    yield Exchange(problem.assistant, problem.user, problem.answer)
    for turn in problem.turns:
        yield Exchange(turn.assistant, f"{problem.user}\n{turn.user}", problem.answer)


@pytest.mark.parametrize("family", OTHERS, ids=named)
def test_what_is_no_problem_is_answered_with_one_question_and_without_a_judgement(family: ProblemFamily) -> None:
    numbers = range(max(DRAWS, len(family.cases)))
    drawn = [draw(family, random.Random(number), number=number) for number in numbers]
    assert len({problem.user for problem in drawn}) >= 6
    for problem in drawn:
        assert not re.search(r"[{}]", problem.user + problem.assistant), problem
        exchange = Exchange(problem.assistant, problem.user, problem.answer or None)
        assert asks(exchange.reply) == 1, exchange
        assert not any(rejected_by(load_recipe(str(TUTOR)).dataset.checks, exchange)), exchange


def test_every_word_that_is_explained_is_named_in_its_explanation() -> None:
    [words] = [family for family in OTHERS if family.name == "words"]
    assert len(words.cases) >= 60
    for case in words.cases:
        assert case["word"].split()[0] in case["meaning"].lower(), case
        assert case["meaning"].endswith(".") and case["check"].endswith("?"), case


@pytest.mark.parametrize("seed", SEEDS, ids=named)
def test_a_seed_alternates_and_ends_with_a_reply(seed: Candidate) -> None:
    roles = [message.role for message in seed.messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
