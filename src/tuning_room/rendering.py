"""From chat messages to tokens: the one rendering that training, evaluation and serving share."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import RenderingError
from tuning_room.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Rendered(NamedTuple):
    """A dialogue as token ids, and for each id whether the model should learn to produce it."""

    input_ids: list[int]
    learned: list[bool]


def render_text(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], *, ask: bool) -> str:
    """Return the messages as the model sees them; `ask` opens the assistant's next turn."""
    turns = [message.as_dict() for message in messages]
    try:
        text: Any = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)
    except Exception as error:
        raise RenderingError(f"the model's chat template refuses these messages: {error}") from None
    return str(text)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids after which the assistant speaks."""
    text = render_text(tokenizer, messages, ask=True)
    ids: Any = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(ids)


def render_dialogue(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> Rendered:
    """Return a dialogue's token ids; the learned ones are the assistant's words and end-of-turn tokens.

    Raises RenderingError if the template renders the beginning of a dialogue differently from the whole, since training
    and serving would then see different tokens.
    """
    text = render_text(tokenizer, messages, ask=False)
    spans = list(_assistant_spans(tokenizer, messages, text))
    encoded: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = list(encoded["input_ids"])
    learned = [any(start <= a and b <= end for start, end in spans) for a, b in encoded["offset_mapping"]]
    for index, message in enumerate(messages):
        prompt = prompt_ids(tokenizer, messages[:index]) if message.role == "assistant" else []
        if ids[: len(prompt)] != prompt:
            raise RenderingError(
                f"the tokens before the reply {message.content[:40]!r} differ between training and serving",
                hint="let no reply begin with line breaks",
            )
    return Rendered(ids, learned)


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
