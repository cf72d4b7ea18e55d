"""Chat templates that take no system turn, and servers that are not ours. Real: transformers, templates, tokenizers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import chat_templates as shapes
import pytest

from tuning_room.control_tokens import control_texts
from tuning_room.errors import RenderingError
from tuning_room.models.templates import check_system, fold_system, guarded, takes_system
from tuning_room.records import Message
from tuning_room.rendering import prompt_ids, render_dialogue, render_text, system_tokens, with_system

ASKED = Message(role="user", content="What is 3 x 4?")
DIALOGUE = [
    ASKED,
    Message(role="assistant", content="What is 3 x 2?"),
    Message(role="user", content="6"),
    Message(role="assistant", content="Yes. And twice that?"),
]
# Some templates do not refuse a system turn, they leave it out; others take it under another condition.
LEAVES_OUT = (
    "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
ASSERTS = (
    "{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('Only user and assistant') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "takes"),
    [
        (shapes.SMOLLM2, True), (shapes.QWEN, True), (shapes.LLAMA3, True), (shapes.GRANITE, True),
        (shapes.THINKING, True), (shapes.GEMMA, False), (LEAVES_OUT, False), (ASSERTS, False),
        ("{{ raise_exception('never') }}", True), ("{% if", True), ("", True),
    ],
)  # fmt: skip
def test_which_templates_take_a_system_turn(template: str, takes: bool) -> None:
    assert takes_system(template) is takes


@pytest.mark.parametrize("template", [shapes.GEMMA, LEAVES_OUT, ASSERTS])
def test_a_folded_system_turn_begins_the_first_message_in_training_and_serving(template: str) -> None:
    tokenizer = shapes.byte_level(template, shapes.GEMMA_TOKENS)
    joined = [Message(role="user", content=f"You are a cook.\n\n{ASKED.content}"), *DIALOGUE[1:]]
    expected = render_text(tokenizer, joined, ask=False)
    fold_system(tokenizer)
    messages = with_system("You are a cook.", DIALOGUE)
    assert render_text(tokenizer, messages, ask=False) == expected
    assert system_tokens(tokenizer, "You are a cook.") > 0
    if template is shapes.GEMMA:  # the others open no turn for the assistant
        rendered = render_dialogue(tokenizer, messages)
        served = prompt_ids(tokenizer, messages[:2])
        assert rendered.input_ids[: len(served)] == served
        assert rendered.learned.count(True) == render_dialogue(tokenizer, DIALOGUE).learned.count(True)


def test_a_system_turn_without_a_message_becomes_one() -> None:
    tokenizer = shapes.byte_level(shapes.GEMMA, shapes.GEMMA_TOKENS)
    alone = render_text(tokenizer, [Message(role="user", content="Be brief.")], ask=True)
    fold_system(tokenizer)
    assert render_text(tokenizer, [Message(role="system", content="Be brief.")], ask=True) == alone


@pytest.mark.parametrize("template", [shapes.SMOLLM2, shapes.QWEN, shapes.LLAMA3, shapes.GRANITE])
def test_a_template_that_takes_one_stays_as_it_is(template: str) -> None:
    tokenizer = shapes.byte_level(template, shapes.IM)
    fold_system(tokenizer)
    assert tokenizer.chat_template == template


def model(folder: Path, template: Any, *, as_file: bool) -> Path:
    """Write as much of a model's folder as says what its chat template is."""
    if as_file:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    else:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("as_file", [True, False])
def test_what_a_recipe_has_not_decided_is_said(as_file: bool, tmp_path: Path) -> None:
    folder = model(tmp_path, shapes.GEMMA, as_file=as_file)
    with pytest.raises(RenderingError, match="'gem': its chat template takes no system turn") as caught:
        check_system("gem", folder, folds=False)
    assert "system_turn: fold" in caught.value.hint
    check_system("gem", folder, folds=True)


@pytest.mark.parametrize("template", [shapes.QWEN, None, 3, [{"name": "default", "template": shapes.GEMMA}]])
def test_other_models_pass(template: Any, tmp_path: Path) -> None:
    check_system("one", model(tmp_path, template, as_file=False), folds=False)
    check_system("one", tmp_path / "nowhere", folds=False)


FAMILIES = [
    (shapes.SMOLLM2, shapes.IM, ""), (shapes.QWEN, shapes.IM, shapes.PIECES),
    (shapes.LLAMA3, shapes.LLAMA_TOKENS, shapes.PIECES), (shapes.GRANITE, shapes.GRANITE_TOKENS, ""),
]  # fmt: skip


@pytest.mark.parametrize(("template", "tokens", "pieces"), FAMILIES)
def test_a_server_that_encodes_by_itself_sees_no_token_in_words_either(
    template: str, tokens: list[str], pieces: str
) -> None:
    plain, server = (shapes.byte_level(template, tokens, pieces) for _ in range(2))
    server.chat_template = guarded(template, control_texts(plain))

    def encoded(content: str, tokenizer: Any) -> list[int]:
        turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return [int(number) for number in tokenizer(text, add_special_tokens=False)["input_ids"]]

    assert encoded("is 12!", server) == encoded("is 12!", plain)
    forged = Counter(token for token in encoded(f"a{''.join(tokens)}b\n{tokens[0]}", server))
    harmless = Counter(encoded("ab", plain))
    marks = plain.convert_tokens_to_ids(tokens)
    assert [forged[mark] for mark in marks] == [harmless[mark] for mark in marks]
