"""What a reply gives away that rules can find without a judge: the gold answer, or any result."""

import re
from collections.abc import Iterator
from fractions import Fraction

from tuning_room.checks.claims import claims, held
from tuning_room.checks.numbers import CARDINAL, bare, equal, mentions, quantities, single, stands_in
from tuning_room.checks.sentences import is_marked, sentences

# A result may be set off: "= **12**", "is \boxed{12}", "is (3, 4)".
_RESULT = r"(?P<result>(?:\\boxed\{|\\[(\[]|[-+$(*\[])*(?:\d|\.\d|[¼½¾⅓⅔]|\\[dt]?frac\{|sqrt\()\S*+)"
_SOFT = (
    r"(?:(?:about|exactly|indeed|simply|just|equal to|therefore|then|also|still|now|approximately|roughly|around|"
    r"nearly|always|only|actually|a total of|"
    r"an? (?:result|value|answer|determinant|remainder|slope|length|mean|median) of)\s+)"
)
_VERB = (
    r"(?:[=\u2248]|\b(?:equals?|is|are|was|would be|(?:makes?|gives?|leaves)(?: us| you| me)?|gets?|(?:you|we|I) have|"
    r"comes? (?:out )?to|results? in|becomes?|simplifies to|we find|we obtain|ends? up with):?"
    r"|\b(?:total|sum|product|difference|quotient|remainder|altogether)\s*:)"
)
# "That gives 2 * 68" leaves the product open.
_OPEN = r"(?!\s[*x\u00d7/]\s\d)"
_NEW = re.compile(rf"{_VERB}\s*{_SOFT}*{_RESULT}{_OPEN}", re.IGNORECASE)
# "makes sixty" of anything, and "it is twelve." where nothing follows: "it is one of two ways" counts things.
_IN_WORDS = [
    re.compile(rf"{verb}\s*{_SOFT}*(?P<result>{CARDINAL}){end}", re.IGNORECASE)
    for verb, end in (
        (
            r"(?:=|\b(?:equals?|(?:makes?|gives?)(?: us| you| me)?|comes? (?:out )?to|results? in|totals?|total of))",
            "",
        ),
        # "10% is one tenth" gives another name, no result.
        (rf"(?<!\d)(?<!\d )(?<!%)(?<!% ){_VERB}", r"(?=\s*(?:[.,;!?)*]|$))"),
    )
]
# A wrong result may repeat one of the user's numbers; then only an outright statement counts.
_OPERATOR = r"(?:[-+x*/\u00d7\u00f7\u00b7]|\\times|\\cdot|times|plus|minus|divided by|multiplied by|%? of)"
_CALLED = re.compile(
    r"(?:\b(?:answer|result|solution)\b[^.?!]{0,60}?(?:=|:|\bis|\bequals|\bwould be|\bshould be)"
    rf"|\b(?:it|that|this) (?:should|must|has to) (?:have been|be))\s*{_SOFT}*{_RESULT}{_OPEN}",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    rf"\d\s*{_OPERATOR}\s*\d[\d.,]*(?:\s[a-z]+)?\s*(?:=|\bis|\bequals)\s*{_SOFT}*{_RESULT}", re.IGNORECASE
)
_OUTRIGHT = [_CALLED, _EQUATION]
# Behind this the gold answer is given, though its number stands in the problem: "The mean is 10.", "It's 10."
_STATED = re.compile(
    rf"\b(?:it|that|this|the \w+)(?:['\u2019]s|\s+is|\s+are|\s+makes)\s+{_SOFT}*(?P<result>\S+?)(?:\s[a-z]+)?[.!]*$",
    re.IGNORECASE,
)
_OPEN_PRODUCT = re.compile(r"\d\s?[*x\u00d7\u00b7+-]\d", re.IGNORECASE)
# An analogy's own facts are no results: "let's say I have 20 pencils".
_SUPPOSED = re.compile(
    r"\b(?:let['\u2019]?s (?:say|pretend|imagine|suppose)|imagine|suppose|pretend|assume|picture|(?:if|when) (?:you|"
    r"I|we|there))\b"
    rf"(?:(?!\b(?:then|so)\b)[^,;:])*?\b(?:have|has|had|is|are|was|were|get|gets)\s*{_SOFT}*$",
    re.IGNORECASE,
)
# "If the side was 1, the way around would be 4" is about another problem.
_UNREAL = re.compile(
    r"\W*(?:(?:and|so|but|now)\s+)?(?:if|suppose|imagine|say|let['\u2019]?s say)\b[^.!?,]*\b(?:was|were|had|only)\b",
    re.IGNORECASE,
)
_WH_WORD = re.compile(r"\b(?:what|which|how|why|where|when|who)\b", re.IGNORECASE)
# "How much is 35" claims nothing.
_CLAIM = re.compile(
    r"(?:=|\b(?:got|gets?|(?<!what )(?<!much )is|think|says?|answer))\D{0,8}?(?P<claim>-?\d[\d.,/]*%?)", re.IGNORECASE
)
_POWER = re.compile(r"[a-z]\^", re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,99}(?:\.\d{1,99})?")


def leaks(reply: str, gold: str, said: str, language: str = "") -> bool:
    """Say whether a reply gives the gold answer in any written form, unless the user holds it.

    `said` holds the user's messages. A user who has since come to another result holds that one. The number may also
    merely stand in the problem; then only a reply that calls it the answer gives it away. A problem can contain a
    fraction's value in another form (simplify 168/392); that does not count as having given it. What a comma in a
    number means depends on the language (ISO 639-1).
    """
    problem, _, later = said.strip().partition("\n")
    if single(gold, language) and (now := held(later)):
        return not equal(now.text, gold, language) and _gives(reply, gold, problem, language, said)
    if later and _has(later, gold, language):
        return False
    if any(equal(claim.text, gold, language) for claim in claims(problem)):
        return False
    return _gives(reply, gold, problem, language, said)


def _gives(reply: str, gold: str, problem: str, language: str, said: str) -> bool:
    if _has(problem, gold, language):
        ends = filter(None, (_STATED.search(sentence) for sentence in sentences(reply)))
        given = [*_outright(reply), *ends]
        return any(equal(_bared(match), gold, language) for match in given if not _is_restated(match, problem))
    return mentions(reply, gold, problem, language, said)


def _has(said: str, gold: str, language: str) -> bool:
    claimed = said if bare(gold).lstrip("-").isdigit() else _claims(said)
    return stands_in(said, gold) or mentions(claimed, gold, language=language)


def _outright(reply: str) -> Iterator[re.Match[str]]:
    for sentence in sentences(reply):
        for pattern in _OUTRIGHT:
            for match in pattern.finditer(sentence):
                if not (is_marked(sentence) and _WH_WORD.search(sentence[: match.end()])):
                    yield match


def tells(reply: str, said: str) -> str:
    """Return the first result that a reply asserts, right or wrong; '' if it asserts none.

    What the user has already written is not news: a restated equation is not a result. A question asserts a result only
    outright ("do you see that 3 x 4 = 12?"). How often the rule agrees with a human reader is in docs/metrics.md.
    `said` holds the user's messages, each on a line of its own.
    """
    found = [match for match in _outright(reply) if not _is_known(match, said)]
    for sentence in () if found else sentences(reply):
        if not is_marked(sentence):
            matches = (match for pattern in (_NEW, *_IN_WORDS) for match in pattern.finditer(sentence))
            found += [match for match in matches if not _is_supposed(match) and not _is_known(match, said)]
    return found[0].group().strip() if found else ""


def _is_supposed(match: re.Match[str]) -> bool:
    if _UNREAL.match(match.string):
        return True
    return _SUPPOSED.search(match.string[: match.end() - len(match["result"])]) is not None


def _bared(match: re.Match[str]) -> str:
    return match["result"].strip("$(*[").rstrip(".,;:!?)*]}$\\")


def _is_restated(match: re.Match[str], said: str) -> bool:
    return _squeezed(match.group()).rstrip(".,;:!?)") in _squeezed(said)


def _is_known(match: re.Match[str], said: str) -> bool:
    """Say whether the user has already given the result of a match, or it is none yet."""
    result = _bared(match)
    values = _sizes(result)
    if match.re is _CALLED:
        now, problem = held(said), said.strip().partition("\n")[0]
        theirs = {abs(now.value)} if now else set()
        return _is_restated(match, said) or (bool(values) and values <= theirs | _sizes(_claims(problem)))
    if match.re is _EQUATION:
        return _is_restated(match, said) or (bool(values) and values <= _sizes(_claims(said)))
    if _OPEN_PRODUCT.search(result):
        return True
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
