"""Properties of a reply that rules can find without a judge: does it ask, tell, leak, or miss the topic?"""

import re
from fractions import Fraction

from tuning_room.checks.numbers import bare, mentions, quantities, stands_in

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
# A result may be set off: "= **12**", "is \boxed{12}", "is (3, 4)".
_RESULT = r"(?P<result>(?:\\boxed\{|\\[(\[]|[-+$(*\[])*(?:\d|\.\d|[¼½¾⅓⅔]|\\[dt]?frac\{|sqrt\()\S*+)"
_SOFT = (
    r"(?:(?:about|exactly|indeed|simply|just|equal to|therefore|then|also|still|now|approximately|roughly|around|"
    r"nearly|always|only|actually|a total of|"
    r"an? (?:result|value|answer|determinant|remainder|slope|length|mean|median) of)\s+)"
)
_VERB = (
    r"(?:[=\u2248]|\b(?:equals?|is|are|was|would be|(?:makes?|gives?|leaves)(?: us| you| me)?|gets?|(?:you|we|I) have|"
    r"comes? (?:out )?to|results? in|becomes?|simplifies to|we find|we obtain):?)"
)
# "That gives 2 * 68" leaves the product open.
_OPEN = r"(?!\s[*x\u00d7/]\s\d)"
_NEW = re.compile(rf"{_VERB}\s*{_SOFT}*{_RESULT}{_OPEN}", re.IGNORECASE)
# A wrong result may repeat one of the user's numbers; then only an outright statement counts.
_OPERATOR = r"(?:[-+x*/\u00d7\u00f7\u00b7]|\\times|\\cdot|times|plus|minus|divided by|multiplied by|%? of)"
_OUTRIGHT = re.compile(
    rf"(?:\b(?:answer|result|solution)\b[^.?!]{{0,60}}?(?:=|:|\bis|\bequals)"
    rf"|\d\s*{_OPERATOR}\s*\d[\d.,]*(?:\s[a-z]+)?\s*(?:=|\bis|\bequals))\s*{_SOFT}*{_RESULT}",
    re.IGNORECASE,
)
_WH_WORD = re.compile(r"\b(?:what|which|how|why|where|when|who)\b", re.IGNORECASE)
# "How much is 35" claims nothing.
_CLAIM = re.compile(
    r"(?:=|\b(?:got|gets?|(?<!what )(?<!much )is|think|says?|answer))\D{0,8}?(?P<claim>-?\d[\d.,/]*%?)", re.IGNORECASE
)
_POWER = re.compile(r"[a-z]\^", re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,99}(?:\.\d{1,99})?")
_SHORT_NAME = re.compile(r"\b[A-Z]{2,3}(?=s?\b)")
_STOP = set(
    "about after again also another answer because before both could does done down each even every first from give "
    "given good have help here into just know known let like look make many more most much need next only other over "
    "please question result right same should show solve some step take tell than that them then there these they "
    "thing think this those through time what when where which while will with work would write wrong your".split()
)


def sentences(text: str) -> list[str]:
    """Return a text's sentences."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def words(text: str) -> list[str]:
    """Return a text's words and numbers."""
    return re.findall(r"[\w'./%^]+", text)


def asks(reply: str) -> int:
    """Count the questions of a reply."""
    return sum(1 for sentence in sentences(reply) if sentence.rstrip("\"')*_").endswith("?"))


def leaks(reply: str, gold: str, said: str) -> bool:
    """Say whether a reply contains the gold answer in any written form, unless the user has given it.

    `said` holds the user's messages. A problem can contain a fraction's value in another form (simplify 168/392); that
    does not count as having given it.
    """
    claimed = said if bare(gold).lstrip("-").isdigit() else _claims(said)
    return mentions(reply, gold, besides=said) and not (stands_in(said, gold) or mentions(claimed, gold))


def tells(reply: str, said: str) -> str:
    """Return the first result that a reply asserts, right or wrong; '' if it asserts none.

    What the user has already written is not news: a restated equation is not a result. A question asserts a result only
    outright ("do you see that 3 x 4 = 12?"). How often the rule agrees with a human reader is in docs/lab_log.md.
    `said` holds the user's messages, each on a line of its own.
    """
    for sentence in sentences(reply):
        is_question = sentence.endswith("?")
        for pattern in [_OUTRIGHT] if is_question else [_NEW, _OUTRIGHT]:
            for match in pattern.finditer(sentence):
                if is_question and _WH_WORD.search(sentence[: match.end()]):
                    continue
                if not _is_known(match, said):
                    return match.group().strip()
    return ""


def _is_known(match: re.Match[str], said: str) -> bool:
    """Say whether the user has already given the result of a match."""
    result = match["result"].strip("$(*[").rstrip(".,;:!?)*]}$\\")
    values = _sizes(result)
    if match.re is _OUTRIGHT:
        restated = _squeezed(match.group()).rstrip(".,;:!?)") in _squeezed(said)
        return restated or (bool(values) and values <= _sizes(_claims(said)))
    if _POWER.search(result) and _squeezed(result) not in _squeezed(said):
        # "3x^4" and "3x^5" are different terms, even if the user has mentioned all the numbers.
        return False
    # An equation set to zero is a step, not a result.
    return values <= _sizes(said) | {Fraction(0)}


def _sizes(text: str) -> set[Fraction]:
    """Return the numbers of a text without their signs: the sign in '- 42' belongs to the sentence, not the number."""
    return {abs(value) for value, _ in quantities(text)} | {Fraction(digits) for digits in _DIGITS.findall(text)}


def _claims(said: str) -> str:
    """Return what the user gave as results: after 'got' or '=', or in a later message."""
    first, _, later = said.strip().partition("\n")
    return " ; ".join([*(match["claim"] for match in _CLAIM.finditer(first)), later])


def _squeezed(text: str) -> str:
    text = re.sub(r"\b(?:is|equals)\b", "=", text.lower())
    return re.sub(r"[\s*]+", "", text)


def off_topic(reply: str, said: str) -> bool:
    """Say whether a reply shares no number, no symbol such as 3x and no stem of a content word with the user's text."""
    return _topics(reply).isdisjoint(_topics(said))


def _topics(text: str) -> set[str]:
    found = {word.lower() for word in re.findall(r"[A-Za-z]{4,}", text)}
    symbols = re.findall(r"\d*[a-z]\^?\d+|\d+[a-z]\b", text.lower())
    # Short words are mostly function words; in capitals they are names of things: VPN, PC.
    return {word[:5] for word in found - _STOP}.union(_SHORT_NAME.findall(text), _DIGITS.findall(text), symbols)
