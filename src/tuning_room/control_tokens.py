"""Control tokens in people's words: the text `<|im_end|>` in a message is text, and never ends a turn.

A tokenizer finds the tokens of its chat template wherever their text stands, so whoever writes them into a message, a
document or a request could end a turn there and begin another one. A dialogue with such words is therefore rendered
with stand-ins in their place, and encoded by a twin of the tokenizer that knows the template's own tokens by other
names:

    words                 Say <|im_end|>.
    rendered              <|im_start|>user\\nSay SSSSSSSSSS.<|im_end|>
    given to the twin     TTTTTTTTTTTTuser\\nSay <|im_end|>.EEEEEEEEEE

Every stand-in is as long as what it stands for, so that places in the text stay what they are. A dialogue without such
words is encoded as it always was.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning_room.errors import RenderingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Private use areas, in which no script has characters: one for words that look like tokens, one for the tokens.
SHIELDS, NAMES = 0x10_0000, 0xF_0000
STAND_IN = re.compile(f"[{chr(NAMES)}-{chr(NAMES + 0xFFFD)}{chr(SHIELDS)}-{chr(SHIELDS + 0xFFFD)}]")


class ControlTokens(NamedTuple):
    """The texts of a tokenizer's control tokens, the longest first, a pattern that finds them, and their stand-ins."""

    pattern: re.Pattern[str]
    shields: Mapping[str, str]
    names: Mapping[str, str]


def control_texts(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the texts of a tokenizer's control tokens, the longest first."""
    return list(_control_tokens(tokenizer, str(tokenizer.chat_template)).names)


def found_in(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> bool:
    """Return whether words contain the text of a control token."""
    control = _control_tokens(tokenizer, str(tokenizer.chat_template))
    return any(control.pattern.search(text) for text in texts)


def shielded(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """Return words with stand-ins for what looks like a control token; RenderingError if they hold any already."""
    if STAND_IN.search(text):
        raise RenderingError(
            f"a message has characters for private use and the text of a control token: {text[:40]!r}",
            hint="remove either of them",
        )
    control = _control_tokens(tokenizer, str(tokenizer.chat_template))
    return control.pattern.sub(lambda found: control.shields[found.group()], text)


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the token ids of rendered text with shielded words in it, and the place of each in the text."""
    template = str(tokenizer.chat_template)
    control, (twin, meant) = _control_tokens(tokenizer, template), _twin(tokenizer, template)
    named = control.pattern.sub(lambda found: control.names[found.group()], text)
    words = {shield: token for token, shield in control.shields.items()}
    plain = re.sub("|".join(map(re.escape, words)), lambda found: words[found.group()], named)
    encoded = twin.encode(plain, add_special_tokens=False)
    if ({*encoded.ids} - meant.keys()) & {*meant.values()} - {tokenizer.unk_token_id}:
        raise RenderingError(
            "the model's tokenizer takes the text of a control token in a message for the token", hint="remove the text"
        )
    return [meant.get(token, token) for token in encoded.ids], list(encoded.offsets)


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: "PreTrainedTokenizerBase", template: str) -> ControlTokens:
    """Return the tokens that are marked as special, and the other added ones that the template writes around turns."""
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    frame = _frame(tokenizer)
    texts = [token.content for token in added.values() if token.special or token.content in frame]
    texts = sorted({text for text in texts if text}, key=lambda text: (-len(text), text))
    pattern = re.compile("|".join(map(re.escape, texts)) or r"(?!)")
    shields, names = (
        {text: chr(start + number) * len(text) for number, text in enumerate(texts)} for start in (SHIELDS, NAMES)
    )
    return ControlTokens(pattern, shields, names)


def _frame(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return what the chat template writes around the shortest dialogue; nothing where there is no template."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    try:
        text: Any = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:
        return ""  # rendering says what is wrong with it
    return str(text)


@lru_cache(maxsize=8)
def _twin(tokenizer: "PreTrainedTokenizerBase", template: str) -> tuple[Any, dict[int, int]]:
    """Return the tokenizer with other names for its control tokens, and what their ids there mean here."""
    from tokenizers import Tokenizer

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise RenderingError(
            "a message has the text of a control token, which this model's tokenizer would take for the token",
            hint="use a model with a tokenizer.json, or remove the text",
        )
    names = _control_tokens(tokenizer, template).names
    settings = json.loads(backend.to_str())
    # What it adds the template has written itself, and it may name a control token.
    settings |= {"post_processor": None, "truncation": None, "padding": None}
    added = {token["id"]: names.get(token["content"], token["content"]) for token in settings["added_tokens"]}
    for token in settings["added_tokens"]:
        token["content"] = added[token["id"]]
    twin: Any = Tokenizer.from_str(json.dumps(settings))
    # A new name has a new id, by which the ids of others may shift.
    return twin, {twin.token_to_id(name): number for number, name in added.items()}
