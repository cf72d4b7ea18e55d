"""Advise: what the full prompt costs in tokens, and the arguments for and against baking it in."""

import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from tuning_room.advise.config import AdviseConfig
from tuning_room.errors import MissingPrerequisiteError
from tuning_room.prerequisites import explained, require
from tuning_room.workspace import StageResult

LONG_PROMPT = 300  # tokens; from here on a prompt dwarfs a short message
CACHED_FROM = 1024  # tokens; shorter prompts are not cached (OpenAI's prompt caching guide)
MANY_TOKENS = 1_000_000  # prompt tokens per day
CHARACTERS = 4  # of English a token, roughly (OpenAI's help centre, "What are tokens and how to count them?")


class Signal(NamedTuple):
    """An argument for or against baking, and the evidence for it."""

    speaks: Literal["for", "against"]
    what: str
    seen: str


class Advice(StageResult):
    """Tokens of the system turn per message and per day, and the signals."""

    full_tokens: int
    short_tokens: int
    messages_per_day: int
    full_tokens_per_day: int
    short_tokens_per_day: int
    signals: list[Signal]
    estimated: str = ""  # why the tokens are estimated, not counted


# Behaviour belongs in the weights; what changes or must be exact belongs in the context.
PATTERNS: list[tuple[Literal["for", "against"], str, str]] = [
    ("for", "it prescribes behaviour", r"\b(?:never|always|must|do not|don't|only)\b"),
    ("for", "it expects pressure from users", r"\b(?:ignore|claims?|pretend|role.?play|demands?|insist)\b"),
    ("for", "it shows examples of the behaviour", r"\b(?:example|user:|student:|customer:)"),
    ("against", "it holds facts that may change", r"https?://|\b\d{4}-\d\d-\d\d\b|\b(?:prices?|opening hours)\b"),
    ("against", "it has placeholders filled in for each request", r"\{\{?\s*\w+\s*\}?\}|\$\{\w+\}"),
    ("against", "it describes tools to call", r"\b(?:tool_call|function call|call the tool)\b"),
]


def run(config: AdviseConfig) -> Advice:
    """Count both prompts in the model's own chat template and collect the signals; raises ModelNotFoundError.

    Where its tokenizer is not installed, the tokens are estimated.
    """
    text = config.full_prompt.read_text(encoding="utf-8").strip()
    prompts = (text, config.short_prompt)
    estimated = ""
    try:
        full, short = _counted(config.model, *prompts)
    except MissingPrerequisiteError as error:
        full, short = (math.ceil(len(prompt) / CHARACTERS) for prompt in prompts)
        estimated = str(error)
    messages = config.traffic.users * config.traffic.messages_per_user
    return Advice(
        full_tokens=full,
        short_tokens=short,
        messages_per_day=messages,
        full_tokens_per_day=full * messages,
        short_tokens_per_day=short * messages,
        signals=[*_size_signals(full, messages), *_text_signals(text, config.full_prompt)],
        estimated=estimated,
    )


def _counted(model: str, *prompts: str) -> list[int]:
    from tuning_room.models import load_tokenizer, resolve
    from tuning_room.rendering import system_tokens

    require(["advise"])
    with explained("advise"):
        tokenizer = load_tokenizer(resolve(model))
        return [system_tokens(tokenizer, prompt) for prompt in prompts]


def _size_signals(tokens: int, messages: int) -> list[Signal]:
    speaks: Literal["for", "against"] = "for" if tokens >= LONG_PROMPT else "against"
    signals = [Signal(speaks, f"the full prompt has {tokens} tokens", f"{LONG_PROMPT} or more is long")]
    if tokens * messages >= MANY_TOKENS:
        signals.append(Signal("for", f"{tokens * messages:,} prompt tokens per day", "tokens x messages"))
    else:
        signals.append(Signal("against", f"only {tokens * messages:,} prompt tokens per day", "tokens x messages"))
    cached = "caches it" if tokens >= CACHED_FROM else "never discounts it"
    speaks = "against" if tokens >= CACHED_FROM else "for"
    return [*signals, Signal(speaks, f"OpenAI's prompt cache {cached}", f"it starts at {CACHED_FROM} tokens")]


def _text_signals(text: str, file: Path) -> list[Signal]:
    signals = []
    for speaks, what, pattern in PATTERNS:
        if found := list(re.finditer(pattern, text, re.IGNORECASE)):
            line = text[: found[0].start()].count("\n") + 1
            seen = f"{len(found)} times, first in {file.name}:{line}: '{found[0].group()}'"
            signals.append(Signal(speaks, what, seen))
    return signals
