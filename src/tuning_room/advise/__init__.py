"""Advise: what the full prompt costs in tokens, and the arguments for and against baking it in."""

import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from tuning_room.advise.config import AdviseConfig
from tuning_room.errors import MissingPrerequisiteError
from tuning_room.prerequisites import explained, require
from tuning_room.requirements import Kind
from tuning_room.requirements.draft import is_requirement, shortened
from tuning_room.requirements.languages import READ, language_name, language_of
from tuning_room.requirements.passages import passages
from tuning_room.requirements.suggestions import judges_work, kind_of
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
    unread: str = ""  # why it is not judged what the prompt prescribes


# Behaviour belongs in the weights; what changes or must be exact belongs in the context.
KINDS: list[tuple[Literal["for", "against"], str, set[Kind]]] = [
    ("for", "it prescribes behaviour", {"behaviour", "style"}),
    ("against", "it holds facts that may change", {"knowledge"}),
    ("against", "it has placeholders filled in for each request", {"context"}),
]
PRESSURE = (
    r"\b(?:ignore|claims?|pretend|role.?play|demands?|insist|ignorier\w*|behaupte\w*|vorgeb\w*|rollenspiel\w*|"
    r"ignor(?:er|ez|a|e|ar)|prétend\w*|insiste[nrz]?|fing[ei]\w*|finj\w*)\b"
)
PATTERNS: list[tuple[Literal["for", "against"], str, str]] = [
    ("for", "it expects pressure from users", PRESSURE),
    ("against", "it describes tools to call", r"\b(?:tool_call|function call|call the tool)\b"),
]
NEEDS_SKILL = "needs the model to be able to solve the problems itself; measure the prompted arm"


def run(config: AdviseConfig) -> Advice:
    """Count both prompts in the model's own chat template and collect the signals; raises ModelNotFoundError.

    Where its tokenizer is not installed, the tokens are estimated.
    """
    text = config.full_prompt.read_text(encoding="utf-8-sig").strip()
    prompts = (text, config.short_prompt)
    estimated = ""
    try:
        full, short = _counted(config.model, *prompts)
    except MissingPrerequisiteError as error:
        full, short = (math.ceil(len(prompt) / CHARACTERS) for prompt in prompts)
        estimated = str(error)
    language = language_of(text)
    messages = config.traffic.users * config.traffic.messages_per_user
    return Advice(
        full_tokens=full,
        short_tokens=short,
        messages_per_day=messages,
        full_tokens_per_day=full * messages,
        short_tokens_per_day=short * messages,
        signals=[*_size_signals(full, messages), *_text_signals(text, language, config.full_prompt)],
        estimated=estimated,
        unread="" if language in READ else _unread(language),
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


def _unread(language: str) -> str:
    known = ", ".join(map(language_name, READ))
    return f"the prompt is in {language_name(language)}; what a prompt prescribes is judged in {known} only"


def _text_signals(text: str, language: str, file: Path) -> list[Signal]:
    found = passages(text)
    asked = [passage for passage in found if is_requirement(passage, language)]
    kinds = {passage: kind_of(passage.text, language) for passage in asked}
    signals = []
    for speaks, what, of in KINDS:
        # In a language that is not read every sentence would count as behaviour.
        places = [passage for passage, kind in kinds.items() if kind in of]
        if places and (language in READ or speaks == "against"):
            signals.append(_seen(speaks, what, text, [(p.place.begin, p.text) for p in places], file))
    if examples := [
        (passage.place.begin, passage.text) for passage in found if passage.is_example and passage.kind != "heading"
    ]:
        signals.append(_seen("for", "it shows examples of the behaviour", text, examples, file))
    for speaks, what, pattern in PATTERNS:
        if hits := [(hit.start(), hit.group()) for hit in re.finditer(pattern, text, re.IGNORECASE)]:
            signals.append(_seen(speaks, what, text, hits, file))
    if judged := [(p.place.begin, p.text) for p in found if p.asks and judges_work(p.text, language)]:
        signals.append(_seen("against", NEEDS_SKILL, text, judged, file))
    return signals


def _seen(speaks: Literal["for", "against"], what: str, text: str, places: list[tuple[int, str]], file: Path) -> Signal:
    begin, words = places[0]
    line = text[:begin].count("\n") + 1
    return Signal(speaks, what, f"{len(places)} times, first in {file.name}:{line}: '{shortened(words)}'")
