"""Cleaning a teacher's reply of reasoning, template tokens, a role label and the quotes around it.

Models leave their reasoning in the reply where the server has no parser for it, in tags of many kinds; some chat
templates open the tag themselves, so that only the closing one arrives:

    <think>12 rows of 7 are 84.</think> How many seats stand in one row?    How many seats stand in one row?
    12 rows of 7 are 84.</think> How many seats stand in one row?           How many seats stand in one row?
    <think>12 rows of 7 are                                                 nothing
    User: "How many seats are there?"<|im_end|>                             How many seats are there?
"""

import re
from collections.abc import Callable
from typing import NamedTuple

PASSES = 8  # one cut can lay bare another; what is still changing after this many is not a reply

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)\b[^<>]*"
# XML-like tags, then Mistral's, Kimi's, OpenThinker's, Cohere's and gpt-oss's, the last also without its tokens.
_OPENING = (
    rf"<\s*{_NAMES}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|channel\|>(?:analysis|commentary)<\|message\|>|\A(?-i:analysis(?=[A-Z]))"
)
_CLOSING = (
    rf"<\s*/\s*{_NAMES}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>"
    r"|<\|channel\|>final[^<>]{0,20}(?:<\|constrain\|>\w+)?<\|message\|>|(?-i:assistantfinal)"
)
_TAG = re.compile(rf"(?P<closing>{_CLOSING})|{_OPENING}", re.IGNORECASE)
_ANSWER_TAGS = re.compile(r"\A<answer>|</answer>\Z", re.IGNORECASE)

_TOKEN = (
    r"<\|[a-z0-9_]{1,40}\|>|<\uff5c[^\uff5c<>]{1,40}\uff5c>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|\[/?INST\]|<</?SYS>>"
)
_LATER_TOKEN = re.compile(_TOKEN, re.IGNORECASE)
_FIRST_TOKENS = re.compile(rf"\A(?:(?:{_TOKEN})\s*(?:(?:assistant|user|model)[ \t]*(?=\n|<)\s*)?)+", re.IGNORECASE)

_LABEL = r"(?:\*\*|__)?(?:user|assistant|human)(?:\*\*|__)?\s*:(?:\*\*|__)?"
_FIRST_LABEL = re.compile(rf"\A{_LABEL}\s*", re.IGNORECASE)
_LATER_LABEL = re.compile(rf"\n[ \t]*{_LABEL}", re.IGNORECASE)

_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“”", "‘": "’", "«": "»", "»": "«", "「": "」", "『": "』"}  # noqa: RUF001
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")  # noqa: RUF001


class Cleaned(NamedTuple):
    """What is left of a reply, '' where nothing usable is, and the kinds of what was taken off it."""

    text: str
    taken_off: tuple[str, ...]


def cleaned(text: str) -> Cleaned:
    """Return a reply without what does not belong to it; a clean one is unchanged, apart from outer white space."""
    text, taken_off = text.strip(), dict[str, None]()
    for _ in range(PASSES):
        before = text
        for kind, step in _STEPS.items():
            left = step(text).strip()
            if left != text:
                text, taken_off[kind] = left, None
        if text == before:
            return Cleaned(text, tuple(taken_off))
    return Cleaned("", tuple(taken_off))


def _without_reasoning(text: str) -> str:
    kept, start, is_open, found = list[str](), 0, False, False
    for tag in _TAG.finditer(text):
        found = True
        if tag["closing"]:
            if not is_open:
                # The template opened this one: all so far is reasoning.
                kept.clear()
            start, is_open = tag.end(), False
        elif not is_open:
            kept.append(text[start : tag.start()])
            is_open = True
    # Nobody knows whether what stands before reasoning that never ends is a whole reply.
    rest = "" if is_open else "".join([*kept, text[start:]])
    return _ANSWER_TAGS.sub("", rest.strip()) if found else text


def _without_tokens(text: str) -> str:
    text = _within_bos_and_eos(_FIRST_TOKENS.sub("", text))
    # After the end of its turn a model plays the other side.
    later = _LATER_TOKEN.search(text)
    return text[: later.start()] if later else text


def _within_bos_and_eos(text: str) -> str:
    """Return a text without <s> before and </s> after it; text that is struck out in HTML stays."""
    before, ending, after = text.partition("</s>")
    is_html = "<s>" in before and ending and (not before.startswith("<s>") or after.strip())
    return text if is_html else before.removeprefix("<s>")


def _without_label(text: str) -> str:
    first = _FIRST_LABEL.match(text)
    if not first:
        return text
    # A teacher that writes labels may write the other side's words as well.
    later = _LATER_LABEL.search(text, first.end())
    return text[first.end() : later.start() if later else None]


def _without_quotes(text: str) -> str:
    closing = _QUOTES.get(text[:1], "")
    if len(text) < 2 or text[-1] not in closing:
        return text
    depth = 1
    for sign in _APOSTROPHE.sub("", text[1:-1]):
        depth += (sign == text[0] and sign not in closing) - (sign in closing)
        if not depth:
            # The first quotation ends before the text does.
            return text
    return text[1:-1]


_STEPS: dict[str, Callable[[str], str]] = {
    "reasoning": _without_reasoning,
    "template tokens": _without_tokens,
    "role labels": _without_label,
    "quotes": _without_quotes,
}
