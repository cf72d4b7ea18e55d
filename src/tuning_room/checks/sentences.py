"""Sentences of a reply: which of them ask, and what is stated beside the questions."""

import re
from collections.abc import Iterator

from tuning_room.checks.marks import asks_by_particle, is_marked, split, without_end

_CLOSING = "\"')*_\u201d\u00bb\u300d"
_WH = r"(?:what|which|how|why|where|when|who)"
_AUXILIARY = r"(?:is|are|was|were|do|does|did|can|could|would|will|should|shall|have|has|may|might)(?:n't)?"
_LEAD = r"(?:(?:so|and|now|then|but|okay|ok|well|good|please|next)\b,?\s+)*"
# A question without its mark: "What is 3 x 4", "Tell me what you get".
_UNMARKED = re.compile(
    rf"{_LEAD}(?:whats\b|{_WH}(?:'s\b|\s+(?:{_AUXILIARY}|comes?|goes|happens|much|many)\b)"
    rf"|(?:what|which)\s+\w+\s+(?:{_AUXILIARY}|comes?|goes)\b"
    rf"|(?:can|could|would|do|did|will)\s+you\b)",
    re.IGNORECASE,
)
# Where there is no question, a request to be told something asks: "Tell me what you get", "write it down for me".
_REQUEST = re.compile(
    r"^please\s+(?:write|draw|say|name|try|count|read|look)\b|"
    r"(?:^|[,;:\u2013\u2014-]|\band\b|\bthen\b)\s*(?:(?:please|now|just|first|and|then|so)\b,?\s+)*"
    rf"(?:(?:tell|show|give|send|write)\s+me\b|let me know\s+(?:{_WH}|your|the)\b|explain(?: to me)?\s+{_WH}\b|"
    rf"(?:say|describe|guess)\s+(?:to me\s+)?(?:{_WH}|your|the)\b|(?:write|note|put)\b[^.!?]*\b(?:down|for me)\b|"
    r"(?:pick|list|name|find|choose|count)\b[^.!?]*\b(?:for me|please)\b|(?:list|name)\s+(?:the|all|some|an?|one|two|"
    r"three)\b|"
    r"explain\b[^.!?]*\b(?:to me|in your own words)\b|I(?:'d| would) (?:like|love) to (?:hear|know)\b|"
    rf"I'm curious\s+{_WH}\b)"
    r"(?!\s+(?:if|when|as soon)\b)",
    re.IGNORECASE,
)
_SELF_ANSWERED = re.compile(r"\W*(?:well,?\s+)?(?:it's\s+)?(?:because\b|yes,? it is\b)", re.IGNORECASE)
_TAG = (
    r"(?:huh|eh|hm+|gell|ne|nicht wahr|oder|verdad|n'est-ce pas|isn't (?:it|that|this) \w+|right|correct|okay|ok|"
    r"all right|alright|yes|no|see|clear|agreed|deal|ready|understood|understand(?: that)?|"
    r"got (?:it|that)|get it|make sense|sound good|shall we|you know|is that (?:clear|ok|okay)|"
    r"(?:does|did) (?:that|this|it) (?:all )?(?:make sense|help|sound (?:good|right|okay))|"
    r"do you (?:get|see|follow|understand)(?: (?:it|that|this|me|now|what i mean))*|"
    r"are you (?:with me|ready|following)|"
    r"(?:is|are|was|do|does|did|has|have|can|could|would|will|should)n't (?:it|that|they|you|we|there))"
)
_ONLY_TAG = re.compile(rf"{_LEAD}{_TAG}(?: so far| now)?", re.IGNORECASE)
_ENDS_IN_TAG = re.compile(
    rf"[,;\u2013\u2014-]\s*(?:{_TAG}|you see|(?:is|was|are|were|does|did|do) (?:it|that|they|you))$|\s(?:huh|eh|gell)$",
    re.IGNORECASE,
)
_OPENS_QUESTION = re.compile(rf"{_LEAD}(?:{_WH}|{_AUXILIARY})\b", re.IGNORECASE)
# Where the question of a longer sentence begins: "Yes, 54 is right, and how could you check it?"
_QUESTION_PART = re.compile(
    rf"(?:^|[,;:\u2013\u2014]|\s-\s|\b(?:and|so|but|now|then)\b)\s*{_LEAD}(?:{_WH}|{_AUXILIARY})\b", re.IGNORECASE
)


def sentences(text: str) -> list[str]:
    """Return a text's sentences."""
    return split(text)


def straight(text: str) -> str:
    """Return a text with straight apostrophes, as patterns have them."""
    return text.replace("\u2019", "'")


def questions(text: str) -> list[str]:
    """Return the sentences that ask something, with or without a mark; without any, those that request an answer.

    A tag asks nothing that leads on, neither by itself ("Do you get it?") nor behind a statement ("..., right?"), nor
    does a question that is answered at once ("Why? Because ...").
    """
    found = sentences(straight(text))
    pairs = zip(found, [*found[1:], ""], strict=False)
    asked = [sentence for sentence, after in pairs if _asks(sentence) and not _is_answer(after, sentence)]
    return asked or [sentence for sentence in found if not is_marked(sentence) and _REQUEST.search(sentence)]


def _is_answer(sentence: str, question: str) -> bool:
    if _SELF_ANSWERED.match(sentence):
        return True
    # "What is the trick? The trick is ..."
    subject = re.match(r"\W*the (\w+) (?:is|was|are)\b", sentence, re.IGNORECASE)
    return subject is not None and not is_marked(sentence) and f"the {subject[1].lower()}" in question.lower()


def _asks(sentence: str) -> bool:
    bare = sentence.rstrip(_CLOSING)
    if not is_marked(sentence):
        lacks_end = bare[-1:].isalnum() and re.search(r",\s*whats?(?:'s)?\b", bare, re.IGNORECASE)
        return _asks_unmarked(bare) or bool(lacks_end)
    bare = without_end(sentence).lstrip(_CLOSING)
    if _ONLY_TAG.fullmatch(bare):
        return False
    return not _ENDS_IN_TAG.search(bare) or _OPENS_QUESTION.match(bare) is not None


def _asks_unmarked(sentence: str) -> bool:
    return _UNMARKED.match(sentence) is not None or asks_by_particle(sentence)


def asks(reply: str) -> int:
    """Count the questions of a reply; a reply without any that requests an answer has one."""
    return min(1, len(found)) if (found := questions(reply)) and not any(map(_asks, found)) else len(found)


def statements(text: str) -> Iterator[str]:
    """Yield what a text states: sentences that ask nothing, and what stands before the question of one that does.

    >>> list(statements("Right, and how could you check 54? Is 54 right? You have 54."))
    ['Right', 'You have 54.']
    """
    for sentence in sentences(straight(text)):
        if not is_marked(sentence):
            if not _asks_unmarked(sentence):
                yield sentence
        elif (begins := _QUESTION_PART.search(sentence)) and sentence[: begins.start()].strip():
            yield sentence[: begins.start()].strip()
