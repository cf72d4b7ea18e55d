"""Cleaning a teacher's reply of reasoning, template tokens, a role label and the quotes around it.

What could as well be the reply's own words stays; where that leaves open what the reply is, it is a fault.

    <think>Ask for one row.</think> How many seats?     How many seats?
    User: "How many seats are there?"<|im_end|>         How many seats are there?     where a user's message is wanted
    The token <|im_end|> ends a turn.                   unchanged
    User: How many?⏎Assistant: Twelve.                  a fault: which half is the reply?
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from tuning_room.engines.reasoning import BEGINNING, Left, without_code, without_reasoning
from tuning_room.words import seen

PASSES = 8  # one cut can lay bare another; what is still changing after this many is not a reply
CALL = "the teacher's reply calls a tool, and there is none"
TRANSCRIPT = "the teacher's reply is a transcript of both sides, not one message"
Writes = Literal["user", "assistant", "notes"]  # whose message a reply becomes; notes are read, never taught

_ROLES = "user|assistant|human|model|system"
_TOKEN = (
    r"<\|[a-z0-9_]{1,40}\|>|<\|[a-z0-9_]{1,40}>|<[a-z0-9_]{1,40}\|>|<\uff5c[^\uff5c<>]{1,40}\uff5c>"
    r"|<(?:start|end)_of_turn>|<end_of_utterance>|<(?:bos|eos|pad|unk|sep|eot|eo[ahp])>"
    r"|<(?:reserved|extra_id)_\d{1,4}>|\[\|[a-z]{1,40}\|\]|\[(?:bos|eos|pad)\]|\]~b\]|\[e~\["
)
_FIRST_TOKENS = re.compile(
    rf"\A(?:(?!{BEGINNING})(?:<\|channel\|>final[^<>]{{0,20}}<\|message\|>|{_TOKEN}|\[/?INST\]|<</?SYS>>"
    rf"|<role>assistant</role>)\s*(?:(?:assistant|user|model|ai)[ \t]*(?=\n|<)\s*)?)+",
    re.IGNORECASE,
)
# What a stop string cut short
_CUT_TOKEN = re.compile(
    r"(?:<\|(?:im_end|im_start|eot_id|end_of_text|endoftext|end|user)\|?|<(?:end|start)_of_turn|</s"
    r"|(?<=[.!?…])\s*\[/INST\])\Z"
)
_ROLE_LINE = re.compile(r"\A(?:assistant|model)[ \t]*\n+(?=\S)")
_TOKENS = re.compile(rf"(?:{_TOKEN})(?:\s*(?:{_TOKEN}))*", re.IGNORECASE)
_END = (
    r"<\|(?:im_end|eot_id|eom_id|eot|end|return|endoftext|end_of_text|end_of_turn|end_of_turn_token|endofturn|role_end)\|>"
    r"|<\uff5cend[^\uff5c<>]{1,40}\uff5c>|<end_of_turn>|<end_of_utterance>|<turn\|>|<eos>|</s>|\[\|endofturn\|\]|\[e~\["
)
_TURN = (
    rf"(?:<\|(?:im_start|start|start_header_id|turn)\|?>|<start_of_turn>|<\|start_of_turn_token\|>)\s*(?:{_ROLES}|<|\Z)"
    r"|<\|(?:user|assistant|system)\|>|<\uff5c(?:user|assistant)\uff5c>|\[INST\]|\[\|(?:user|assistant|system)\|\]"
    r"|<role>(?:human|user|assistant|system)</role>|\]~b\](?:user|ai|system)"
)
_LABEL = r"(?:#{{1,4}} ?)?(?:\*\*|__)?(?:{})(?:\*\*|__)?\s*:(?:\*\*|__)?"
_INSTRUCTION = r"#{1,4} ?(?:instruction|input|human|user)\s*:"
_ENDS = re.compile(rf"(?:{_END})(?:\s*(?:{_END}))*\s*", re.IGNORECASE)
_NEXT_TURN = re.compile(
    rf"(?:<s>|<bos>|<\|begin_of_text\|>)?\s*(?:{_TURN}|(?:{_ROLES})[ \t]*\n)|{_LABEL.format(_ROLES)}", re.IGNORECASE
)
# Before or behind the message, in its own line: a sentence that speaks of these signs goes on.
_OTHER_TURN = re.compile(
    r"(?<=\S)<\uff5c(?:user|assistant)\uff5c>"
    r"|\A\s*(?:<s>)?\s*\[INST\][^\[\]]{1,2000}\[/INST\]\s*(?!</s>)\S|(?<=\S)\s*\[INST\][^\[\]]{1,2000}\[/INST\]\s*\Z",
    re.IGNORECASE,
)
_LATER_TURN = re.compile(rf"\n[ \t]*(?:{_TURN})", re.IGNORECASE)
_CALL = re.compile(
    r"\A(?:<tool_calls?>|\[TOOL_CALLS\]|<\|tool_calls?(?:_begin|_section_begin)?\|>|<function=|<function_call>|<\|python_tag\|>"
    r"|<invoke\b|<\uff5ctool\u2581calls\u2581begin\uff5c>)",
    re.IGNORECASE,
)
_CONTROLS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_SPEAKERS = {"user": "user|human", "assistant": "assistant"}
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“”", "‘": "’", "«": "»", "»": "«", "「": "」", "『": "』"}  # noqa: RUF001
_QUOTES |= {"‹": "›", "›": "‹", "‚": "‘’", "〝": "〞〟", "\uff02": "\uff02"}  # noqa: RUF001
_MIXED = {'"': "”", "“": '"', "„": '"'}  # a model that opens with one kind and closes with another
# Words that need no fence
_FENCED = re.compile(r"\A(`{3,}|~{3,})(?:text|txt|plaintext|markdown|md)[ \t]*\n(.*)\n\1\Z", re.DOTALL | re.IGNORECASE)
_EMPHASIZED = re.compile(r"\A(\*\*|__|\*|_)(.+)\1\Z", re.DOTALL)
_REPEATED = re.compile(r"""\A("{2,3}|'{2,3}|``|\\")(.+?)(?:\1|'')\Z""", re.DOTALL)
_CLOSED_ONLY = re.compile(r"""[.!?…。！？]"\Z""")  # noqa: RUF001
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")  # noqa: RUF001
_SENTENCE = re.compile(r"\S\s+\S|[.!?…。！？]\s*\Z")  # noqa: RUF001
_PAIR = re.compile(r"\A(?:<([a-z][\w.:-]{0,40})(?:\s[^<>]*)?>.*?</\1>|\[([a-z]\w{0,40})\].*?\[/\2\])", re.I | re.S)


class Cleaned(NamedTuple):
    """What is left of a reply, '' where nothing usable is, and the kinds of what was taken off it.

    `fault` says why it cannot be cleaned; `unknown_tag` names the pair of tags that the text begins with, '' if none.
    """

    text: str
    taken_off: tuple[str, ...] = ()
    fault: str = ""
    unknown_tag: str = ""


def cleaned(text: str, writes: Writes, *, wants_json: bool = False) -> Cleaned:
    """Return a reply without what does not belong to it; a clean one is unchanged, apart from outer white space.

    Of notes (a critique, a rubric, a judgement) only reasoning is taken off, and nothing else of a reply that is JSON
    where JSON is wanted.
    """
    text, taken_off = text.strip(), dict[str, None]()
    for _ in range(PASSES):
        before = text
        for kind, step in _STEPS[writes].items():
            if kind != "reasoning" and wants_json and writes == "assistant" and _is_json(text):
                continue
            left = step(text)
            if left.fault:
                return Cleaned("", tuple(taken_off), left.fault)
            if left.text.strip() != text:
                text, taken_off[kind] = left.text.strip(), None
        if text == before:
            pair = _PAIR.match(text)
            return Cleaned(text, tuple(taken_off), unknown_tag=(pair[1] or pair[2]) if pair else "")
    return Cleaned("", tuple(taken_off))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_tokens(text: str) -> Left:
    searched = without_code(text)
    if _CALL.match(text):
        return Left("", CALL)
    # After the end of its turn a model plays the other side.
    ends = (end.start() for end in _ENDS.finditer(searched) if _NEXT_TURN.match(searched, end.end()))
    text = text[: next(ends, None)]
    if _OTHER_TURN.search(without_code(text)):
        return Left("", TRANSCRIPT)
    text = _ROLE_LINE.sub("", _FIRST_TOKENS.sub("", text))
    # Without the end of a turn before it, a turn's beginning may be one that the reply speaks of.
    if _LATER_TURN.search(without_code(text)):
        return Left("", TRANSCRIPT)
    text = _CUT_TOKEN.sub("", text).rstrip()
    last = next((run.start() for run in _TOKENS.finditer(text) if run.end() == len(text)), None)
    return Left(_within_bos_and_eos(text[:last]))


def _within_bos_and_eos(text: str) -> str:
    # With both it is text that is struck out in HTML.
    both = "<s>" in text and "</s>" in text
    return text if both else text.removeprefix("<s>").removesuffix("</s>")


def _without_label(writes: Writes, text: str) -> Left:
    first, both, alone = _LABELS[writes]
    found = first.match(text)
    start = found.end() if found else 0
    if alone.search(text, start) or (found and both.search(text, start)):
        return Left("", TRANSCRIPT)
    return Left(text[start:])


class _SidesLabels(NamedTuple):
    """The label before a message, the other side's behind one that has it, and what no message has in it."""

    first: re.Pattern[str]
    both: re.Pattern[str]
    alone: re.Pattern[str]


def _labels(writer: str, other: str, never: str) -> _SidesLabels:
    first = re.compile(rf"\A(?:{_LABEL.format(_SPEAKERS[writer])}|### ?response\s*:)\s*", re.IGNORECASE)
    both = re.compile(rf"\n[ \t]*{_LABEL.format(_SPEAKERS[other])}", re.IGNORECASE)
    return _SidesLabels(first, both, re.compile(rf"\n[ \t]*{_INSTRUCTION}|{never}", re.IGNORECASE))


# One side's label may be a word that an answer explains; both of them, in turn, are two people who speak.
_TURNS = r"\n[ \t]*(?:user|human)\s*:[^\n]*(?:\n(?![ \t]*assistant\s*:)[^\n]*){0,40}\n[ \t]*assistant\s*:"
_LABELS = {
    "user": _labels("user", "assistant", r"\n[ \t]*assistant\s*:"),
    "assistant": _labels("assistant", "user", _TURNS),
}


def _without_controls(text: str) -> Left:
    text = _CONTROLS.sub("", text)
    return Left(text if seen(text) else "")


def _without_fence(text: str) -> Left:
    found = _FENCED.match(text)
    return Left(found[2] if found and found[1] not in found[2] else text)


def _without_quotes(text: str) -> Left:
    if _is_quotation(text):
        return Left(text[1:-1])
    if (found := _EMPHASIZED.match(text)) and _is_quotation(found[2]):
        return Left(found[2][1:-1])
    if (found := _REPEATED.match(text)) and found[1][0] not in found[2]:
        return Left(found[2])
    is_half = text.count('"') == 1 and (text.startswith('"') or _CLOSED_ONLY.search(text))
    return Left(text.strip('"') if is_half else text)


def _is_quotation(text: str) -> bool:
    """Whether one pair of quotes is around all of a text, and that is a sentence."""
    closing = _QUOTES.get(text[:1], "")
    closing = closing if text[-1:] in closing else _MIXED.get(text[:1], "")
    if len(text) < 2 or text[-1] not in closing or (len(text) > 2 and not _SENTENCE.search(text[1:-1])):
        return False
    depth = 1
    for sign in _APOSTROPHE.sub("", text[1:-1]):
        depth += (sign == text[0] and sign not in closing) - (sign in closing)
        if not depth:
            # The first quotation ends before the text does.
            return False
    return True


def _steps(writes: Writes) -> dict[str, Callable[[str], Left]]:
    label = partial(_without_label, writes)
    wrapping: dict[str, Callable[[str], Left]] = {
        "role labels": label,
        "code fences": _without_fence,
        "quotes": _without_quotes,
    }
    return {**_NOTES, "template tokens": _without_tokens, **wrapping}


_NOTES: dict[str, Callable[[str], Left]] = {"control characters": _without_controls, "reasoning": without_reasoning}
_STEPS = {"user": _steps("user"), "assistant": _steps("assistant"), "notes": _NOTES}
