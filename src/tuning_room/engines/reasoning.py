"""Taking a model's reasoning off its reply, where the server has no parser for it.

Reasoning stands at the beginning, in tags of many kinds; some chat templates open the tag themselves, so that only the
closing one arrives, at the end of a line. A tag anywhere else is one that the reply speaks of.

    <think>12 rows of 7 are 84.</think> How many seats?     How many seats?
    12 rows of 7 are 84.</think>⏎How many seats?            How many seats?
    12 rows of 7 are 84.</think>How many seats?             How many seats?
    <think>12 rows of 7 are                                 nothing
    Close it with </think> and write the answer.            unchanged
    12 rows of 7 are 84.</think> How many seats?            unclear: it may be either
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

UNCLEAR = "the reply seems to have reasoning in it, but it is unclear where that begins or ends"

# With what model families put before and behind: <seed:think>, <longcat_think>, <think_fast>, <thought_process>
_WORD = r"think(?:ing)?|thoughts?|reasoning|reflection|scratchpad"
_NAMES = rf"(?:\w{{1,20}}[:_])?(?:{_WORD})(?:_\w{{1,20}})?"
# Names that are ordinary words elsewhere: only a tag at the very beginning counts.
_FIRST_NAMES = rf"{_NAMES}|thinks|reason|cot|(?:inner|internal)_monologue|analysis"
_FINAL = r"(?:<\|start\|>assistant)?<\|channel\|>final[^<>]{0,20}(?:<\|constrain\|>\w+)?<\|message\|>"
# These end other things as well: only behind their openings do they end reasoning.
_DETAILS, _RESPONSE = "</details>", r"Here(?:'s| is) my response:"
_MARKS = {
    rf"\[(?:{_WORD})\]": rf"\[/(?:{_WORD})\]",  # Mistral
    rf"&lt;(?:{_WORD})&gt;": rf"&lt;/(?:{_WORD})&gt;",  # written for a web page
    r'<details type="reasoning"[^<>]*>': _DETAILS,  # Open WebUI
    rf"<details[^<>]*>\s*<summary>[^<>]{{0,40}}\b(?:{_WORD}|thought)[^<>]{{0,40}}</summary>": _DETAILS,
    rf"\uff1c(?:{_WORD})\uff1e": rf"\uff1c[/\uff0f](?:{_WORD})\uff1e",  # full width
    r"\AHere are my reasoning steps:": r"\[BEGIN FINAL RESPONSE\]",  # Apriel
    rf"<\|(?:{_WORD})\|>": rf"<\|/(?:{_WORD})\|>",
    "◁think▷": "◁/think▷",  # Kimi
    r"<\|begin_of_thought\|>": r"<\|end_of_thought\|>",  # OpenThinker
    r"<\|START_THINKING\|>": r"<\|END_THINKING\|>",  # Cohere
    r"<\|channel>thought\b": r"<channel\|>",  # Gemma
    r"<unused94>thought\b": "<unused95>",  # MedGemma
    # gpt-oss, with and without its tokens
    r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<>]{0,40}<\|message\|>": _FINAL,
    r"(?-i:\Aanalysis(?=[A-Z])(?=[\s\S]*assistantfinal))": "(?-i:assistantfinal)",
    r"\AHere(?:'s| is) my thought process:": _RESPONSE,  # Granite
}
_FIRST_XML = re.compile(rf"<({_FIRST_NAMES})(?:\s[^<>]*)?>", re.IGNORECASE)
_ANY_XML = re.compile(rf"</?({_NAMES})(?:\s[^<>]*)?>", re.IGNORECASE)
BEGINNING = "|".join([_FIRST_XML.pattern, *_MARKS])

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)
_TICKS = re.compile(r"(?<!`)(`+)(?!`)[^\n]+?(?<!`)\1(?!`)")
# White space, quotes, brackets or emphasis before a tag, and no letter after it: a sentence that speaks of the tag.
_BEFORE_MENTION = re.compile(r"(?:\A|[\s\"'(\[{«“„‘*_|/=])\Z")  # noqa: RUF001
_ANSWER = re.compile(r"\A<(answer|response|output|final|final_answer|reply)>(.*)</\1>\Z", re.IGNORECASE | re.DOTALL)
_ANSWER_TAGS = re.compile(
    r"\A(?:<answer>|<\|begin_of_solution\|>)\s*"
    r"|\s*(?:</answer>|<\|end_of_solution\|>|\[END FINAL RESPONSE\](?:\s*<\|end\|>)?)\Z",
    re.IGNORECASE,
)
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
_SENTENCE_END = re.compile(r"[.!?…。！？)”]\Z")  # noqa: RUF001


class Left(NamedTuple):
    """What is left of a reply, or why it cannot be used."""

    text: str
    fault: str = ""


class _Mark(NamedTuple):
    """How reasoning begins and ends, and both as one pattern, whose group `closing` tells them apart.

    `is_prose` says that a sentence may speak of the closing tag, `is_telling` that it ends nothing but reasoning.
    """

    opening: re.Pattern[str]
    either: re.Pattern[str]
    is_prose: bool = True
    is_telling: bool = True


def without_reasoning(text: str) -> Left:
    """Return a reply without its reasoning; '' where it never ends, and a fault where its bounds are unclear."""
    seen = text.lstrip(f"{_INVISIBLE} \t\n")
    for mark in _marks(filter(None, [_FIRST_XML.match(seen)])):
        if opening := mark.opening.match(seen):
            return _behind(seen, opening.end(), mark)
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
    return _mark(rf"<{name}(?:\s[^<>]*)?>", rf"</\s?{name}\s?>")


def _mark(opening: str, closing: str) -> _Mark:
    either = rf"(?P<closing>{closing})|{opening}"
    parts = re.compile(opening, re.IGNORECASE), re.compile(either, re.IGNORECASE)
    return _Mark(*parts, is_prose=closing != _FINAL, is_telling=closing not in (_DETAILS, _RESPONSE))


_ANY_NAME = _mark(_FIRST_XML.pattern, rf"</(?:{_NAMES})>")  # some models close another tag than they opened
_OTHERS = [_mark(opening, closing) for opening, closing in _MARKS.items()]


def _behind(text: str, start: int, mark: _Mark) -> Left:
    """Return what follows the reasoning that begins a reply."""
    for searched in (without_code(text[start:]), text[start:]):
        closing = [tag for tag in mark.either.finditer(searched) if tag["closing"]]
        if closing:
            # Reasoning that speaks of its own opening tag has more of them than closing ones.
            end = start + [*_unpaired(searched, mark), closing[-1]][0].end()
            return _rest(text[end:], mark)
    return Left("") if mark is _ANY_NAME or mark in _OTHERS else _behind(text, start, _ANY_NAME)


def _behind_closing(text: str) -> Left:
    """Return what follows a closing tag whose opening one is in the chat template; without one, the whole text."""
    searched = without_code(text)
    for mark in filter(lambda mark: mark.is_telling, _marks(_ANY_XML.finditer(searched))):
        lone = _unpaired(searched, mark)
        for tag in lone:
            if not mark.is_prose or _ends_line(searched, tag) or _parts_sentences(searched, tag):
                return _rest(text[tag.end() :], mark)
        if any(_is_glued(searched, tag) or _begins_line(searched, tag) for tag in lone) or _has_block(searched, mark):
            return Left("", UNCLEAR)
    return Left(text)


def _rest(text: str, mark: _Mark) -> Left:
    # One more end: whether the reasoning or the reply speaks of the tag, nobody can tell.
    if mark.is_telling and _unpaired(without_code(text), mark):
        return Left("", UNCLEAR)
    answer = _ANSWER.match(text.strip())
    return Left(answer[2] if answer else _ANSWER_TAGS.sub("", text.strip()))


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


def _parts_sentences(text: str, tag: re.Match[str]) -> bool:
    """Whether a tag stands right between the end of a sentence, or a line, and the beginning of another."""
    ended = _begins_line(text, tag) or _SENTENCE_END.search(text[: tag.start()][-1:])
    return bool(ended) and text[tag.end() :][:1].isalnum()


def _has_block(text: str, mark: _Mark) -> bool:
    """Whether an opening tag has a line to itself, or stands where no sentence that speaks of it has one."""
    tags = list(mark.either.finditer(text))
    for tag, following in zip_longest(tags, tags[1:]):
        if tag["closing"]:
            continue
        if not _BEFORE_MENTION.search(text[: tag.start()][-1:]):
            return True
        is_closed = following is not None and following["closing"] and _is_last_of_line(text, following)
        if _begins_line(text, tag) and (is_closed or _is_last_of_line(text, tag)):
            return True
    return False


def _is_last_of_line(text: str, tag: re.Match[str]) -> bool:
    return text[tag.end() :].lstrip(" \t")[:1] in ("", "\n")


def _begins_line(text: str, tag: re.Match[str]) -> bool:
    return text[: tag.start()].rstrip(" \t")[-1:] in ("", "\n")


def _is_glued(text: str, tag: re.Match[str]) -> bool:
    return not _BEFORE_MENTION.search(text[: tag.start()][-1:]) or text[tag.end() :][:1].isalnum()
