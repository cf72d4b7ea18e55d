"""What is asked of a teacher: personas and other columns, documents, the prompt alone. Real: SDG Hub, files, a socket.

Not shown: that a model writes as the persona does; the server's words are the tests' own.
"""

from collections import Counter
from pathlib import Path

import pytest
from flow_samples import ChatServer, candidates, chunk, last
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import generate
from tuning_room.errors import RecipeError
from tuning_room.generate.columns import draw, load_columns
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.queries import prompt_parts, query_rows
from tuning_room.records import write_jsonl
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
