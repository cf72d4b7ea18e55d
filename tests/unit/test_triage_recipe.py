"""The recipe that sorts helpdesk tickets: every reply it teaches has the fixed form, and its evaluation is held out.

Real: the recipe's own files, the embedded model's tokenizer, jsonschema, the metrics. Whether the labels suit the
tickets is a reader's judgement; proved here is that they are labels, and that families agree with their topic.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tuning_room.checks import METRICS, Case, Exchange, rejected_by
from tuning_room.dataset.selection import Contamination
from tuning_room.generate.candidates import example_candidates
from tuning_room.generate.families import ProblemFamily, draw, load_families
from tuning_room.generate.notes import load_rules, reply
from tuning_room.generate.situations import Situation, dialogue, load_situations
from tuning_room.models import load_tokenizer
from tuning_room.recipe import load_recipe
from tuning_room.records import Candidate, Item, Message, read_jsonl
from tuning_room.requirements import Requirement, check_ids, normalized

ROOT = Path(__file__).parents[2] / "recipes" / "helpdesk-triage"
RECIPE = load_recipe(str(ROOT))
SCHEMA = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PROMPT = (ROOT / "prompt.md").read_text(encoding="utf-8").strip()
EXAMPLES = (ROOT / "documents" / "sorting-examples.md").read_text(encoding="utf-8")
TICKETS = list(read_jsonl(ROOT / "evaluation" / "tickets.jsonl", Item))
ATTACKS = list(read_jsonl(ROOT / "evaluation" / "attacks.jsonl", Item))
RULES = list(read_jsonl(ROOT / "evaluation" / "rules.jsonl", Item))
LATER = list(read_jsonl(ROOT / "evaluation" / "later.jsonl", Item))
ITEMS = [*TICKETS, *ATTACKS, *RULES, *LATER]
REQUIREMENTS = RECIPE.read_requirements()
ENOUGH = 24  # of 24 items, 20 kept are shown to be more than six in ten
FAMILIES = load_families(ROOT / "rules" / "families")
SITUATIONS = load_situations(ROOT / "rules" / "situations.yaml")
SEEDS = example_candidates(ROOT / "seeds.jsonl")
NOTES = [line.removeprefix("- ") for line in EXAMPLES.splitlines() if line.startswith("- ")]
CATEGORIES = set(SCHEMA["properties"]["category"]["enum"])
DRAWS = 25


def named(entry: Any) -> str:
    return str(getattr(entry, "id", None) or entry.name)


def sorted_ticket(text: str) -> dict[str, Any]:
    """Return a reply as the object that it must be; a ValidationError says what is wrong with it."""
    value: dict[str, Any] = json.loads(text)
    VALIDATOR.validate(value)
    assert list(value) == SCHEMA["required"], "the keys stand in another order"
    assert len(value["subject"].split()) <= 5
    return value


def labels(value: dict[str, Any]) -> str:
    """Return the part of a reply that has one right form: all but the subject."""
    return json.dumps({key: part for key, part in value.items() if key != "subject"})[1:-1]


def replies(messages: list[Message]) -> Iterator[tuple[str, str]]:
    """Yield what the user has said so far, and the reply to it."""
    said = ""
    for message in messages:
        if message.role == "user":
            said += message.content + "\n"
        else:
            yield said, message.content


# The prompt


def test_the_prompts_are_as_long_as_they_should_be(embedded_model: Path) -> None:
    tokenizer = load_tokenizer(embedded_model)
    assert 700 <= len(tokenizer(PROMPT)["input_ids"]) <= 900
    assert len(tokenizer(RECIPE.dataset.short_prompt)["input_ids"]) <= 12


def test_the_prompt_names_every_word_of_the_schema_and_shows_replies_of_its_form() -> None:
    for name in ("category", "priority", "team"):
        assert [word for word in SCHEMA["properties"][name]["enum"] if not re.search(rf"\b{word}\b", PROMPT)] == []
    shown = re.findall(r"^\*\*Beacon:\*\* (.+)$", PROMPT, re.MULTILINE)
    assert len(shown) >= 3
    assert all(sorted_ticket(text) for text in shown)


@pytest.mark.parametrize(
    "text",
    [
        "The ticket goes to the network team.",
        '{"subject": "VPN", "category": "network", "priority": "high", "team": "network"}',
        '{"subject": "VPN", "category": "network", "priority": "critical", "team": "network", "needs_reply": false}',
        '{"subject": "VPN", "category": "network", "priority": "high", "team": "guard", "needs_reply": false}',
        '{"subject": "VPN", "category": "network", "priority": "high", "team": "network", "needs_reply": "no"}',
        '{"subject": "VPN", "category": "network", "priority": "high", "team": "network", "needs_reply": true, "x": 1}',
    ],
)
def test_the_schema_refuses_what_the_prompt_forbids(text: str) -> None:
    with pytest.raises((jsonschema.ValidationError, json.JSONDecodeError)):
        sorted_ticket(text)


def test_everything_is_plain_ascii() -> None:
    files = [path for path in ROOT.rglob("*") if path.suffix in {".md", ".yaml", ".json", ".jsonl", ".py"}]
    assert len(files) > 10
    assert [path.name for path in files if not path.read_bytes().isascii()] == []


# What is taught


def test_there_is_enough_of_everything() -> None:
    assert len(FAMILIES) >= 20
    assert len(SEEDS) >= 40
    assert len(NOTES) >= 20
    assert {family.topic for family in FAMILIES} == CATEGORIES
    assert all(len(set(family.user)) >= 6 for family in FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_a_family_gives_sorted_tickets_whose_subject_stands_in_the_ticket(family: ProblemFamily) -> None:
    for seed in range(DRAWS):
        problem = draw(family, random.Random(seed))
        value = sorted_ticket(problem.assistant)
        assert value["category"] == problem.topic
        assert labels(value) == problem.answer
        assert value["subject"] in problem.user
        for turn in problem.turns:
            later = sorted_ticket(turn.assistant)
            assert later == value or later == {**value, "priority": "low"}


@pytest.mark.parametrize("situation", SITUATIONS, ids=named)
def test_a_situation_changes_the_ticket_and_never_the_reply(situation: Situation) -> None:
    for seed in range(DRAWS):
        problem = draw(FAMILIES[seed], random.Random(seed))
        messages = dialogue(situation, problem, random.Random(seed), follow_up=False).messages
        assert messages[-1].content == problem.assistant
        assert sorted_ticket(messages[-1].content)["subject"] in messages[0].content


@pytest.mark.parametrize("seed", SEEDS, ids=named)
def test_a_seed_gives_sorted_tickets_whose_subject_stands_in_the_ticket(seed: Candidate) -> None:
    for said, text in replies(seed.messages):
        assert sorted_ticket(text)["subject"] in said
    assert labels(json.loads(seed.messages[-1].content)) == seed.gold


def test_a_seed_never_repeats_a_password() -> None:
    secret = next(seed for seed in SEEDS if seed.situation == "secret")
    assert "Tulip-77" in secret.messages[0].content
    assert "Tulip" not in secret.messages[1].content


@pytest.mark.parametrize("note", NOTES)
def test_a_note_of_the_worked_examples_becomes_a_sorted_ticket(note: str) -> None:
    value = sorted_ticket(reply(note, load_rules(ROOT / "rules" / "notes.yaml")))
    assert value["subject"] in EXAMPLES.split(note)[0].rpartition("###")[2]


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_the_recipes_checks_accept_what_is_taught(family: ProblemFamily) -> None:
    problem = draw(family, random.Random(1))
    assert rejected_by(RECIPE.dataset.checks, Exchange(problem.assistant, problem.user, problem.answer)) == ("", "")
    assert rejected_by(RECIPE.dataset.checks, Exchange("Sure, I can help with that.", problem.user))[0]


# What the prompt asks


def tested() -> Counter[str]:
    """Return how many items name each requirement, or belong to a suite that does."""
    suites = [(RECIPE.suites["behaviour"], TICKETS), (RECIPE.suites["pressure"], ATTACKS)]
    suites += [(RECIPE.suites["rules"], RULES), (RECIPE.suites["later"], LATER)]
    return Counter(
        name for suite, items in suites for item in items for name in {*suite.requirements, *item.requirements}
    )


def test_every_sentence_that_asks_something_stands_in_a_quote() -> None:
    asks = normalized(PROMPT[: PROMPT.index("## Examples")])
    for one in REQUIREMENTS:
        asks = asks.replace(normalized(one.quote), "")
    left = [part.strip(" -,.") for part in re.split(r"##? [\w' ,]*|(?<=[.:]) ", asks)]
    # What no quote takes is the title, the headings, and the form itself, which the patterns hold.
    assert [part for part in left if len(part.split()) > 3 and not part.startswith(("Beacon, the", '{"subject"'))] == []


@pytest.mark.parametrize("one", REQUIREMENTS, ids=named)
def test_a_requirement_is_tested_by_enough_items_or_says_why_not(one: Requirement) -> None:
    assert one.untested or one.every_reply or tested()[one.id] >= ENOUGH
    assert one.untested or one.has or one.checks


def test_an_item_names_requirements_that_exist_and_its_own_category_and_priority() -> None:
    for item in ITEMS:
        check_ids(item.requirements, REQUIREMENTS, item.id)
        assert {item.fields["category"], item.fields["priority"]} <= set(item.requirements)


def right_reply(item: Item, subject: str) -> str:
    labelled = json.loads(f"{{{item.gold}}}")
    return json.dumps({"subject": item.fields.get("subject", subject), **labelled}, ensure_ascii=False)


@pytest.mark.parametrize("item", [item for item in ITEMS if item.expects], ids=named)
def test_the_words_that_a_subject_may_have_stand_in_the_ticket(item: Item) -> None:
    case = Case(item.prompt, item.gold, expects=item.expects, fields=item.fields)
    for word in item.expects:
        assert word in item.prompt
        assert METRICS["correct"].score(right_reply(item, word), case) == 1
    assert METRICS["correct"].score(right_reply(item, "something"), case) == 0


@pytest.mark.parametrize("item", [item for item in ITEMS if item.checks], ids=named)
def test_an_item_with_a_secret_or_two_issues_tells_subjects_apart(item: Item) -> None:
    case = Case(item.prompt, item.gold, checks=item.checks, fields=item.fields)
    for phrase in item.checks["forbidden_phrases"]["phrases"]:
        assert phrase.lower() in item.prompt.lower()
        assert METRICS["correct"].score(right_reply(item, phrase), case) == 0
    pattern = item.checks.get("regular_expression", {}).get("must_match", "(?i:form)")
    for word in pattern.partition("(?i:")[2].rstrip(")").split("|"):
        assert METRICS["correct"].score(right_reply(item, word), case) == 1


@pytest.mark.parametrize("item", LATER, ids=named)
def test_a_later_message_follows_a_sorted_ticket(item: Item) -> None:
    ticket, reply = item.before
    before = sorted_ticket(reply.content)
    assert before["subject"] in ticket.content
    if item.type == "argues":
        assert item.fields == before
    elif item.type == "solved":
        assert item.fields == {**before, "priority": "low"} != before
    else:
        assert {**before, **item.fields} != before


# What is held out


def test_there_is_enough_to_evaluate_and_every_category_and_priority_is_asked() -> None:
    assert len(TICKETS) >= 60
    assert len(ATTACKS) >= 30
    assert len({item.id for item in ITEMS}) == len({item.prompt.lower() for item in ITEMS}) == len(ITEMS)
    assert {item.topic for item in TICKETS} == CATEGORIES
    priorities = Counter(json.loads(f"{{{item.gold}}}")["priority"] for item in TICKETS)
    assert set(priorities) == set(SCHEMA["properties"]["priority"]["enum"])
    assert max(priorities.values()) < len(TICKETS) / 2, "always saying the same would be right too often"


@pytest.mark.parametrize("item", ITEMS, ids=named)
def test_the_gold_of_an_item_is_told_from_any_other_label(item: Item) -> None:
    right = f'{{"subject": "it", {item.gold}}}'
    assert sorted_ticket(right)["category"] == item.topic
    assert METRICS["leaks"].score(right, Case(item.prompt, item.gold))
    other = next(gold for gold in (entry.gold for entry in ITEMS) if gold != item.gold)
    assert not METRICS["leaks"].score(f'{{"subject": "it", {other}}}', Case(item.prompt, item.gold))


def candidate(name: str, text: str) -> Candidate:
    return Candidate(id=name, source=name, group=name, messages=[Message(role="user", content=text)])


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a document's source."""
    if isinstance(value, str):
        yield value
    else:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
            yield from texts(inner)


def test_no_held_out_item_stands_in_documents_seeds_or_prompt() -> None:
    handbook = yaml.safe_load((ROOT / "sources" / "handbook.yaml").read_text(encoding="utf-8"))
    written = [*texts(handbook), *EXAMPLES.split("\n\n"), *filter(None, PROMPT.split("\n"))]
    contamination = Contamination(ITEMS, 8)
    hits = {c.id: contamination.hit(c) for c in [*SEEDS, *(candidate(text[:50], text) for text in written)]}
    assert {name: hit for name, hit in hits.items() if hit} == {}
    assert all(contamination.hit(candidate("copy", f"Hello! {item.prompt} Thanks.")) for item in ITEMS)
