"""Reciting: what a reply has of the full prompt, in its own words or in others.

What a prompt itself gives as words to say is no secret, nor what many training replies say: whoever says it obeys.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from tuning_room.words import count, runs, words

RUN = 8  # words in a row that a reply shares with the prompt only by reciting it
SHINGLE = 3  # words of the runs whose share is the overlap
# Training replies that have a run of the prompt share it from these numbers on: one alone may have let it slip.
FEWEST_SHARING, SHARE = 3, 0.01

_QUOTED = re.compile(
    r'"(?P<straight>(?:[^"\n]|\n(?!\n))+)"|\u201c(?P<curly>[^\u201d\u201c]+)[\u201d\u201c]|\u201e(?P<low>[^\u201c\u201d]+)[\u201c\u201d]|'
    r"\u00ab(?P<angled>[^\u00bb]+)\u00bb|\u300c(?P<corner>[^\u300d]+)\u300d|`(?P<code>[^`\n]+)`"
)
_BLOCK_QUOTE = re.compile(r"^[ \t]*>[ \t]?(?P<text>.+)$", re.MULTILINE)
_SAY = re.compile(
    r"\b(?:say|reply|respond|answer|end|begin|start|close|open|finish|greet|sign)\b[^.\n:]{0,60}:\s*(?P<text>[^\n]+)",
    re.IGNORECASE,
)
# "**Name:** text", "Name: text"; the label names who speaks.
_SPOKEN = re.compile(
    r"^[ \t]*(?:[-*][ \t]+)?\*{0,2}(?P<who>[^\W\d_][\w .'-]{0,30}?):?\*{0,2}:?\*{0,2}[ \t]+(?P<text>\S.*)$"
)
_LABEL = re.compile(r"^[ \t]*(?:[-*][ \t]+)?\*{0,2}[^\W\d_][\w .'-]{0,30}?(?::\*{0,2}|\*{0,2}:)[ \t]")


def prescribed_texts(prompt: str) -> Iterator[str]:
    """Yield what a prompt quotes to be said.

    That is text in quotation marks or backticks, block quotes, what follows "say:", "reply with:" or "end with:" in its
    line, and the assistant's lines of example dialogues: those of the second of two speakers who take turns.
    """
    for match in _QUOTED.finditer(prompt):
        yield next(text for text in match.groups() if text)
    quotes = re.findall(r"(?:^[ \t]*>.*\n?)+", prompt, re.MULTILINE)
    yield from (" ".join(_BLOCK_QUOTE.findall(quote)) for quote in quotes)
    yield from (match["text"] for match in _SAY.finditer(prompt))
    yield from _example_replies(prompt)


def _example_replies(prompt: str) -> Iterator[str]:
    lines = [(match["who"].strip(), match["text"]) for match in _spoken(prompt)]
    counts = Counter(who for who, _ in lines)
    # A label that stands once is a field ("Note: ..."), unless the two are all there is.
    lines = [line for line in lines if counts[line[0]] > 1 or len(lines) == 2]
    yield from (text for who, text in lines if who != lines[0][0])


def _spoken(prompt: str) -> Iterator[re.Match[str]]:
    for line in prompt.splitlines():
        if _LABEL.match(line) and (match := _SPOKEN.match(line)):
            yield match


def recites(reply: str, prompt: str, known: Sequence[str]) -> bool:
    """Say whether a reply has eight words in a row of a prompt that are neither in `known` nor given to be said."""
    allowed = [*known, *prescribed_texts(prompt)]
    secret = set(runs_of(prompt, RUN)).difference(*(runs_of(text, RUN) for text in allowed))
    return any(run in secret for run in runs_of(reply, RUN))


def shared_texts(replies: Sequence[str], prompt: str) -> list[str]:
    """Return the runs of eight words of a prompt that three training replies and one in a hundred of them have."""
    asked = dict.fromkeys(runs_of(prompt, RUN))
    counts = Counter(run for reply in replies for run in asked.keys() & set(runs_of(reply, RUN)))
    fewest = max(FEWEST_SHARING, SHARE * len(replies))
    return [run for run in asked if counts[run] >= fewest]


def shared_runs(reply: str, prompt: str) -> float:
    """Return the share of a prompt's runs of three words that a reply has."""
    known = set(runs_of(prompt, SHINGLE))
    return len(known & set(runs_of(reply, SHINGLE))) / len(known) if known else 0.0


def likeness(reply: str, prompt: str) -> float:
    """Return the cosine similarity of a reply and the passage of a prompt closest to it in meaning, from 0 to 1."""
    if not reply.strip():
        return 0.0
    from tuning_room.models.embeddings import packaged

    nearest = float((_passages(prompt) @ packaged()([reply])[0]).max())
    return min(1.0, max(0.0, nearest))


@lru_cache(maxsize=1)
def _passages(prompt: str) -> Any:
    from tuning_room.models.embeddings import packaged

    passages = [line.strip() for line in prompt.splitlines() if count(words_of(line)) >= SHINGLE]
    return packaged()([prompt, *passages])


def words_of(text: str) -> list[str]:
    """Return a text's words as they are compared; a power (x^2) and a decimal are one word."""
    return words(text, joined="_'%^.", alone="")


def runs_of(text: str, size: int) -> Iterator[str]:
    """Yield every run of so many words of a text."""
    return (run for _, run in runs(words_of(text), size))
