"""From messages to tokens. Real: transformers' templates and tokenizers, the embedded model's own among them.

The tokenizers of other families are small, under templates of the shape that each family has.
"""

from itertools import groupby
from typing import Any, NamedTuple

import chat_templates as shapes
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from tuning_room.errors import RenderingError
from tuning_room.models import load_tokenizer
from tuning_room.records import Message
from tuning_room.rendering import (
    Rendered,
    prompt_ids,
    render_dialogue,
    render_text,
    shared_prefix,
    system_tokens,
    template_digest,
    with_system,
)


class Family(NamedTuple):
    """A tokenizer, the token that ends a turn, and whether a system turn is taken."""

    tokenizer: Any
    end: str
    system: bool = True


FAMILIES = ["embedded", "smollm2", "qwen", "llama3", "gemma", "gemma pieces", "granite"]


@pytest.fixture(scope="module")
def families(request: pytest.FixtureRequest) -> dict[str, Family]:
    made = {
        "smollm2": Family(shapes.byte_level(shapes.SMOLLM2, shapes.IM), "<|im_end|>"),
        "qwen": Family(shapes.byte_level(shapes.QWEN, shapes.IM, shapes.PIECES), "<|im_end|>"),
        "llama3": Family(shapes.byte_level(shapes.LLAMA3, shapes.LLAMA_TOKENS, shapes.PIECES), "<|eot_id|>"),
        "gemma": Family(shapes.byte_level(shapes.GEMMA, shapes.GEMMA_TOKENS), "<end_of_turn>", system=False),
        "gemma pieces": Family(shapes.sentence_piece(shapes.GEMMA, shapes.GEMMA_TOKENS), "<end_of_turn>", system=False),
        "granite": Family(shapes.byte_level(shapes.GRANITE, shapes.GRANITE_TOKENS), "<|end_of_text|>"),
    }
    embedded = load_tokenizer(request.getfixturevalue("embedded_model"))
    return {"embedded": Family(embedded, "<|im_end|>"), **made}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, families: dict[str, Family]) -> Family:
    return families[request.param]


def talk(*contents: str) -> list[Message]:
    """Return a dialogue of user and assistant in turn."""
    return [
        Message(role="assistant" if index % 2 else "user", content=content) for index, content in enumerate(contents)
    ]


def learned_texts(tokenizer: Any, rendered: Rendered) -> list[str]:
    """Return each run of learned tokens as text."""
    marked = zip(rendered.input_ids, rendered.learned, strict=True)
    runs = [[token for token, _ in run] for is_learned, run in groupby(marked, key=lambda pair: pair[1]) if is_learned]
    return [tokenizer.decode(run, skip_special_tokens=False) for run in runs]


DIALOGUES = {
    "one turn": talk("What is 3 x 4?", "What is 3 x 2?"),
    "two turns": talk("What is 12 x 12?", "What is the first step?", "10 x 12", "Yes. What is the rest?"),
    "three turns": talk("a", "b", "c", "d", "e", "f"),
    "repeated words": talk("the is", "the is", "the is", "the is"),
    "signs and emoji": talk("é ∫ 漢字", "Is √2 > 1,4? 🙂👍🏽 naïve — café", "ok 🙂", "🙂"),
    "several lines": talk("a\n\nb", "First:\n\n- 12\n- 12\n\nWhat next?", "x\n", "Fine!!"),
    "words of the template": talk("assistant\nuser model", "assistant", "user", "system\nassistant"),
}


@pytest.mark.parametrize("messages", DIALOGUES.values(), ids=DIALOGUES)
def test_the_replies_and_their_ends_are_learned_and_nothing_else(messages: list[Message], family: Family) -> None:
    rendered = render_dialogue(family.tokenizer, messages)
    replies = [message.content for message in messages if message.role == "assistant"]
    assert learned_texts(family.tokenizer, rendered) == [reply + family.end for reply in replies]
    assert len(rendered.learned) == len(rendered.input_ids)


@pytest.mark.parametrize("messages", DIALOGUES.values(), ids=DIALOGUES)
def test_training_and_serving_see_the_same_tokens(messages: list[Message], family: Family) -> None:
    rendered = render_dialogue(family.tokenizer, messages)
    text = render_text(family.tokenizer, messages, ask=False)
    assert rendered.input_ids == family.tokenizer(text, add_special_tokens=False)["input_ids"]
    for index, message in enumerate(messages):
        if message.role == "assistant":
            asked = prompt_ids(family.tokenizer, messages[:index])
            assert rendered.input_ids[: len(asked)] == asked
            assert not rendered.learned[len(asked) - 1]
            assert rendered.learned[len(asked)]


def test_a_system_turn_is_seen_and_not_learned(family: Family) -> None:
    messages = with_system("You are a cook.", DIALOGUES["two turns"])
    if not family.system:
        with pytest.raises(RenderingError, match="System role not supported"):
            render_dialogue(family.tokenizer, messages)
        return
    rendered = render_dialogue(family.tokenizer, messages)
    plain = render_dialogue(family.tokenizer, DIALOGUES["two turns"])
    assert "You are a cook." in family.tokenizer.decode(rendered.input_ids)
    assert learned_texts(family.tokenizer, rendered) == learned_texts(family.tokenizer, plain)


def test_the_beginning_of_text_stands_once(family: Family) -> None:
    ids = render_dialogue(family.tokenizer, DIALOGUES["one turn"]).input_ids
    marks = [i for i in ids if family.tokenizer.convert_ids_to_tokens(i) in ("<bos>", "<|begin_of_text|>")]
    assert len(marks) == ("bos_token" in family.tokenizer.chat_template)


def test_a_tokenizer_that_begins_every_text_itself_does_not_do_so_twice(families: dict[str, Family]) -> None:
    # Llama 3's own tokenizer puts <|begin_of_text|> before whatever it is given; its template has written it already.
    plain = families["llama3"].tokenizer
    tokenizer = shapes.byte_level(shapes.LLAMA3, shapes.LLAMA_TOKENS, shapes.PIECES)
    begin = "<|begin_of_text|>"
    mark = tokenizer.convert_tokens_to_ids(begin)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, mark)]
    )
    assert tokenizer("a")["input_ids"][0] == mark, "this one does"
    messages = DIALOGUES["two turns"]
    assert render_dialogue(tokenizer, messages) == render_dialogue(plain, messages)
    assert prompt_ids(tokenizer, messages[:1]) == prompt_ids(plain, messages[:1])


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[70_000, 70_001, 1, 2], [70_000, 70_001, 3]], [70_000, 70_001]),
        ([[5, 6, 7], [5, 6]], [5]),  # one token of its own is left to each
        ([[5, 6], [5, 6]], [5]),
        ([[5, 1], [6, 1]], []),
        ([[5, 1, 2], [5, 9, 2], [5, 1, 3]], [5]),
        ([[5]], []),
    ],
)
def test_what_prompts_begin_with(prompts: list[list[int]], shared: list[int]) -> None:
    # Read anew, so that equal numbers are not one object: the ids of a vocabulary are beyond those Python keeps.
    assert shared_prefix([[int(str(token)) for token in prompt] for prompt in prompts]) == shared


def test_what_a_system_turn_costs(family: Family) -> None:
    assert system_tokens(family.tokenizer, "") == 0
    if family.system:
        short, long = (system_tokens(family.tokenizer, "Be brief and kind. " * count) for count in (4, 40))
        assert 0 < short < long
    else:
        with pytest.raises(RenderingError):
            system_tokens(family.tokenizer, "Be brief.")


def test_the_embedded_model_has_no_prompt_that_nobody_wrote(families: dict[str, Family]) -> None:
    text = render_text(families["embedded"].tokenizer, talk("Hi"), ask=True)
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), min_size=1, max_size=12) | st.text(
    st.sampled_from(" \n\tthe is12!é🙂\u0301"), min_size=1, max_size=8
)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(contents=st.lists(TEXTS, min_size=2, max_size=6).filter(lambda contents: len(contents) % 2 == 0))
@example(contents=["a", "\n\n\nb", "c", "d"])
@example(contents=["a", "b", "c", "\n\n\nd"])
@example(contents=["a", " b", "c", "d "])
@example(contents=["a", "b\n", "c", "\td"])
@pytest.mark.parametrize("name", ["embedded", "llama3", "gemma pieces", "granite"])
def test_any_dialogue_is_learned_exactly_or_refused(
    name: str, contents: list[str], families: dict[str, Family]
) -> None:
    tokenizer, end, _ = families[name]
    trims = "trim" in tokenizer.chat_template
    messages = talk(*contents)
    # SmolLM2's vocabulary lacks a few bytes that begin rare characters.
    assume(all(tokenizer.decode(tokenizer(content)["input_ids"]) == content for content in contents))
    try:
        rendered = render_dialogue(tokenizer, messages)
    except RenderingError:
        return
    said = [content.strip() if trims else content for content in contents[1::2]]
    assert learned_texts(tokenizer, rendered) == [f"{reply}{end}" for reply in said]


@pytest.mark.parametrize("contents", [["a", "\n\n\nb"], ["a", "\n\n\nb", "c", "d"]], ids=["last", "earlier"])
def test_a_reply_that_melts_into_the_header_is_refused(contents: list[str], families: dict[str, Family]) -> None:
    with pytest.raises(RenderingError, match="differ between training and serving"):
        render_dialogue(families["embedded"].tokenizer, talk(*contents))


def test_a_template_that_looks_ahead_is_refused() -> None:
    tokenizer = shapes.byte_level(shapes.THINKING, shapes.IM)
    with pytest.raises(RenderingError, match="renders a dialogue's beginning differently") as caught:
        render_dialogue(tokenizer, DIALOGUES["two turns"])
    assert caught.value.hint


def test_a_template_that_is_missing_or_refuses_is_a_rendering_error() -> None:
    gemma = shapes.byte_level(shapes.GEMMA, shapes.GEMMA_TOKENS)
    with pytest.raises(RenderingError, match="roles must alternate"):
        render_text(gemma, [*talk("a"), *talk("b")], ask=True)
    gemma.chat_template = None
    with pytest.raises(RenderingError, match="chat template"):
        render_text(gemma, talk("a"), ask=True)


def test_without_a_reply_nothing_is_learned(family: Family) -> None:
    assert not any(render_dialogue(family.tokenizer, talk("a")).learned)


def test_a_template_is_told_by_its_digest(families: dict[str, Family]) -> None:
    digests = {template_digest(family.tokenizer) for family in families.values()}
    assert len(digests) == len(families) - 1, "the two of Gemma's shape have one template"
    assert all(len(digest) == 64 for digest in digests)


def test_an_empty_prompt_is_no_turn() -> None:
    messages = talk("a", "b")
    assert with_system("", messages) == messages
    assert with_system("x", messages) == [Message(role="system", content="x"), *messages]
