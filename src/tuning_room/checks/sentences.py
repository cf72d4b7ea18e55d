"""Sentences of a reply: which of them ask, and what is stated beside the questions."""

import re
import unicodedata
from collections.abc import Callable, Iterator

import regex

from tuning_room.words import SPACELESS

# Every question mark of Unicode that ends a sentence; the Armenian one stands within a word, and the Greek one is also
# typed as a semicolon.
MARKS = (
    "?\uff1f\u061f\u037e\u1367\u1945\u203d\u2047\u2048\u2049\u2753\u2754\u2cfa\u2cfb\u2e2e\u2e54\ua60f\ua6f7\ufe16\ufe56"
    "\U00011143\U0001f679\U0001f67a\U0001f67b\U0001fbc4"
)
_ARMENIAN_MARK = "\u055e"
# What may stand behind the mark: quotation marks and brackets, markup, an exclamation, dots, and emoji.
_QUOTES = r"\"'`\u2019\u201d\u201c\u00bb\u00ab\u300d\u300f"
_EMOJI = rf"[\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}\p{{Regional_Indicator}}\ufe0f\u200d\u20e3]--[{MARKS}]"
_BEHIND = (
    rf"(?:[\p{{Pe}}\p{{Pf}}\p{{Pi}}{_QUOTES}*_~!\uff01\u061c\u200b\u200e\u200f\s]|[{_EMOJI}]|\.{{2,}}|\u2026|\$|"
    rf"(?<=[{_QUOTES}])[.\u3002]|</\w{{1,10}}>)"
)
_MARKED = regex.compile(
    # What begins with an inverted mark asks even if it lacks the other.
    rf"[{MARKS}]{_BEHIND}*+$|[\u00bf\u2e18\U0001e95f](?=\w)|{_ARMENIAN_MARK}",
    regex.V1,
)
# A semicolon asks in Greek; a single letter is a name in a formula.
_SEMICOLON, _GREEK = regex.compile(rf";{_BEHIND}*+$", regex.V1), regex.compile(r"\p{Greek}{2}")
_END = regex.compile(rf"(?:[{MARKS};.]|{_BEHIND})*+$", regex.V1)
# With a space behind it and without.
_STOPS, _FULL_STOPS = (
    r".!?\u2026\u06d4\u061f",
    r"\u3002\uff01\uff1f\uff61\u0964\u0965\u1362\u1367\u1368\u17d4\u104b\u0589",
)
_BOUNDARY = regex.compile(
    # Dots and a mark behind them are one end.
    rf"(?<=[{_STOPS}{MARKS}])\s+(?![{MARKS}!])"
    # Behind a quotation that ends, small letters go on with the sentence.
    rf"|(?<=[{_STOPS}{MARKS}](?:[\p{{Pe}}\p{{Pf}}{_QUOTES}*_]|[{_EMOJI}]){{1,8}})\s+(?!\p{{Ll}})"
    rf"|(?<=[{_FULL_STOPS}][\p{{Pe}}\p{{Pf}}{_QUOTES}*_]{{0,4}})(?![{_FULL_STOPS}\p{{Pe}}\p{{Pf}}{_QUOTES}*_!?.])\s*"
    rf"|(?<=[?!])(?=[{SPACELESS}])|(?<=\p{{L}}[{MARKS}])(?=[(\uff08]\p{{L}}{{2}})|(?<=\u061f)(?=\p{{Arabic}})|(?<=[\p{{Greek}}\d][\u00bb\")]?;)\s+(?=\W*\p{{Greek}}{{2}})|"
    rf"(?<=\p{{Armenian}}:)\s+|\n+",
    regex.V1,
)
_ADDRESS = regex.compile(r"(?:https?://|www\.)[^\s<>\"]+")
_CODE = regex.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", regex.DOTALL)
# A question mark that asks nothing. Where a sentence could end behind it, it asks.
_NAMES_A_SIGN = (
    r"the|an?|each|every|this|symbol|sign|mark|character|key|letter|placeholder|wildcard|operator|press|type|hit|"
    r"zeichen|taste|signe|touche|signo|tecla"
)
_TYPES = (
    r"int|string|str|bool|boolean|float|double|long|char|byte|short|number|object|decimal|datetime|guid"  # C#, Kotlin
)
_MOVE = r"[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|(?<=\d\.\s?)[a-h][1-8]|O-O"
_MARK_AS_SIGN = regex.compile(
    "|".join(
        (
            rf"(?<=\b(?i:{_NAMES_A_SIGN})\s)\?{{1,2}}(?=\s+[\p{{Ll}}\d])",  # the ? key
            r"(?<=[\"'\u201c\u2018\u00ab(\[])\?{1,2}(?=[\"'\u201d\u2019\u00bb)\]])",  # "?"
            r"(?<![\w)\]}$=])\?(?=\s?[=+*/\u00d7\u00f7<>\u2212-]\s?[\w(])",  # ? + 3 = 7
            r"(?<=[=<>]\s?)\?(?=\s+(?i:and|or|order|limit|group)\b)",  # where a = ? and b
            r"(?<=[(,]\s?)\?(?=\s?[,)])",  # values (?, ?)
            rf"(?<=\b(?i:{_TYPES}))\?(?=\s+\p{{Ll}}|[,)>\[])",  # int? x
            r"(?<=\w\s)\?\?=?(?=\s[\p{Ll}\d\"'])",  # a ?? b
            r"(?<=[\w)\]])\?\.(?=\p{Ll})",  # a?.b
            r"(?<=\w\s)\?(?=\s[\w\"'.]{1,20}\s:\s)",  # a ? b : c
            rf"(?<=\b(?:{_MOVE})[+#]?!?)\?{{1,2}}!?(?=\s+[\p{{Ll}}\d])",  # Nf3? is a mistake
        )
    )
)
_LEAST_WORDS = 3  # between backticks, of a question in words
_HIDDEN_MARK = "\ue000"
_HIDDEN = str.maketrans("?!", 2 * _HIDDEN_MARK)

# Where a question needs no mark: what such sentences end in (or, in Arabic, begin with).
_PARTICLES = [
    regex.compile(pattern)
    for pattern in (
        r"[\u5417\u5462]\W*$",  # Chinese
        r"(?:です|ます|でしょう|ません|でした|ました|だろう|なの|ない)か\W*$",
        r"(?:လား|လဲ|နည်း)[\s။]*$",
        r"(?:ไหม|มั้ย|หรือไม่|หรือเปล่า|รึเปล่า|หรือยัง|(?<!ไม่มี)อะไร|ทำไม|อย่างไร|ยังไง|เท่าไหร่|เท่าไร|"
        r"ที่ไหน|เมื่อไหร่|เมื่อไร|ใคร)"
        r"(?:ครับ|คะ|ค่ะ|นะ|บ้าง|ดี)*(?:\s|$)",
        r"(?<!ไม่มี)อะไร[^\s\n]{1,40}บ้าง(?:ครับ|คะ|ค่ะ|นะ)*\s*$",
        # "It is nothing but" begins like "what is", and "how beautiful it is" like "how many".
        r"^\W*(?:هل|لماذا|ماذا|أين|ما ه[وي](?! إلا)|كم(?! ه[وي]\b))\s",
    )
]
# Korean in parts of syllables: "-mnikka", "-kkayo" but not "-nikkayo", which gives a reason, "-nayo" and "-n-gayo".
_KOREAN = regex.compile(
    r"(?:\u11ab\u1100\u1161\u110b\u116d|\u11b8\u1102\u1175\u1101\u1161|(?<!\u1102\u1175)\u1101\u1161\u110b\u116d|\u1102\u1161\u110b\u116d)\W*$"
)


def sentences(text: str) -> list[str]:
    """Return the parts of a text at the ends of its sentences, blank ones left out."""
    shown, parts, start = _without_hidden_marks(text), [], 0
    for match in _BOUNDARY.finditer(shown):
        parts.append(text[start : match.start()])
        start = match.end()
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def is_marked(sentence: str) -> bool:
    """Return whether a sentence bears a question mark of any script, whatever stands behind it.

    >>> is_marked("What?!"), is_marked("“Τι;”"), is_marked("Ո՞ր։"), is_marked("See https://example.org/a?b=1")
    (True, True, True, False)
    """
    if _MARKED.search(_without_hidden_marks(sentence)):
        return True
    return _SEMICOLON.search(sentence) is not None and _GREEK.search(sentence) is not None


def without_end(sentence: str) -> str:
    """Return a sentence without its marks and what stands behind them."""
    return str(_END.sub("", sentence))


def asks_by_particle(sentence: str) -> bool:
    """Return whether a sentence asks without a mark, as Chinese, Japanese, Korean, Thai and others do."""
    if sentence.isascii():
        return False
    return any(pattern.search(sentence) for pattern in _PARTICLES) or bool(
        _KOREAN.search(unicodedata.normalize("NFD", sentence))
    )


def _without_hidden_marks(text: str) -> str:
    """Return a text of the same length in which a question mark in an address or in code is none."""
    if "?" not in text:
        return text
    text = _CODE.sub(_masked(_is_code), _ADDRESS.sub(_masked(lambda _: True), text))
    return str(_MARK_AS_SIGN.sub(lambda match: match.group().translate(_HIDDEN), text))


def _masked(applies: Callable[[str], bool]) -> "Callable[[regex.Match[str]], str]":
    def mask(match: "regex.Match[str]") -> str:
        found: str = match.group()
        # At the end of an address the mark may be the sentence's.
        kept = len(without_end(found)) if not found.startswith("`") else len(found)
        return found[:kept].replace("?", _HIDDEN_MARK) + found[kept:] if applies(found) else found

    return mask


def _is_code(found: str) -> bool:
    inner = found.strip("`").strip()
    return found.startswith("```") or not (inner.endswith("?") and len(inner.split()) >= _LEAST_WORDS)


_OPENS_TOO = "\u1945\u2e2e\ua60f"  # marks that some set before a question as well
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
    if not bare and sentence[0] in _OPENS_TOO:
        return False
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
