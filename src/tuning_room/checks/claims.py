"""What the user holds to be the result: read from a message, and compared with the gold answer."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from tuning_room.checks.numbers import NUMBER, equal, numbers_in, quantities, single
from tuning_room.checks.sentences import asks, straight

_VALUE = rf"[$\u20ac\u00a3]?(?:{NUMBER})\s?%?"
_OPERATOR = r"(?:[-+*x/\u2212\u00d7\u00f7\u00b7]|times|plus|minus|divided by|multiplied by|of)"
EXPRESSION = re.compile(rf"(?<![\w.^]){_VALUE}(?:\s*{_OPERATOR}\s*{_VALUE})+", re.IGNORECASE)
_UNKNOWN = re.compile(r"(?:(?<![a-z])[a-z]|\))\s*[-+*/\u2212\u00d7\u00f7\u00b7]\s*$", re.IGNORECASE)
_PARTS = re.compile(rf"(?P<value>{_VALUE})|(?P<operator>{_OPERATOR})", re.IGNORECASE)
_SIGNS = {"x": "*", "\u00d7": "*", "\u00b7": "*", "times": "*", "multiplied by": "*", "of": "*"} | {
    "\u00f7": "/",
    "divided by": "/",
    "plus": "+",
    "minus": "-",
    "\u2212": "-",
}
_EQUALS = (
    r"(?:,?\s*\b(?:that|which|it|this)(?:'s|\s+(?:is|makes|gives|equals)\b)|=|\bis|\bequals?|\bmakes?|\bgives?|"
    r"\bgets?(?: me)?|\bcomes? to|\bgot)"
)
_FILLER = (
    r"(?:[\s:,*$(]|\b(?:about|just|only|exactly|it|it'?s|that|to|be|is|like|the|an?|answer|result|total|of|"
    r"as|maybe|still|now|again|for)\b|[a-z]\s*=)*"
)
# What makes a number the user's own result, whatever else the message says.
_FIRM = re.compile(
    rf"(?:\b(?:I|we|she|he|they|you)(?:'(?:m|ve|d))?(?: \w+)?? (?:gets?|getting|think|guess|says?|said|ended up with|"
    rf"end up with|c[ao]me (?:up with|to|out (?:at|with))|calculated|made it|reckon|believe|arrived at)"
    rf"|\b(?:my|the|our|final) (?:final )?(?:answer|result|solution|total|guess)(?: (?:is|was|should be|must be|"
    rf"has to be))?"
    rf"|\b(?:answer|result|solution|it says|is it|is that|got|found)|\bend(?:ed)? up with){_FILLER}$",
    re.IGNORECASE,
)
_WEAK = re.compile(
    rf"(?:=|\u2248|\b(?:it|that|this|which|total|together|altogether|then|x|y|n)(?:'s| is| are| makes?| gives?| "
    rf"equals?| leaves| comes to)|\b(?:makes?|gives?|equals?|together|therefore|thus|then|so|comes to|is|are|have|"
    rf"had)){_FILLER}$",
    re.IGNORECASE,
)
_SAYS_SO = re.compile(
    r"\s*[*)\]]*(?:\s[a-z]+)?,?\s*(?:(?:is|was) (?:that |this )?(?:right|correct|my|the (?:right |final )?(?:answer|"
    r"result))"
    r"|(?:right|correct|yes|is that right|is that correct|is it|good|ok|okay)\s*\?)",
    re.IGNORECASE,
)
_ASKED_FOR = re.compile(
    r"\b(?:what|how (?:much|many|do|can|to|would)|which|find|solve|work out|compute|calculate|evaluate|simplify|factor|"
    r"expand|please)\b",
    re.IGNORECASE,
)
# Behind "I" the same verbs tell what its user did.
_ORDERED = re.compile(
    r"(?:^|[.!?,;:\n]|\b(?:please|and|you|to|then|me))\W*"
    r"(?:write|express|convert|round|turn|change|put|reduce|determine|state|give)\b",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"\b(?:if|when|where|let|given|suppose|what|how (?:much|many)|for)\b[^.!?;]*$", re.IGNORECASE)
_GOES_ON = re.compile(
    r"\s*(?:[a-z]{3,}\s)?\s*(?:[-+*/x\u2212\u00d7\u00f7^]|times|plus|minus|divided by|%? of)\s*[\d($\u20ac\u00a3]",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[.!?\n]+(?:\s+|$)|\n")
_LETTER = re.compile(r"(?:^|[\s,;:(])[a-z](?:\([a-z\d]\))?\s*=\s*$", re.IGNORECASE)
_SHORT = 4  # words beside its number that leave a message an answer


class Claim(NamedTuple):
    """A number that a user gives as a result; `worked` is what the arithmetic before its equals sign comes to.

    It is `firm` if the user calls it a result ("I got 54", "54, right?"); else it may be a step.
    """

    text: str
    value: Fraction
    worked: Fraction | None = None
    firm: bool = True


def evaluated(text: str) -> Fraction | None:
    """Return the value of the arithmetic that a text ends with or consists of; None if there is none.

    What goes on from an unknown has no value: x/4 + 3.

    >>> evaluated("I know that 3 + 4 x 5")
    Fraction(23, 1)
    """
    last = next(reversed(list(EXPRESSION.finditer(text.rstrip(" ,*?.)$\u20ac\u00a3")))), None)
    if last is None or last.end() < len(last.string) or _UNKNOWN.search(last.string[: last.start()]):
        return None
    return _worked_out(last.group())


def _worked_out(expression: str) -> Fraction | None:
    terms: list[Fraction] = []
    sign = "+"
    for part in _PARTS.finditer(expression):
        if part["operator"]:
            sign = _SIGNS.get(part["operator"].lower(), part["operator"])
            continue
        read = next(quantities(part["value"]), None)
        if read is None or (sign == "/" and not read[0]):
            return None
        value = read[0] / 100 if read[1] else read[0]
        if sign in "*/" and terms:
            terms[-1] = terms[-1] * value if sign == "*" else terms[-1] / value
        else:
            terms.append(-value if sign == "-" else value)
    return sum(terms, Fraction(0))


def claims(message: str) -> Iterator[Claim]:
    """Yield the numbers that a message gives as its user's results, in its order.

    >>> [claim.text for claim in claims("I got 7 x 8 = 54. Is that right?")]
    ['54']
    >>> [claim.text for claim in claims("How much is 35% of 580?")]
    []
    """
    message = straight(message)
    for number in numbers_in(message):
        before, after = message[: number.begin], message[number.end :]
        if _GOES_ON.match(after):
            continue
        begins = [match.end() for match in _ENDS.finditer(before)][-1:]
        sentence = before[begins[0] :] if begins else before
        equation = re.search(rf"{_EQUALS}[\s*$\u20ac\u00a3:]*$", before, re.IGNORECASE)
        worked = evaluated(before[: equation.start()]) if equation else None
        if (worked is not None and worked != number.value) or _is_firm(sentence, after):
            yield Claim(number.text, number.value, worked)
        elif worked is not None or _is_loose(sentence, after):
            yield Claim(number.text, number.value, worked, firm=False)


def _is_firm(sentence: str, after: str) -> bool:
    asks = re.search(r"\b(?:what|how)\b", sentence, re.IGNORECASE)
    return not asks and bool(_SAYS_SO.match(after) or _FIRM.search(sentence))


def _is_loose(sentence: str, after: str) -> bool:
    """Say whether a number may be a result by where it stands in its sentence: alone, last, or behind "is" and "=".

    A message that asks for something behind it states a problem.
    """
    if _SUPPOSED.search(sentence) or _ORDERED.search(sentence) or _ASKED_FOR.search(after):
        return False
    if sentence.rstrip(" *$").endswith("="):
        # "1 dog + 4 cats = 5" adds up; "3x + 4 = 19" is an equation to be solved.
        unknowns = re.search(r"\b\d*[a-z]\b", sentence, re.IGNORECASE)
        return _LETTER.search(sentence) is not None or unknowns is None
    rest = _ENDS.split(after)[0]
    around = sentence + " " + rest
    alone = not re.search(r"\d", around) and len(re.findall(r"[^\W\d_]+", around)) <= _SHORT
    last = len(rest.split()) <= _SHORT - 2 and sentence.rstrip().endswith((",", "->", ":"))
    return (alone and not _ASKED_FOR.search(sentence)) or last or _WEAK.search(sentence) is not None


def held(messages: str) -> Claim | None:
    """Return the result that a user, whose messages stand each on a line, last gave as theirs; None if none."""
    for message in reversed(messages.splitlines()):
        # A true equation checks or prepares a result; it takes none back.
        if found := [claim for claim in claims(message) if claim.worked != claim.value]:
            return found[-1]
    return None


def wrong_result(latest: str, gold: str, *, claim: str = "", asked: str = "") -> Claim | None:
    """Return a result that the user holds and that is not the gold answer; None if there is none.

    That is `claim`, or else the last one that `latest` gives. An equation is judged by its own arithmetic: a right step
    is not wrong, even where it is not yet the answer; nor is the right answer to the arithmetic that the reply before,
    `asked`, asks for. What answers a question may be a step, and is not firm.
    """
    if not gold:
        return None
    if claim:
        return None if _same(claim, gold) else Claim(claim, Fraction(0))
    found = list(claims(latest)) if single(gold) else []
    if not found or _same(found[-1].text, gold) or found[-1].worked == found[-1].value:
        return None
    last = found[-1]
    if last.value in [_worked_out(match.group()) for match in EXPRESSION.finditer(asked)]:
        return None
    # A bare number firmly answers the problem, unless a reply before it has asked for something else.
    return last._replace(firm=last.firm or (not asks(asked) and _is_bare(latest)))


def _same(claim: str, gold: str) -> bool:
    # Where percent are asked for, 30 and 30% are one result.
    return equal(claim, gold) or equal(claim.rstrip("% "), gold.rstrip("% "))


def _is_bare(message: str) -> bool:
    return len(re.findall(r"[^\W\d_]+", message)) <= _SHORT
