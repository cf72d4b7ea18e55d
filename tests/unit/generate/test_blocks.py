"""Blocks and prompt files by themselves. Real: SDG Hub's own calling of a block, Jinja. No flow, no teacher."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import RecipeError
from tuning_room.generate.blocks import ChatPromptBlock, ScoreBlock, SystemTurnBlock, TranscriptBlock
from tuning_room.generate.prompts import PromptFile

SCORE = ScoreBlock(block_name="score", input_cols=["said"], output_cols=["score"])


def scores(*said: str) -> list[float | None]:
    return list(SCORE(pd.DataFrame({"said": said}))["score"])


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("score: 7", 7.0),
        ("- yes\n- no\n**Score:** 8.5", 8.5),
        ("score: 2\nIn all, score = 9", 9.0),
        ("Score: 7/10", 7.0),
        ("score: 11", None),
        ("score: 100000", None),
        ("a fine reply, 9 of 10", None),
        ("", None),
    ],
)
def test_a_score_is_the_last_one_in_the_judges_words(said: str, score: float | None) -> None:
    assert scores(said) == [score]


@given(st.text(max_size=60))
def test_any_words_give_a_score_from_0_to_10_or_none(said: str) -> None:
    [score] = scores(said)
    assert score is None or 0 <= score <= 10


def test_a_transcript_names_who_speaks_and_a_system_turn_comes_first() -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Why not?"}]
    frame = pd.DataFrame({"prompt": ["Be odd."], "turns": [turns]})
    written = TranscriptBlock(block_name="t", input_cols=["turns"], output_cols=["text"])(frame)
    assert list(written["text"]) == ["User: Why?\n\nAssistant: Why not?"]
    joined = SystemTurnBlock(block_name="s", input_cols=["prompt", "turns"], output_cols=["chat"])(frame)
    assert list(joined["chat"]) == [[{"role": "system", "content": "Be odd."}, *turns]]


def prompt_file(folder: Path, *messages: tuple[str, str]) -> Path:
    path = folder / "prompt.yaml"
    path.write_text(yaml.safe_dump([{"role": role, "content": content} for role, content in messages]))
    return path


def test_a_prompt_takes_columns_under_the_names_of_the_flow(tmp_path: Path) -> None:
    path = prompt_file(tmp_path, ("system", "{% if rule %}{{ rule }}{% endif %}"), ("user", "About {{ text }}."))
    block = ChatPromptBlock(
        block_name="p",
        input_cols={"passage": "text", "rule": "rule"},
        output_cols=["chat"],
        prompt_config_path=str(path),
    )
    frame = pd.DataFrame({"passage": ["{{ rule }} & <b>", "tides"], "rule": ["", "Be brief."]})
    first, second = block(frame)["chat"]
    # A value is not read as a template, and a message without a word is left out.
    assert first == [{"role": "user", "content": "About {{ rule }} & <b>."}]
    assert [turn["role"] for turn in second] == ["system", "user"]


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ text.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{% include '/etc/passwd' %}",
    "{{ missing }}",
    "{{ 1 / 0 }}",
]


@pytest.mark.parametrize("content", ESCAPES)
def test_a_template_that_reaches_beyond_its_values_is_an_error(tmp_path: Path, content: str) -> None:
    values: dict[str, Any] = {"text": "tides"}
    with pytest.raises(RecipeError, match=r"prompt\.yaml"):
        PromptFile(prompt_file(tmp_path, ("user", content))).messages(values)
