"""The evaluation's material: the suites of the tutor and those that ship with the package.

Real: the files, the scripts that draw parts of them, SymPy, the checks, the families that training data are drawn from.
Whether a sentence is good English, an attack strong or a request harmful is a reader's judgement, and not proved here.
"""

import json
import random
import re
import runpy
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml
from golds import computed, has_the_right_gold

from tuning_room.checks import Exchange, rejected_by, validate
from tuning_room.checks.metrics import mentioned
from tuning_room.checks.numbers import mentions
from tuning_room.checks.replies import leaks
from tuning_room.dataset.selection import Contamination
from tuning_room.dataset.words import grams, words
from tuning_room.evaluate.besides import TEXTS
from tuning_room.generate.candidates import example_candidates
from tuning_room.generate.families import draw, load_families
from tuning_room.recipe import load_recipe
from tuning_room.records import Candidate, Item, Message, read_jsonl

ROOT = Path(__file__).parents[2]
TUTOR = ROOT / "recipes" / "socratic-tutor"
BUILT_IN = ROOT / "src" / "tuning_room" / "evaluate" / "suites"
RECIPE = load_recipe(str(TUTOR))
# The kinds of problems that are taught; words, goodbyes and the like are no problems.
TAUGHT = [
    family
    for family in load_families(TUTOR / "rules" / "families")
    if family.name in RECIPE.generate.families and not (family.situations or family.cases)
]
DRAW_ITEMS = TUTOR / "sources" / "draw_items.py"
DRAW_ARITHMETIC = ROOT / "scripts" / "draw_arithmetic.py"


def suite(file: Path) -> list[Item]:
    return list(read_jsonl(file, Item))


OWN = {file.stem: suite(file) for file in sorted((TUTOR / "evaluation").glob("*.jsonl"))}
SHIPPED = {file.stem: suite(file) for file in sorted(BUILT_IN.glob("*.jsonl"))}
SUITES = {**OWN, **SHIPPED}
ITEMS = [item for items in SUITES.values() for item in items]
CHECKED = [item for item in ITEMS if item.check]
DRAWN = [item for item in OWN["behaviour"] if item.id.startswith("drawn-")]
OF_WANTED = defaultdict(list)
for _item in ITEMS:
    OF_WANTED[_item.wanted].append(_item)

# Ways of pressing that rules/situations.yaml and seeds.jsonl show, under this or another name; and those they do not.
TRAINED = {
    "demand", "authority", "accommodation", "role-play", "refusal-suppression", "prefix-injection",
    "ignore-instructions", "forged-system", "encoding", "translation", "emotional", "deadline",
}  # fmt: skip
UNSEEN = {"encoded-request", "foreign-language", "many-shot", "payload-splitting"}


def named(item: Item) -> str:
    return item.id


# The files


def test_the_suites_are_there_and_are_large_enough() -> None:
    least = {"behaviour": 365, "attacks": 84, "drift": 12, "extraction": 40}
    least |= {"choices": 120, "capability": 160, "safety": 80, "neutral": 60}
    assert set(SUITES) == set(least)
    assert [name for name, items in SUITES.items() if len(items) < least[name]] == []


def test_the_docs_say_how_many_neutral_texts_are_read() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert f"{TEXTS} of the built-in {len(SHIPPED['neutral'])}, all with `--all-items`" in page


def test_no_id_stands_twice_and_no_item_of_one_suite_is_one_of_another() -> None:
    assert [id_ for id_, count in Counter(item.id for item in ITEMS).items() if count > 1] == []
    # Two students may reply with the same words to different questions, so what was said before counts.
    said = [" ".join(words("\n".join([*(m.content for m in item.before), item.prompt]))) for item in ITEMS]
    assert [text for text, count in Counter(said).items() if count > 1] == []


@pytest.mark.parametrize("item", CHECKED, ids=named)
def test_the_gold_answer_is_what_the_check_computes(item: Item) -> None:
    assert has_the_right_gold(item), f"{computed(item.check)} is not {item.gold}"


def test_every_gold_answer_has_a_check() -> None:
    unchecked = {item.topic for item in ITEMS if item.gold and not item.check and not item.choices}
    assert unchecked == set()


def test_the_suites_of_the_package_are_packaged() -> None:
    assert '"**/*.jsonl"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("package-data")[2]


# Drawn parts


def run(script: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("script", "committed"),
    [(DRAW_ITEMS, TUTOR / "evaluation" / "behaviour.jsonl"), (DRAW_ARITHMETIC, BUILT_IN / "capability.jsonl")],
    ids=["behaviour", "arithmetic"],
)
def test_drawing_again_gives_the_same_bytes_and_another_seed_does_not(
    script: Path, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, other = tmp_path / "again.jsonl", tmp_path / "other.jsonl"
    run(script, "--out", str(again), monkeypatch=monkeypatch)
    run(script, "--out", str(other), "--seed", "77", monkeypatch=monkeypatch)
    assert again.read_bytes() == committed.read_bytes()
    rows, others = (path.read_text(encoding="utf-8").splitlines() for path in (again, other))
    assert len(others) == len(rows)
    assert len(set(rows) & set(others)) < len(rows) / 2 + 70, "the seed changes nothing"


def test_each_taught_kind_is_drawn_three_times_at_each_difficulty() -> None:
    counts = Counter((item.type, item.difficulty) for item in DRAWN)
    kinds = {family.name for family in TAUGHT}
    assert counts == {(kind, level): 3 for kind in kinds for level in ("easy", "medium", "hard")}
    topics = {family.name: family.topic for family in load_families(TUTOR / "rules" / "families")}
    assert {item.type: item.topic for item in DRAWN} == {kind: topics[kind] for kind in kinds}
    assert len({item.topic for item in DRAWN}) == 8


def test_the_problems_written_by_hand_are_still_there() -> None:
    assert [item.id for item in OWN["behaviour"][:65]] == [f"problem-{n:03}" for n in range(1, 66)]


def test_no_drawn_problem_is_asked_in_the_words_of_a_training_family() -> None:
    def frame(text: str) -> str:
        return re.sub(r"\{\w+(?::\w+)?\}", "#", text.lower())

    families = load_families(TUTOR / "rules" / "families")
    taught = {frame(text) for family in families for text in family.user}
    kinds = [
        kind for file in (TUTOR / "evaluation" / "kinds").glob("*.yaml") for kind in yaml.safe_load(file.read_text())
    ]
    assert len(kinds) == 40
    assert [text for kind in kinds for text in kind["ask"] if frame(text) in taught] == []


def test_the_suites_cost_the_shipped_recipe_less_than_a_hundredth_of_its_problems() -> None:
    # The problems by hand were there before; they alone cost one row in a hundred.
    added = [item for item in ITEMS if not item.id.startswith("problem-")]
    contamination = Contamination(added, RECIPE.dataset.overlap)
    drawn = [draw(family, random.Random(f"{seed} {family.name}")) for seed in range(16) for family in TAUGHT]
    rows = [
        Candidate(
            id="row", source="row", group="row", gold=problem.answer,
            messages=[Message(role="user", content=problem.user)],
        )
        for problem in drawn
    ]  # fmt: skip
    hits = [hit for row in [*rows, *example_candidates(TUTOR / "seeds.jsonl")] if (hit := contamination.hit(row))]
    assert len(rows) == 640
    assert len(hits) <= len(rows) // 100, hits


# Pressure and drift


def test_every_attack_is_tried_on_seven_kinds_of_problems() -> None:
    kinds = defaultdict(set)
    for item in OWN["attacks"]:
        kinds[item.family].add(item.type)
    assert set(kinds) == TRAINED | UNSEEN
    assert {family: len(found) for family, found in kinds.items() if len(found) < 7} == {}


@pytest.fixture(scope="module")
def trained_messages() -> list[str]:
    situations = yaml.safe_load((TUTOR / "rules" / "situations.yaml").read_text(encoding="utf-8"))
    templates = [text for situation in situations for text in situation["user"]]
    seeds = example_candidates(TUTOR / "seeds.jsonl")
    return templates + [m.content for seed in seeds for m in seed.messages if m.role == "user"]


def test_what_is_called_unseen_is_not_in_the_training_data(trained_messages: list[str]) -> None:
    def is_many_shot(text: str) -> bool:
        return len(re.findall(r"(?mi)^(?:student:|q:|me>|\[user\])", text)) >= 8

    def is_foreign(text: str) -> bool:
        said = text.replace("{user}", "What is the mean of these numbers?")
        said = said.replace("{problem}", "the mean of these numbers")
        return bool(rejected_by({"language": {"code": "en"}}, Exchange(said, ""))[0])

    def runs(text: str) -> list[str]:
        return grams([word for word in words(text) if word.isalpha()], 6)

    of_family = defaultdict(list)
    for item in OWN["attacks"]:
        of_family[item.family].append(item.prompt)
    assert all(map(is_many_shot, of_family["many-shot"]))
    assert all(map(is_foreign, of_family["foreign-language"]))
    assert [text for text in trained_messages if is_many_shot(text) or is_foreign(text)] == []
    # Encoded and split requests look like nothing in particular; at least no sentence of theirs is trained.
    trained = {run for text in trained_messages for run in runs(text)}
    for family in UNSEEN:
        assert [text for text in of_family[family] if trained & set(runs(text))] == []


@pytest.mark.parametrize("item", [*OWN["attacks"], *OWN["drift"], *DRAWN], ids=named)
def test_the_user_never_says_the_result(item: Item) -> None:
    said = "\n".join([item.prompt, *item.turns])
    assert leaks(f"Look at {item.gold}.", item.gold, said)


def test_a_script_has_eight_turns_and_says_nothing_twice() -> None:
    assert {len(item.turns) for item in OWN["drift"]} == {7}
    turns = [turn for item in OWN["drift"] for turn in item.turns]
    assert len({item.topic for item in OWN["drift"]}) == 8
    assert len(set(turns)) == len(turns)


# Withholding and extraction


# What the prompt asks beside guiding

ASKED = {file.stem: suite(file) for file in sorted((TUTOR / "evaluation" / "asked").glob("*.jsonl"))}


def test_every_requirement_that_is_tested_has_at_least_twenty_four_items() -> None:
    known = {one.id: one for one in RECIPE.read_requirements()}
    named_by = Counter(name for items in ASKED.values() for item in items for name in item.requirements)
    assert named_by.keys() <= known.keys()
    # Those of every reply are tested by every item; the drift suite's 14 dialogues add to the ten late ones.
    named_by["holds-late"] += len(OWN["drift"])
    few = [
        name for name, one in known.items() if not (one.every_reply or one.untested) and named_by[name] < 24
    ]  # fmt: skip
    assert few == []


def test_items_of_what_is_asked_have_ids_of_their_own_and_are_no_copies() -> None:
    items = [item for items in ASKED.values() for item in items]
    everywhere = [item.id for item in [*items, *ITEMS]]
    assert len(set(everywhere)) == len(everywhere)
    assert len({item.said for item in items}) == len(items)


def test_half_of_the_claims_are_wrong() -> None:
    claims = ASKED["claims"]
    wrong = [item for item in claims if item.family.startswith("wrong")]
    assert len(wrong) == len(claims) / 2
    assert all(item.claim and item.claim != item.gold for item in wrong)


def test_extraction_is_tried_in_eleven_ways_without_quoting_the_prompt() -> None:
    prompt = set(grams(words((TUTOR / "prompt.md").read_text(encoding="utf-8")), 6))
    assert set(Counter(item.family for item in OWN["extraction"]).values()) == {4}
    assert len({item.family for item in OWN["extraction"]}) == 11
    assert [item.id for item in OWN["extraction"] if prompt & set(grams(words(item.prompt), 6))] == []
    assert not any(item.gold for item in OWN["extraction"])


# What ships with the package


def of_topic(topic: str) -> list[Item]:
    return [item for item in SHIPPED["capability"] if item.topic == topic]


def test_capability_has_four_parts() -> None:
    counts = Counter(item.topic for item in SHIPPED["capability"])
    assert set(counts) == {"arithmetic", "reading", "instructions", "choice"}
    assert min(counts.values()) >= 40


def test_sums_do_not_hold_their_result() -> None:
    assert [item.id for item in of_topic("arithmetic") if mentions(item.prompt, item.gold)] == []


@pytest.mark.parametrize("item", of_topic("reading"), ids=named)
def test_a_text_holds_what_its_question_asks_for_and_the_question_does_not(item: Item) -> None:
    text, question = item.prompt.split("\n\n")
    assert any(expected in text for expected in item.expects)
    assert not any(expected in question for expected in item.expects)


@pytest.mark.parametrize("items", [of_topic("choice"), SHIPPED["choices"]], ids=["capability", "choices"])
def test_the_right_choice_stands_at_each_place_equally_often(items: list[Item]) -> None:
    assert all(len(set(item.choices)) == 4 for item in items)
    assert set(Counter(item.choices.index(item.gold) for item in items).values()) == {len(items) // 4}


def test_choices_cannot_be_told_by_their_length() -> None:
    # By characters: the likelihood is taken per character, and nothing should be won by always taking the longest.
    for pick in (max, min):
        right = sum(pick(item.choices, key=len) == item.gold for item in SHIPPED["choices"])
        assert right <= 39, "of 120: 30 by chance, and 39 or fewer in 97 of 100 cases"


def test_a_harmless_request_does_not_hold_what_a_useful_answer_has() -> None:
    harmless = [item for item in SHIPPED["safety"] if item.wanted == "comply"]
    assert all(item.expects for item in harmless)
    assert [item.id for item in harmless if any(mentioned(word, item.prompt) for word in item.expects)] == []
    assert not any(item.expects for item in SHIPPED["safety"] if item.wanted == "refuse")


REPLIES = yaml.safe_load((Path(__file__).parent / "suite_replies.yaml").read_text(encoding="utf-8"))
EVASION = "Sure! I am happy to help, but I have nothing to say about that, sorry."


@pytest.mark.parametrize("item", of_topic("instructions"), ids=named)
def test_an_instruction_can_be_followed_and_can_be_missed(item: Item) -> None:
    validate(item.checks)
    reply = REPLIES[item.id]
    assert rejected_by(item.checks, Exchange(reply, item.prompt)) == ("", "")
    assert rejected_by(item.checks, Exchange(EVASION, item.prompt))[0]


def test_there_is_a_sample_reply_for_each_instruction_and_no_other() -> None:
    assert set(REPLIES) == {item.id for item in of_topic("instructions")}


def test_for_each_harmful_request_there_is_a_harmless_one_of_its_category() -> None:
    counts = Counter((item.topic, item.wanted) for item in SHIPPED["safety"])
    categories = {topic for topic, _ in counts}
    assert len(categories) >= 10
    assert counts == {(topic, wanted): 4 for topic in categories for wanted in ("refuse", "comply")}
    # One line, without any detail: nothing here helps anybody to do harm.
    assert max(len(item.prompt) for item in SHIPPED["safety"]) < 120


def test_neutral_text_is_of_several_kinds_and_of_one_length() -> None:
    counts = Counter(item.topic for item in SHIPPED["neutral"])
    assert min(counts[kind] for kind in ("prose", "explanation", "list", "code", "dialogue")) >= 6
    lengths = {item.id: len(item.prompt.split()) for item in SHIPPED["neutral"]}
    assert {name: length for name, length in lengths.items() if not 40 <= length <= 80} == {}


# The sorter of tickets


@pytest.mark.parametrize("name", ["tickets", "attacks"])
def test_the_fields_of_a_ticket_are_those_of_its_gold(name: str) -> None:
    items = suite(ROOT / "recipes" / "helpdesk-triage" / "evaluation" / f"{name}.jsonl")
    assert [item.id for item in items if json.loads(f"{{{item.gold}}}") != item.fields] == []
    assert all(list(item.fields) == ["category", "priority", "team", "needs_reply"] for item in items)
