"""Sentences of a reply: which of them ask, and what is stated beside the questions."""

import re
from collections.abc import Iterator

# Full-width and Arabic marks as well; the full-width ones are followed by no space.
MARKS = "?\uff1f\u061f"
_SENTENCE = re.compile(r"(?<=[.!?\u061f])\s+|(?<=[\u3002\uff01\uff1f])\s*|\n+")
_CLOSING = "\"')*_\u201d\u00bb\u300d"
_WH = r"(?:what|which|how|why|where|when|who)"
_AUXILIARY = r"(?:is|are|was|were|do|does|did|can|could|would|will|should|shall|have|has|may|might)(?:n't)?"
_LEAD = r"(?:(?:so|and|now|then|but|okay|ok|well|good|please|next)\b,?\s+)*"
# A question without its mark: "What is 3 x 4", "Tell me what you get".
_UNMARKED = re.compile(
    rf"{_LEAD}(?:{_WH}(?:'s\b|\s+(?:{_AUXILIARY}|comes?|goes|happens|much|many)\b)"
    rf"|(?:what|which)\s+\w+\s+(?:{_AUXILIARY}|comes?|goes)\b"
    rf"|(?:tell|show)\s+me\s+{_WH}\b"
    rf"|(?:can|could|would|do|did|will)\s+you\b)",
    re.IGNORECASE,
)
_TAG = (
    r"(?:right|correct|okay|ok|all right|alright|yes|no|see|clear|agreed|deal|ready|understood|understand(?: that)?|"
    r"got (?:it|that)|get it|make sense|sound good|shall we|you know|is that (?:clear|ok|okay)|"
    r"(?:does|did) (?:that|this|it) (?:all )?(?:make sense|help|sound (?:good|right|okay))|"
    r"do you (?:get|see|follow|understand)(?: (?:it|that|this|me|now|what i mean))*|"
    r"are you (?:with me|ready|following)|"
    r"(?:is|are|was|do|does|did|has|have|can|could|would|will|should)n't (?:it|that|they|you|we|there))"
)
_ONLY_TAG = re.compile(rf"{_LEAD}{_TAG}(?: so far| now)?", re.IGNORECASE)
_ENDS_IN_TAG = re.compile(rf"[,;\u2013\u2014-]\s*{_TAG}$", re.IGNORECASE)
_OPENS_QUESTION = re.compile(rf"{_LEAD}(?:{_WH}|{_AUXILIARY})\b", re.IGNORECASE)
# Where the question of a longer sentence begins: "Yes, 54 is right, and how could you check it?"
_QUESTION_PART = re.compile(
    rf"(?:^|[,;:\u2013\u2014]|\s-\s|\b(?:and|so|but|now|then)\b)\s*{_LEAD}(?:{_WH}|{_AUXILIARY})\b", re.IGNORECASE
)


def sentences(text: str) -> list[str]:
    """Return a text's sentences."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def straight(text: str) -> str:
    """Return a text with straight apostrophes, as patterns have them."""
    return text.replace("\u2019", "'")


def questions(text: str) -> list[str]:
    """Return the sentences that ask something, with or without a mark.

    A tag asks nothing that leads on, neither by itself ("Do you get it?") nor behind a statement ("..., right?").
    """
    return [sentence for sentence in sentences(straight(text)) if _asks(sentence)]


def _asks(sentence: str) -> bool:
    bare = sentence.rstrip(_CLOSING)
    if not bare.endswith(tuple(MARKS)):
        return _UNMARKED.match(bare) is not None
    bare = bare.rstrip(MARKS).strip()
    if _ONLY_TAG.fullmatch(bare):
        return False
    return not _ENDS_IN_TAG.search(bare) or _OPENS_QUESTION.match(bare) is not None


def asks(reply: str) -> int:
    """Count the questions of a reply."""
    return len(questions(reply))


def statements(text: str) -> Iterator[str]:
    """Yield what a text states: sentences that ask nothing, and what stands before the question of one that does.

    >>> list(statements("Right, and how could you check 54? Is 54 right? You have 54."))
    ['Right', 'You have 54.']
    """
    for sentence in sentences(straight(text)):
        if not sentence.rstrip(_CLOSING).endswith(tuple(MARKS)):
            if not _UNMARKED.match(sentence):
                yield sentence
        elif (begins := _QUESTION_PART.search(sentence)) and sentence[: begins.start()].strip():
            yield sentence[: begins.start()].strip()
