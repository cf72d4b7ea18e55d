"""What is asked of a teacher: personas and other columns, documents, the prompt alone. Real: SDG Hub, files, a socket.

Not shown: that a model writes as the persona does; the server's words are the tests' own.
"""

import json
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from flow_samples import ChatServer, candidates, chunk, last
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import generate
from tuning_room.errors import RecipeError
from tuning_room.generate.columns import draw, load_columns
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.estimate import estimate
from tuning_room.generate.queries import in_turn, prompt_parts, query_rows
from tuning_room.records import write_jsonl
from tuning_room.requirements import Requirement, RowsTaught, read_requirements
from tuning_room.workspace import Workspace

PERSONAS = {"novice", "expert", "frustrated", "hurried", "adversarial"}


def changed(config: GenerateConfig, **changes: object) -> GenerateConfig:
    return GenerateConfig.model_validate({**config.model_dump(), **changes})


def columns_file(folder: Path, text: str) -> Path:
    path = folder / "columns.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_columns_are_personas_difficulty_language_and_pushes() -> None:
    columns = load_columns()
    assert set(columns["persona"]) == PERSONAS
    assert set(columns) == {"persona", "difficulty", "language", "push"}
    assert all(option.text for column in columns.values() for option in column.values())


def test_each_row_records_what_was_drawn_and_its_request_says_it(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    generate.run(changed(config, rows_per_chunk=12), workspace)
    columns = load_columns()
    requests = [last(body) for body in server.sent("query")]
    found = candidates(workspace)
    assert {row.situation for row in found} <= PERSONAS
    assert len({row.situation for row in found}) >= 3
    for row in found:
        assert row.situation == row.traits["persona"]
        assert set(row.traits) == {"persona", "difficulty", "language"}
        texts = [columns[name][option].text for name, option in row.traits.items()]
        passage = f"Passage {row.group[1:]}."
        assert any(passage in request and all(text in request for text in texts) for request in requests)


def test_no_two_requests_for_a_query_are_the_same(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    generate.run(changed(config, rows_per_chunk=9, prompt_rows=20), workspace)
    requests = [last(body) for body in server.sent("query")]
    assert len(requests) == len(set(requests)) == 3 * 9 + 20


def test_options_come_by_their_weights() -> None:
    columns = load_columns()
    drawn = Counter(draw(columns, "persona", f"key {i}").name for i in range(4000))
    total = sum(option.weight for option in columns["persona"].values())
    for name, option in columns["persona"].items():
        # Four standard deviations of a share of 4,000 draws are at most 0.032.
        assert drawn[name] / 4000 == pytest.approx(option.weight / total, abs=0.032)


@given(st.text(max_size=30))
def test_a_draw_depends_on_its_key_and_not_on_other_columns(key: str) -> None:
    columns = load_columns()
    alone = {"difficulty": columns["difficulty"]}
    assert draw(columns, "difficulty", key) == draw(alone, "difficulty", key)


def test_another_seed_draws_other_rows(config: GenerateConfig) -> None:
    columns, chunks = load_columns(), [chunk(n) for n in range(30)]
    traits = [row["traits"] for row in query_rows(config, chunks, columns)]
    assert traits == [row["traits"] for row in query_rows(config, chunks, columns)]
    assert traits != [row["traits"] for row in query_rows(changed(config, seed=12), chunks, columns)]


def test_a_recipes_own_columns_replace_the_shipped_ones_one_by_one(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    own = "persona: {clerk: {text: sits at a counter}}\nlanguage: {German: {text: Deutsch}}\nshift: {night: {}}\n"
    generate.run(changed(config, columns=columns_file(tmp_path, own)), workspace)
    for row in candidates(workspace):
        assert row.situation == "clerk"
        assert row.traits["language"] == "German"
        assert row.traits["shift"] == "night"
        assert row.traits["difficulty"] in {"easy", "medium", "hard"}
    for body in server.sent("query"):
        assert "The user sits at a counter." in last(body)
        assert "Language: Deutsch." in last(body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "dictionary"),
        ("persona: {}", "persona"),
        ("persona: {a: {weight: 0}}", "persona.a.weight"),
        ("persona: {a: {weigth: 1}}", "persona.a.weigth"),
        ("Two words: {a: {}}", "Two words"),
        ("seed: {a: {}}", "'seed'"),
        ("persona: {a: {", "columns.yaml"),
    ],
)
def test_mistakes_in_the_columns_are_named_before_anything_is_asked(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace, text: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        generate.run(changed(config, columns=columns_file(tmp_path, text)), workspace)
    assert server.bodies == []


def test_without_documents_the_prompts_own_parts_are_asked_about_in_turn(
    server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    write_jsonl(workspace.chunks, [])
    rules = "# Desk\n\nSort every request into one queue.\nHi.\n## Refunds\n- Never promise a refund yourself.\n"
    config.full_prompt.write_text(rules)
    result = generate.run(changed(config, prompt_rows=5), workspace)
    assert (result.candidates, result.errors, result.sources) == (5, 0, {"prompt": 5})
    found = candidates(workspace)
    assert [row.source for row in found] == ["prompt:1", "prompt:2", "prompt:1", "prompt:2", "prompt:1"]
    assert [row.topic for row in found[:2]] == ["Desk", "Refunds"]
    assert len({row.group for row in found}) == 5
    requests = [last(body) for body in server.sent("query")]
    assert sum(request.count("\n- Never promise a refund yourself.\n</part-") for request in requests) == 2
    assert not any("been reading" in request for request in requests)
    assert sum("It is message 3 of 3" in request for request in requests) == 1


def test_nothing_to_ask_about_is_said(config: GenerateConfig, workspace: Workspace) -> None:
    write_jsonl(workspace.chunks, [])
    with pytest.raises(RecipeError, match=r"prompt_rows"):
        generate.run(config, workspace)


@given(st.text(max_size=200))
def test_every_prompt_has_a_part_and_parts_are_its_own_lines(prompt: str) -> None:
    parts = prompt_parts(prompt)
    assert parts
    assert all(part.text in prompt for part in parts)


@pytest.mark.parametrize("turns", [[0, 1], [3, 2], [1, 9], [1], [1, 2, 3]])
def test_turns_are_a_range_from_1_to_8(config: GenerateConfig, turns: list[int]) -> None:
    with pytest.raises(ValueError, match="turns"):
        changed(config, turns=turns)


def test_several_replies_at_temperature_0_would_be_paid_for_nothing(config: GenerateConfig) -> None:
    cold = {**config.teacher.model_dump(), "temperature": 0}
    with pytest.raises(ValueError, match="temperature"):
        changed(config, candidates_per_query=2, teacher=cold)
    assert changed(config, candidates_per_query=1, teacher=cold)


# By requirement


ASKED = """
- {id: sort, quote: Sort every request}
- {id: refund, quote: Never promise a refund yourself.}
- {id: kind, quote: Be kind., every_reply: true}
- {id: hours, quote: We open at 9., kind: knowledge}
"""
DESK = """# Desk
Sort every request into one queue. Be kind.
## Refunds
- Never promise a refund yourself.

We open at 9.
"""


@pytest.fixture
def asked(tmp_path: Path, config: GenerateConfig, workspace: Workspace) -> GenerateConfig:
    """A prompt with requirements, of which the first has two example dialogues, and no documents."""
    config.full_prompt.write_text(DESK)
    (tmp_path / "requirements.yaml").write_text(ASKED)
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Which queue?"}]
    rows = [{"id": str(n), "messages": turns, "requirements": ["sort"]} for n in range(2)]
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_jsonl(workspace.chunks, [])
    return changed(config, requirements=tmp_path / "requirements.yaml", seeds=tmp_path / "seeds.jsonl", prompt_rows=6)


def test_queries_are_drawn_for_each_requirement_and_first_for_those_that_are_short(
    server: ChatServer, asked: GenerateConfig, workspace: Workspace
) -> None:
    result = generate.run(asked, workspace)
    assert result.sources == {"seeds": 2, "prompt": 6}
    found = [row for row in candidates(workspace) if row.source.startswith("prompt:")]
    assert [row.requirements for row in found] == [["refund"]] * 2 + [["sort"], ["refund"]] * 2
    assert {(row.source, row.topic) for row in found} == {("prompt:sort", "Desk"), ("prompt:refund", "Refunds")}
    assert len({row.group for row in found}) == 6
    requests = [last(body) for body in server.sent("query")]
    assert (
        sum("Sort every request\nIt stands in: Sort every request into one queue.\n</part-" in r for r in requests) == 2
    )
    assert sum("\nNever promise a refund yourself.\n</part-" in request for request in requests) == 4
    assert sum("It is message 4 of 4" in request for request in requests) == 1


def test_a_dry_run_counts_the_same_queries(server: ChatServer, asked: GenerateConfig, workspace: Workspace) -> None:
    held = asked.full_prompt.parent / "held.yaml"
    held.write_text(ASKED.replace("every_reply: true", "every_reply: true, checks: {length: {at_most: 5}}"))
    config = changed(asked, requirements=held, turns=[2, 2])
    counted = estimate(config, workspace)
    assert counted and server.bodies == []
    said = count()
    server.answer = lambda _body: f"What now, {next(said)}?"
    generate.run(config, workspace)
    assert len(server.bodies) == counted.requests == 6 * 4


def test_a_row_stays_what_it_is_when_another_requirement_gets_more(asked: GenerateConfig) -> None:
    known, columns = read_requirements(asked.requirements) if asked.requirements else [], load_columns()
    few = {row["id"]: row for row in query_rows(asked, [], columns, known)}
    more = {row["id"]: row for row in query_rows(asked, [], columns, known, RowsTaught([["sort"]] * 3))}
    assert [name for name in few if name in more] and more.keys() - few.keys()
    for name in few.keys() & more.keys():
        assert {**few[name], "total": 0} == {**more[name], "total": 0}


def test_without_requirements_rows_are_what_they_were(asked: GenerateConfig) -> None:
    rows = query_rows(changed(asked, requirements=None), [], load_columns())
    assert [row["id"] for row in rows] == [f"prompt-{number:05d}" for number in range(6)]
    assert [row["source"] for row in rows] == ["prompt:1", "prompt:2", "prompt:3"] * 2
    assert {tuple(row["requirements"]) for row in rows} == {()}


def requirement(name: str, *, every: bool = False) -> Requirement:
    return Requirement(id=name, quote=name, every_reply=every)


def test_the_worked_example_of_turns() -> None:
    drawn = in_turn([requirement(name) for name in "abc"], RowsTaught(["a", "a", "b"]), 8)
    assert [one.id for one in drawn] == list("cbcabcab")


def test_what_every_row_teaches_is_drawn_only_where_there_is_nothing_else() -> None:
    every = requirement("e", every=True)
    other = requirement("o", every=True)
    assert in_turn([every, requirement("a")], RowsTaught(), 2) == [requirement("a")] * 2
    assert in_turn([every, other], RowsTaught([["o"]]), 4) == [every, other] * 2
    assert in_turn([], RowsTaught(), 2) == []


def test_the_files_of_requirements_and_of_their_checks_are_inputs(asked: GenerateConfig, workspace: Workspace) -> None:
    schema = asked.full_prompt.parent / "schema.json"
    schema.write_text("{}")
    held = asked.full_prompt.parent / "held.yaml"
    held.write_text("- {id: json, quote: Be kind., checks: {json_schema: {schema: schema.json}}}")
    assert {held, schema} <= set(generate.inputs(changed(asked, requirements=held), workspace))


def test_a_row_that_names_a_requirement_twice_teaches_it_once(asked: GenerateConfig, workspace: Workspace) -> None:
    seeds = asked.full_prompt.parent / "seeds.jsonl"
    seeds.write_text(seeds.read_text().replace('["sort"]', '["sort", "sort"]'))
    generate.run(asked, workspace)
    assert Counter(row.requirements[0] for row in candidates(workspace)) == {"sort": 4, "refund": 4}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 120))
def test_no_requirement_gets_a_row_while_another_has_fewer(taught: list[int], rows: int) -> None:
    names = [f"r{place}" for place in range(len(taught))]
    given_rows = dict(zip(names, taught, strict=True))
    before = RowsTaught([name] for name in names for _ in range(given_rows[name]))
    drawn = Counter(one.id for one in in_turn([requirement(name) for name in names], before, rows))
    assert drawn.total() == rows
    total = {name: given_rows[name] + drawn[name] for name in names}
    assert all(total[name] <= min(total.values()) + 1 for name in drawn)
