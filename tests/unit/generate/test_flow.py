"""The generate stage with both flows. Real here: SDG Hub, the files, and for the endpoint a chat server on a socket.

Not real: what the server says, which a function of ours decides; no model is asked.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flow_samples import FULL_PROMPT, NOTE, TEMPLATE_TEXT, ChatServer, candidates, chunk, half, passage

from tuning_room import generate
from tuning_room.errors import DataError, EngineError, MissingInputError, RecipeError
from tuning_room.generate.config import GenerateConfig, TeacherConfig
from tuning_room.records import Chunk, write_jsonl
from tuning_room.workspace import Workspace

RULES = Path(__file__).parents[3] / "recipes" / "socratic-tutor" / "rules"


def is_for(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda body: f"Passage {number}." in body["messages"][-1]["content"]


def test_replies_become_candidates_under_the_full_prompt(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    def answer(body: dict[str, Any]) -> str:
        last = body["messages"][-1]["content"]
        return "Which part do you know?" if last.startswith("Help") else f"Help with {passage(body)} {{{{ 7*7 }}}} <b>"

    server.answer = answer
    result = generate.run(config, workspace)
    assert (result.candidates, result.errors, result.sources) == (6, 0, {"document": 6})
    questions, answers = server.asked()
    assert len(questions) == len(answers) == 6
    for body in answers:
        assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
        assert body["messages"][0]["content"] == FULL_PROMPT
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("big", 0.7, 200)
    for body in questions:
        assert FULL_PROMPT.splitlines()[1] in body["messages"][1]["content"]
        assert TEMPLATE_TEXT in body["messages"][1]["content"]
    said = {body["messages"][1]["content"] for body in answers}
    for candidate in candidates(workspace):
        assert [message.role for message in candidate.messages] == ["user", "assistant"]
        assert candidate.messages[0].content in said
        assert candidate.messages[1].content == "Which part do you know?"
        assert (candidate.source, candidate.group) == (f"document:{candidate.group}", candidate.id.rsplit("-", 1)[0])
        assert candidate.topic == f"Chapter {candidate.group[1:]}"
        assert candidate.gold is None and candidate.error == ""


def test_the_copies_of_a_passage_are_drawn_under_seeds_of_their_own(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    generate.run(config, workspace)
    questions, _ = server.asked()
    assert sorted(body["seed"] for body in questions) == [config.seed] * 3 + [config.seed + 1] * 3


def test_a_refused_row_is_recorded_and_costs_no_other(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = lambda body: 400 if is_for(2)(body) else half(body)
    result = generate.run(config, workspace)
    assert (result.candidates, result.errors) == (6, 2)
    found = {candidate.id: candidate for candidate in candidates(workspace)}
    assert [found[f"c{n}-{copy}"].error == "" for n in (1, 2, 3) for copy in (0, 1)] == [True] * 2 + [False] * 2 + [
        True
    ] * 2
    assert "400" in found["c2-0"].error and "I refuse this row" in found["c2-0"].error
    assert found["c2-0"].messages == [] and len(found["c1-0"].messages) == 2
    # What has no question is not sent for an answer.
    assert len(server.asked()[1]) == 4


def test_a_row_whose_answer_is_refused_is_recorded(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    def answer(body: dict[str, Any]) -> str | int:
        if body["messages"][0]["content"] == FULL_PROMPT:
            return 400 if body["messages"][1]["content"] == "About 2?" else "What is half of 12?"
        return "About 2?" if is_for(2)(body) else "About another?"

    server.answer = answer
    assert generate.run(config, workspace).errors == 2
    assert [candidate.group for candidate in candidates(workspace) if candidate.error] == ["c2", "c2"]


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_reply_is_an_error_of_its_row_and_asked_for_again(
    server: ChatServer, config: GenerateConfig, workspace: Workspace, empty: str
) -> None:
    def answer(body: dict[str, Any]) -> str:
        if body["messages"][0]["content"] == FULL_PROMPT:
            return empty if body["messages"][1]["content"] == "About 2?" else "What is half of 12?"
        return "About 2?" if is_for(2)(body) else "About another?" if is_for(1)(body) else empty

    server.answer = answer
    assert generate.run(config, workspace).errors == 4
    assert {candidate.group for candidate in candidates(workspace) if candidate.error} == {"c2", "c3"}
    server.answer = lambda body: "Now I know?"
    server.bodies.clear()
    assert generate.run(config, workspace).errors == 0
    # Two questions and their answers for the third passage, two answers for the second.
    assert len(server.bodies) == 6


def test_when_all_rows_fail_the_teacher_is_the_error(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = lambda body: 400
    with pytest.raises(EngineError, match=r"none of 6 rows.*I refuse this row"):
        generate.run(config, workspace)
    assert not workspace.candidates.exists()


def test_a_second_run_asks_nothing_that_is_in_the_journal(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    generate.run(config, workspace)
    first = workspace.candidates.read_bytes()
    workspace.candidates.unlink()
    server.bodies.clear()
    server.answer = lambda body: 500
    assert generate.run(config, workspace).errors == 0
    assert server.bodies == [] and workspace.candidates.read_bytes() == first


def test_what_changes_an_answer_is_asked_again(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    generate.run(config, workspace)
    server.bodies.clear()
    for same in ({"concurrency": 1}, {"key_variable": "OTHER"}):
        generate.run(config.model_copy(update={"teacher": config.teacher.model_copy(update=same)}), workspace)
    assert server.bodies == []
    config.full_prompt.write_text(FULL_PROMPT + " More.", encoding="utf-8")
    generate.run(config, workspace)
    assert len(server.bodies) == 12


def test_a_journal_with_a_cut_last_line_is_survived_again_and_again(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    server.answer = lambda body: f"Reply {len(server.bodies)} schön?"
    generate.run(config, workspace)
    journal = workspace.generation / "answers.jsonl"
    whole = journal.read_bytes()
    for _ in range(2):
        # A kill in the middle of a write.
        journal.write_bytes(journal.read_bytes()[:-20])
        server.bodies.clear()
        assert generate.run(config, workspace).errors == 0
        assert 1 <= len(server.bodies) <= 2
        assert all(json.loads(line)["key"] for line in journal.read_text(encoding="utf-8").splitlines())
    assert len(journal.read_bytes().splitlines()) == len(whole.splitlines())
    server.bodies.clear()
    generate.run(config, workspace)
    assert server.bodies == []


def test_an_endpoint_needs_its_address_and_model(config: GenerateConfig, workspace: Workspace) -> None:
    for field in ("address", "model"):
        teacher = config.teacher.model_copy(update={field: ""})
        with pytest.raises(RecipeError, match=field):
            generate.run(config.model_copy(update={"teacher": teacher}), workspace)


@pytest.fixture
def offline(config: GenerateConfig) -> GenerateConfig:
    rules = {"rules": RULES, "requirements": RULES.parent / "requirements.yaml"}
    return config.model_copy(update={"teacher": TeacherConfig(), **rules, "rows": 12, "notes_per_problem": 2})


def test_rules_give_dialogues_of_families_and_notes(offline: GenerateConfig, workspace: Workspace) -> None:
    write_jsonl(workspace.chunks, [chunk(1), NOTE])
    result = generate.run(offline, workspace)
    assert (result.candidates, result.sources, result.errors) == (14, {"family": 12, "document": 2}, 0)
    found = candidates(workspace)
    assert len({candidate.id for candidate in found}) == 14
    assert len({candidate.source for candidate in found if candidate.source.startswith("family:")}) == 12
    for candidate in found:
        roles = [message.role for message in candidate.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert "{" not in "".join(message.content for message in candidate.messages)
    notes = [candidate for candidate in found if candidate.source == "document:c9"]
    assert {candidate.group for candidate in notes} == {"c9"}
    assert all("half of 12" in candidate.messages[0].content for candidate in notes)
    assert notes[0].messages[1].content.endswith("What is 12 / 3?")


def test_the_same_seed_gives_the_same_file(offline: GenerateConfig, workspace: Workspace) -> None:
    generate.run(offline, workspace)
    first = workspace.candidates.read_bytes()
    generate.run(offline, workspace)
    assert workspace.candidates.read_bytes() == first
    generate.run(offline.model_copy(update={"seed": 12}), workspace)
    assert workspace.candidates.read_bytes() != first


def test_nothing_of_the_flow_is_written_to_stdout(
    offline: GenerateConfig, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    generate.run(offline, workspace)
    assert capfd.readouterr().out == ""


def rules_with(folder: Path, **files: str) -> Path:
    stock = {
        "families/a": "- {name: f, topic: t, parameters: {a: [1]}, answer: a, problem: p, user: [u], assistant: [b]}",
        "situations": "- {name: s, user: ['{user}'], assistant: ['{assistant}']}",
        "notes": (RULES / "notes.yaml").read_text(encoding="utf-8"),
    }
    for name, text in {**stock, **files}.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_situations_own_share_of_second_exchanges_goes_before_the_recipes(
    offline: GenerateConfig, workspace: Workspace, tmp_path: Path
) -> None:
    situations = "".join(
        f"- {{name: {name}, user: ['{{user}}'], assistant: ['{{assistant}}']{share}}}\n"
        for name, share in (("always", ", follow_up_share: 1"), ("never", ", follow_up_share: 0"), ("recipe", ""))
    )
    family = (
        "- {name: f, topic: t, parameters: {a: [1, 2]}, answer: a, problem: p, user: [u], assistant: ['First?'], "
        "turns: [{user: 'I added {a}.', assistant: 'Next?'}]}"
    )
    write_jsonl(workspace.chunks, [])
    rules = {
        "rules": rules_with(tmp_path, situations=situations, **{"families/a": family}),
        "follow_up_share": 0.0,
        "rows": 30,
    }
    named = {"requirements": None, "step_reply": 'You say "{step}". And then?'}
    generate.run(offline.model_copy(update={**rules, **named}), workspace)
    replies: dict[str, list[str]] = {"always": [], "never": [], "recipe": []}
    for candidate in candidates(workspace):
        replies[candidate.situation] += [message.content for message in candidate.messages[3::2]]
    assert replies["always"] and not replies["never"] and not replies["recipe"]
    assert all(reply.startswith('You say "') and reply.endswith('". And then?') for reply in replies["always"])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"situations": "- {name: s, user: ['{usr}'], assistant: ['{assistant}']}"}, "usr"),
        ({"situations": "- {name: s, user: ['{wrong}'], assistant: ['{assistant}']}"}, "no situation"),
        ({"situations": "[]"}, "situations"),
        (
            {
                "families/a": "- {name: f, topic: t, parameters: {a: [1]}, answer: a/0, problem: p, user: [u], "
                "assistant: [b]}"
            },
            "zero",
        ),
    ],
)
def test_mistakes_in_the_rules_are_recipe_errors(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace, files: dict[str, str], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        generate.run(offline.model_copy(update={"rules": rules_with(tmp_path / "rules", **files)}), workspace)
    assert not workspace.candidates.exists()


def test_situations_about_a_wrong_result_are_left_to_families_that_have_one(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    situations = "- {name: s, user: ['{user}'], assistant: ['{assistant}']}\n" + (
        "- {name: w, weight: 99, user: ['{user} I got {wrong}.'], assistant: ['{assistant}']}"
    )
    generate.run(offline.model_copy(update={"rules": rules_with(tmp_path / "r", situations=situations)}), workspace)
    assert {candidate.situation for candidate in candidates(workspace)} == {"s"}


def test_example_dialogues_come_first_and_bad_ones_stop_the_stage(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    examples = tmp_path / "seeds.jsonl"
    turns = [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "What is 2+1?"}]
    examples.write_text(json.dumps({"id": "one", "messages": turns}) + "\n", encoding="utf-8")
    with_examples = offline.model_copy(update={"seeds": examples, "rows": 0})
    assert generate.run(with_examples, workspace).sources == {"seeds": 1}
    examples.write_text("not json\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"seeds\.jsonl:1"):
        generate.run(with_examples, workspace)


def with_examples(folder: Path, config: GenerateConfig, *names: str) -> GenerateConfig:
    """Write two example dialogues, of which the second teaches what is named, and the requirements `ask` and `kind`."""
    turns = [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "What is 2+1?"}]
    rows = [{"id": "one", "messages": turns}, {"id": "two", "messages": turns, "requirements": names}]
    (folder / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "asked.yaml").write_text("- {id: ask, quote: ask}\n- {id: kind, quote: kind}\n", encoding="utf-8")
    return config.model_copy(update={"seeds": folder / "seeds.jsonl", "requirements": folder / "asked.yaml"})


def test_example_dialogues_alone_are_enough_with_documents_or_without(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    config = with_examples(tmp_path, offline, "ask").model_copy(update={"rules": None})
    result = generate.run(config, workspace)
    assert (result.candidates, result.sections, result.sections_used) == (2, 3, 0)
    (warning,) = result.warnings
    assert "the documents gave no row" in warning and "no folder of rules" in warning
    write_jsonl(workspace.chunks, [])
    assert generate.run(config, workspace).warnings == []
    assert [row.requirements for row in candidates(workspace)] == [[], ["ask"]]


def test_an_id_that_no_requirement_has_is_named_with_its_line(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    config = with_examples(tmp_path, offline, "kind", "sing")
    with pytest.raises(DataError, match=r"seeds\.jsonl:2: there is no requirement 'sing'; known: ask, kind"):
        generate.run(config, workspace)
    with pytest.raises(DataError, match=r"seeds\.jsonl:2: .*'kind'; name a file of requirements"):
        generate.run(config.model_copy(update={"requirements": None}), workspace)
    assert not workspace.candidates.exists()


FAMILY = "- {name: f, topic: t, problem: p, user: [u], assistant: [b], requirements: [%s]}"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"families/a": FAMILY % "ask, sing"}, r"families/a\.yaml: family 1 \('f'\): requirements: .* 'sing'"),
        (
            {"situations": "- {name: s, user: ['{user}'], assistant: ['{assistant}'], requirements: [sing]}"},
            r"situations\.yaml: situation 's': requirements: .* 'sing'",
        ),
        (
            {"situations": "- {name: s, user: [a], assistant: ['{assistant}'], follow_up_requirements: [sing]}"},
            r"situations\.yaml: situation 's': follow_up_requirements: .* 'sing'",
        ),
        (
            {"notes": "{heading: '(?P<number>)(?P<title>)', topic: '(?P<topic>)', label: L, rules: "
             "[{match: a, say: [a]}, {match: b, say: [b], requirements: [sing]}]}"},
            r"notes\.yaml: rule 'b': requirements: .* 'sing'",
        ),
    ],
)  # fmt: skip
def test_an_id_in_the_rules_that_no_requirement_has_is_named_with_its_file(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace, files: dict[str, str], said: str
) -> None:
    rules = rules_with(tmp_path / "rules", **files)
    # Nothing is drawn: the ids are looked up all the same.
    config = with_examples(tmp_path, offline).model_copy(update={"rules": rules, "rows": 0})
    with pytest.raises(RecipeError, match=f"{said}.*; known: ask, kind"):
        generate.run(config, workspace)


def test_a_row_teaches_what_the_rule_for_its_note_names(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    notes = "{heading: 'Problem (?P<number>[0-9.]+): (?P<title>.+)', topic: 'Chapter (?P<topic>.+)', label: L, rules: "
    notes += "[{match: Sing, say: ['La?']}, {match: Ask, say: ['What?'], requirements: [ask]}]}"
    config = with_examples(tmp_path, offline).model_copy(
        update={"rules": rules_with(tmp_path / "rules", notes=notes), "rows": 0, "notes_per_problem": 4}
    )
    write_jsonl(workspace.chunks, [NOTE])
    generate.run(config, workspace)
    found = [(row.messages[-1].content, row.requirements) for row in candidates(workspace) if "document" in row.source]
    assert found == [("What?", ["ask"]), ("La?", []), ("What?", ["ask"])]


def test_rules_need_no_notes_and_say_that_the_documents_gave_no_row(
    tmp_path: Path, offline: GenerateConfig, workspace: Workspace
) -> None:
    rules = rules_with(tmp_path / "rules")
    (rules / "notes.yaml").unlink()
    config = offline.model_copy(update={"rules": rules})
    result = generate.run(config, workspace)
    assert (result.sources, result.sections, result.sections_used) == ({"family": 12}, 3, 0)
    (warning,) = result.warnings
    assert "the documents gave no row" in warning and "notes.yaml" in warning
    write_jsonl(workspace.chunks, [])
    assert generate.run(config, workspace).warnings == []


UNNOTED = chunk(8, headings=["Problem 1.2: Half of a pie"], text="How much is half?", items=["Sing.", "Dance."])


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ([chunk(1), chunk(2)], r"of 2 sections, no heading matches `heading` in .*notes\.yaml .*Problem"),
        ([chunk(1), UNNOTED.model_copy(update={"text": ""})], "1 of 2 sections match .* none has text above the line"),
        ([chunk(1), UNNOTED], "1 of 2 sections match .* none of their 2 list items matches a rule"),
    ],
)
def test_documents_in_which_no_problem_is_found_are_said_with_what_kept_them_out(
    offline: GenerateConfig, workspace: Workspace, sections: list[Chunk], said: str
) -> None:
    write_jsonl(workspace.chunks, sections)
    (warning,) = generate.run(offline, workspace).warnings
    assert re.search(said, warning)


def test_the_sections_that_gave_rows_are_counted(offline: GenerateConfig, workspace: Workspace) -> None:
    write_jsonl(workspace.chunks, [chunk(1), NOTE, UNNOTED])
    result = generate.run(offline, workspace)
    assert (result.sections, result.sections_used, result.warnings) == (3, 1, [])


def test_what_is_missing_is_named(offline: GenerateConfig, workspace: Workspace) -> None:
    with pytest.raises(RecipeError, match=r"generate\.rules"):
        generate.run(offline.model_copy(update={"rules": None}), workspace)
    workspace.chunks.unlink()
    with pytest.raises(MissingInputError, match=r"chunks\.jsonl"):
        generate.run(offline, workspace)
