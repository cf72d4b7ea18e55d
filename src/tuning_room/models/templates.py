"""Chat templates: whether one takes a system turn, and what is written before one that does not.

What is added stands in the template itself, so that training, evaluation, serving and vLLM cannot differ, and the
template's digest, which an adapter carries, covers it.
"""

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.errors import RenderingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# As the field does it: the system turn's words begin the user's first message.
FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- if messages | length > 1 and messages[1]['role'] == 'user' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\n\n' + messages[1]['content']}]"
    " + messages[2:] -%}"
    "{%- else -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] -%}"
    "{%- endif -%}{%- endif -%}"
)
# A template cannot encode a text other than its tokenizer does, but it can keep the text of a token from being one.
BROKEN = (
    "{%- set words = namespace(turns=[]) -%}"
    "{%- for turn in messages -%}"
    "{%- if turn['content'] is string -%}"
    "{%- set words.turns = words.turns + [dict(turn, content=turn['content']@)] -%}"
    "{%- else -%}{%- set words.turns = words.turns + [turn] -%}{%- endif -%}"
    "{%- endfor -%}{%- set messages = words.turns -%}"
)
WORD_JOINER = "\u2060"  # is not seen, and no script uses it within a word
SYSTEM, QUESTION = "Keep to this.", "What is this?"


def takes_system(template: str) -> bool:
    """Return whether a chat template shows the model a system turn, rather than refuse it or leave it out."""
    question = {"role": "user", "content": QUESTION}
    if QUESTION not in _rendered(template, [question]):
        return True  # it refuses everything, and rendering says why
    return SYSTEM in _rendered(template, [{"role": "system", "content": SYSTEM}, question])


def _rendered(template: str, turns: list[dict[str, str]]) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        texts, _ = render_jinja_template([turns], chat_template=template, add_generation_prompt=True)
    except Exception:
        return ""
    return str(texts[0])


def fold_system(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Let a tokenizer whose chat template takes no system turn put it into the user's first message."""
    template: object = tokenizer.chat_template
    if isinstance(template, str) and not takes_system(template):
        tokenizer.chat_template = FOLDED + template


def guarded(template: str, tokens: Iterable[str]) -> str:
    """Return a template for a server that is not ours, under which the text of a token in a message is not the token.

    A word joiner after its first character keeps it from being one.
    """
    parts = [f" | replace({json.dumps(token)}, {json.dumps(token[:1] + WORD_JOINER + token[1:])})" for token in tokens]
    return BROKEN.replace("@", "".join(parts)) + template


def check_system(model: str, folder: Path, *, folds: bool) -> None:
    """Raise RenderingError for a model whose template takes no system turn, unless the recipe says what to do then."""
    # What is needed to read a template comes with the stages that need one.
    template = "" if folds or find_spec("transformers") is None else _template_in(folder)
    if template and not takes_system(template):
        raise RenderingError(
            f"model '{model}': its chat template takes no system turn, and so neither the full prompt nor the short",
            hint="set 'system_turn: fold' in the recipe, which puts them before the user's first message",
        )


def _template_in(folder: Path) -> str:
    """Return the chat template in a model's folder, '' if there is none or it cannot be read here."""
    try:
        if (file := folder / "chat_template.jinja").is_file():
            return file.read_text(encoding="utf-8")
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = settings.get("chat_template")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return template if isinstance(template, str) else ""
