"""Taking a teacher's reasoning off its reply, where the server has no parser for it.

Reasoning stands at the beginning, in tags of many kinds; some chat templates open the tag themselves, so that only the
closing one arrives, at the end of a line. A tag anywhere else is one that the reply speaks of.

    <think>12 rows of 7 are 84.</think> How many seats?     How many seats?
    12 rows of 7 are 84.</think>⏎How many seats?            How many seats?
    <think>12 rows of 7 are                                 nothing
    Close it with </think> and write the answer.            unchanged
    12 rows of 7 are 84.</think> How many seats?            unclear: it may be either
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

UNCLEAR = "the teacher's reply seems to have reasoning in it, but it is unclear where that begins or ends"

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)"
# Names that are ordinary words elsewhere: only a tag at the very beginning counts.
_FIRST_NAMES = rf"{_NAMES}|thought_process|chain_of_thought|inner_monologue|analysis"
_FINAL = r"(?:<\|start\|>assistant)?<\|channel\|>final[^<>]{0,20}(?:<\|constrain\|>\w+)?<\|message\|>"
_MARKS = {
    r"\[THINK\]": r"\[/THINK\]",  # Mistral
    "◁think▷": "◁/think▷",  # Kimi
    r"<\|begin_of_thought\|>": r"<\|end_of_thought\|>",  # OpenThinker
    r"<\|START_THINKING\|>": r"<\|END_THINKING\|>",  # Cohere
    r"<\|channel>thought\b": r"<channel\|>",  # Gemma
    r"<unused94>thought\b": "<unused95>",  # MedGemma
    # gpt-oss, with and without its tokens
    r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<>]{0,40}<\|message\|>": _FINAL,
    r"(?-i:\Aanalysis(?=[A-Z])(?=[\s\S]*assistantfinal))": "(?-i:assistantfinal)",
}
_FIRST_XML = re.compile(rf"<({_FIRST_NAMES})(?:\s[^<>]*)?>", re.IGNORECASE)
_ANY_XML = re.compile(rf"</?({_NAMES})(?:\s[^<>]*)?>", re.IGNORECASE)
BEGINNING = "|".join([_FIRST_XML.pattern, *_MARKS])

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)
_TICKS = re.compile(r"(?<!`)(`+)(?!`)[^\n]+?(?<!`)\1(?!`)")
# White space, quotes, brackets or emphasis before a tag, and no letter after it: a sentence that speaks of the tag.
_BEFORE_MENTION = re.compile(r"(?:\A|[\s\"'(\[{«“„‘*_|/=])\Z")  # noqa: RUF001
_ANSWER_TAGS = re.compile(r"\A<answer>|</answer>\Z", re.IGNORECASE)


class Left(NamedTuple):
    """What is left of a reply, or why it cannot be used."""

    text: str
    fault: str = ""


class _Mark(NamedTuple):
    """How reasoning begins and ends, and both as one pattern, whose group `closing` tells them apart."""

    opening: re.Pattern[str]
    either: re.Pattern[str]
    is_prose: bool = True


def without_reasoning(text: str) -> Left:
    """Return a reply without its reasoning; '' where it never ends, and a fault where its bounds are unclear."""
    for mark in _marks(filter(None, [_FIRST_XML.match(text)])):
        if opening := mark.opening.match(text):
            return _behind(text, opening.end(), mark)
    return _behind_closing(text)


def without_code(text: str) -> str:
    """Return a text of the same length in which code, fenced or between backticks, is NULs; an open fence is text."""
    parts, copied, opened = list[str](), 0, None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            parts += [text[copied : opened.start()], "\0" * (fence.end() - opened.start())]
            copied, opened = fence.end(), None
    return _TICKS.sub(lambda code: "\0" * len(code[0]), "".join([*parts, text[copied:]]))


def _marks(tags: Iterable[re.Match[str]]) -> list[_Mark]:
    """Return the marks to look for: those of the XML-like tags that a text has, and all others."""
    return [*map(_xml, dict.fromkeys(tag[1].lower() for tag in tags)), *_OTHERS]


@lru_cache(maxsize=64)
def _xml(name: str) -> _Mark:
    return _mark(rf"<{name}(?:\s[^<>]*)?>", f"</{name}>")


def _mark(opening: str, closing: str) -> _Mark:
    either = rf"(?P<closing>{closing})|{opening}"
    return _Mark(re.compile(opening, re.IGNORECASE), re.compile(either, re.IGNORECASE), closing != _FINAL)


_OTHERS = [_mark(opening, closing) for opening, closing in _MARKS.items()]


def _behind(text: str, start: int, mark: _Mark) -> Left:
    """Return what follows the reasoning that begins a reply."""
    for searched in (without_code(text[start:]), text[start:]):
        closing = [tag for tag in mark.either.finditer(searched) if tag["closing"]]
        if closing:
            # Reasoning that speaks of its own opening tag has more of them than closing ones.
            end = start + [*_unpaired(searched, mark), closing[-1]][0].end()
            return _rest(text[end:], mark)
    return Left("")


def _behind_closing(text: str) -> Left:
    """Return what follows a closing tag whose opening one is in the chat template; without one, the whole text."""
    searched = without_code(text)
    for mark in _marks(_ANY_XML.finditer(searched)):
        lone = _unpaired(searched, mark)
        for tag in lone:
            if not mark.is_prose or _ends_line(searched, tag):
                return _rest(text[tag.end() :], mark)
        openings = (tag for tag in mark.either.finditer(searched) if not tag["closing"])
        if any(_is_glued(searched, tag) for tag in lone) or any(_has_a_line(searched, tag) for tag in openings):
            return Left("", UNCLEAR)
    return Left(text)


def _rest(text: str, mark: _Mark) -> Left:
    # One more end: whether the reasoning or the reply speaks of the tag, nobody can tell.
    if _unpaired(without_code(text), mark):
        return Left("", UNCLEAR)
    return Left(_ANSWER_TAGS.sub("", text.strip()))


def _unpaired(text: str, mark: _Mark) -> list[re.Match[str]]:
    """Return the closing tags that have no opening one before them."""
    depth, found = 0, []
    for tag in mark.either.finditer(text):
        if not tag["closing"]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            found.append(tag)
    return found


def _ends_line(text: str, tag: re.Match[str]) -> bool:
    following = text[tag.end() :].lstrip(" \t")
    return following.startswith("\n") or (not following and _begins_line(text, tag))


def _has_a_line(text: str, tag: re.Match[str]) -> bool:
    return _begins_line(text, tag) and text[tag.end() :].lstrip(" \t")[:1] in ("", "\n")


def _begins_line(text: str, tag: re.Match[str]) -> bool:
    return text[: tag.start()].rstrip(" \t")[-1:] in ("", "\n")


def _is_glued(text: str, tag: re.Match[str]) -> bool:
    return not _BEFORE_MENTION.search(text[: tag.start()][-1:]) or text[tag.end() :][:1].isalnum()
