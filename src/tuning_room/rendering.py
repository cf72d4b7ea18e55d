"""From chat messages to tokens: the one rendering that training, evaluation and serving share."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room import control_tokens
from tuning_room.errors import RenderingError
from tuning_room.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Rendered(NamedTuple):
    """A dialogue as token ids, and for each id whether the model should learn to produce it."""

    input_ids: list[int]
    learned: list[bool]


def render_text(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], *, ask: bool) -> str:
    """Return the messages as the model sees them; `ask` opens the assistant's next turn.

    To encode them use `prompt_ids` or `render_dialogue`: in this text, words that look like a control token cannot be
    told from one.
    """
    turns = [message.as_dict() for message in messages]
    try:
        text: Any = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)
    except Exception as error:
        raise RenderingError(f"the model's chat template refuses these messages: {error}") from None
    return str(text)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids after which the assistant speaks."""
    return _prompt_ids(tokenizer, *_shielded(tokenizer, messages))


def answer_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], answer: str) -> list[int]:
    """Return the token ids of messages and the assistant's answer to them, without the end of its turn."""
    if not answer:
        return prompt_ids(tokenizer, messages)
    (*before, said), has_shields = _shielded(tokenizer, [*messages, Message(role="assistant", content=answer)])
    return _encoded(tokenizer, render_text(tokenizer, before, ask=True) + said.content, has_shields)[0]


def render_dialogue(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> Rendered:
    """Return a dialogue's token ids; the learned ones are the assistant's words and end-of-turn tokens.

    Raises RenderingError if the template renders the beginning of a dialogue differently from the whole, since training
    and serving would then see different tokens.
    """
    turns, has_shields = _shielded(tokenizer, messages)
    text = render_text(tokenizer, turns, ask=False)
    spans = list(_assistant_spans(tokenizer, turns, text))
    ids, places = _encoded(tokenizer, text, has_shields, places=True)
    learned = [any(start <= a and b <= end for start, end in spans) for a, b in places]
    for index, message in enumerate(messages):
        prompt = _prompt_ids(tokenizer, turns[:index], has_shields) if message.role == "assistant" else []
        if ids[: len(prompt)] != prompt:
            raise RenderingError(
                f"the tokens before the reply {message.content[:40]!r} differ between training and serving",
                hint="let no reply begin with line breaks",
            )
    return Rendered(ids, learned)


def _shielded(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> tuple[list[Message], bool]:
    """Return a dialogue with stand-ins for words that look like control tokens, and whether it has any."""
    if not control_tokens.found_in(tokenizer, [message.content for message in messages]):
        return list(messages), False
    texts = [control_tokens.shielded(tokenizer, message.content) for message in messages]
    # Copied unchecked: a served turn may be empty.
    return [turn.model_copy(update={"content": text}) for turn, text in zip(messages, texts, strict=True)], True


def _prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], has_shields: bool) -> list[int]:
    return _encoded(tokenizer, render_text(tokenizer, messages, ask=True), has_shields)[0]


def _encoded(
    tokenizer: "PreTrainedTokenizerBase", text: str, has_shields: bool, *, places: bool = False
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return a rendered text's token ids and, if they are asked for, the places of the tokens in it."""
    if has_shields:
        return control_tokens.encode(tokenizer, text)
    # Not verbose: what is too long for the model is refused elsewhere, in words.
    encoded: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=places, verbose=False)
    return list(encoded["input_ids"]), list(encoded["offset_mapping"]) if places else []


def _assistant_spans(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> Iterator[tuple[int, int]]:
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = render_text(tokenizer, messages[:index], ask=True)
        after = render_text(tokenizer, messages[: index + 1], ask=False).rstrip()
        if not (text.startswith(before) and text.startswith(after)):
            raise RenderingError(
                "the model's chat template renders a dialogue's beginning differently once it goes on",
                hint="use a template whose turns do not depend on later ones",
            )
        yield len(before), len(after)


def shared_prefix(prompts: list[list[int]]) -> list[int]:
    """Return the tokens that all prompts begin with, leaving each prompt at least one of its own."""
    first, last = min(prompts), max(prompts)
    same = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    return same[: min(len(ids) for ids in prompts) - 1]


def system_tokens(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> int:
    """Return how many tokens a system turn adds to every request; 0 for an empty prompt."""
    question = [Message(role="user", content="?")]
    return len(prompt_ids(tokenizer, with_system(prompt, question))) - len(prompt_ids(tokenizer, question))


def template_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the sha256 of the chat template: an adapter is served only under the one it was trained with."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def with_system(prompt: str, messages: Sequence[Message]) -> list[Message]:
    """Return the messages after a system turn; an empty prompt adds none."""
    return [Message(role="system", content=prompt), *messages] if prompt else list(messages)
