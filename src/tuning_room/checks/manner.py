"""How a reply speaks to its user: names a feeling, explains a word, closes, repeats itself. Words are English ones."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tuning_room.checks.claims import EXPRESSION
from tuning_room.checks.numbers import quantities
from tuning_room.checks.sentences import questions, sentences, statements, straight

NEARLY = 0.9  # share of words two texts have in common from which they are nearly the same
# By kind of feeling; a trailing * takes any ending.
FEELINGS: dict[str, str] = {
    "anger": "frustrat* annoy* angry anger mad irritat* infuriat* furious fed\\sup unfair",
    "tiredness": "tired tiring exhaust* worn\\sout weary drain* fatigue*",
    "fear": "worr* anxious anxiety nervous scared scary afraid panic* stress* dread* pressure terrif* fear",
    "sadness": "sad upset* disappoint* discourag* hopeless unhappy miserable down hurt* dishearten* cry* defeated",
    "overload": "overwhelm* too\\smuch confus* lost stuck puzzl*",
    "shame": "embarrass* asham* stupid dumb inadequate not\\sgood\\senough",
    "joy": "proud happy glad excit* reliev* relief satisf* delighted",
}
_FEELING = "|".join(word.replace("*", r"\w*") for words in FEELINGS.values() for word in words.split())
# Words that name a feeling only behind a verb of feeling: "that sounds hard", but not "a hard problem".
_HARD = r"hard|tough|rough|difficult|heavy|lonely|bad|awful|unpleasant|challenging|a lot|long day|impossible|daunting"
_VERB = r"(?:sounds?|feels?|feeling|seems?|must (?:be|feel)|can (?:be|feel)|(?:is|are|'s|'re) (?:really|so|very|quite))"
_MUCH = "like|so|really|very|quite|pretty|an?|bit|little|rather|truly|awfully|incredibly|how|that|and"
_BETWEEN = rf"(?:\s+(?:{_MUCH})){{0,4}}\s+"
_NOUN = (
    r"frustration|anger|worry|stress|fear|disappointment|anxiety|exhaustion|tiredness|panic|annoyance|confusion|"
    r"pressure|sadness|feelings?"
)
_NAMED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_VERB}{_BETWEEN}(?:\w+ )?(?:{_FEELING}|{_HARD})\b",
        r"\b(?:I (?:can )?(?:hear|see|understand|know|get|sense|feel|notice)|sorry|you(?:'re| are| feel| seem| sound)|"
        rf"being|feeling|getting|no wonder|your)\b[^.!?]*\b(?:{_FEELING})\b",
        rf"\b(?:it|that|this)(?:'s| is)(?: \w+){{0,2}} (?:{_FEELING})\b",
        rf"\b(?:{_FEELING})\b[^.!?]*\b(?:normal|okay|ok|understandable|natural|fine|part of|happens|makes sense|"
        rf"real)\b",
        r"\b(?:okay|ok|normal|fine|natural|understandable) to (?:feel|be|find|get)\b",
        r"\b(?:no wonder|I can see why) you(?:'re| are| feel)\b",
        rf"\b(?:your|the|that|this|such) (?:{_NOUN})\b",
    )
]
_DISMISSED = re.compile(
    r"\b(?:don't|do not|no need to|stop|never|should(?:n't| not)|why) (?:be|being|feel|get|feeling|getting|worry|"
    r"panic|stress)\b",
    re.IGNORECASE,
)


def names_feeling(reply: str) -> bool:
    """Say whether a reply names a feeling in a statement: "That sounds frustrating", "It's okay to feel stuck"."""
    said = [one for one in statements(reply) if not _DISMISSED.search(one)]
    return any(pattern.search(one) for one in said for pattern in _NAMED)


_ASKED_WORD = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"[\"'\u201c\u2018](?P<word>[^\"'\u201c\u201d\u2018\u2019]{2,40})[\"'\u201d\u2019]",
        r"\bwhat (?:do(?:es)?|did) (?:the (?:word|term) )?(?:you mean by )?(?:an? |"
        r"the )?(?P<word>[\w -]{2,40}?) (?:even |actually |really )?(?:mean|stand for)\b",
        r"\b(?:mean(?:ing)? (?:of|by)|definition of|define|explain(?: to me)?(?: what)?|the (?:word|"
        r"term)) (?:the (?:word|term) )?"
        r"(?:an? |the )?(?P<word>[\w-]+(?: [\w-]+)?)",
        r"\bwhat(?: again|'s|s| is| are| was| were)\s+(?:again )?(?:meant by )?(?:an? |"
        r"the )?(?P<word>[\w-]+(?: [\w-]+){0,2})",
        r"\b(?:know|sure|understand|remember|forgot(?:ten)?|heard|idea|clue)\b[^.?!]*?\bwhat (?:an? |"
        r"the )?(?P<word>[\w-]+(?: [\w-]+)?) (?:is|are|means?|was)\b",
        r"\b(?:never heard of|don't (?:know|get|understand)) (?:an? |the )?(?:word |"
        r"term )?(?P<word>[\w-]+(?: [\w-]+)?)",
    )
]
_PRONOUN = re.compile(
    r"^\W*(?:(?:so|well|in short|simply put),? )?(?:it|that|this|they|those|these|think of it)\b", re.IGNORECASE
)
_SMALL = set("a an the is are was it that this what does do mean means word term again even in on of to and or".split())


def asked_words(message: str) -> set[str]:
    """Return the stems of the word that a message asks about; of all its longer words if no phrase of asking is found.

    >>> sorted(asked_words("I don't know what a numerator is."))
    ['numer']
    """
    for pattern in _ASKED_WORD:
        if (found := pattern.search(message)) and (stems := _stems(found["word"])):
            return stems
    return {stem for stem in _stems(message) if len(stem) > 3}


def _stems(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"[^\W\d_]{2,}", text.lower()) if word not in _SMALL}


def defines(reply: str, expects: Sequence[str], asked: str) -> bool:
    """Say whether a statement of a reply is about the word that was asked and has one of the expected key words.

    A key phrase with a plus sign, "equal + parts", means all its words, in any order. A statement is about the word if
    it has it, or begins with a pronoun for it.
    """
    stems = asked_words(asked)
    return any(_is_about(one, stems) and _has_key(one, expects) for one in statements(reply))


def _is_about(statement: str, stems: set[str]) -> bool:
    return bool(stems & _stems(statement)) or _PRONOUN.match(statement) is not None


def _has_key(statement: str, expects: Sequence[str]) -> bool:
    return any(all(_has(statement, part.strip()) for part in key.split("+")) for key in expects)


def _has(text: str, key: str) -> bool:
    # "part" is in "parts", "multiply" in "multiplying" is not.
    return re.search(rf"(?<!\w){re.escape(key)}(?:s|es|ed|d)?(?!\w)", text, re.IGNORECASE) is not None


_WARM = re.compile(
    r"\b(?:thank(?:s| you)|bye|goodbye|good ?night|see you|take care|good luck|all the best|glad|happy to|pleasure|"
    r"you'?re (?:very |most )?welcome|you are (?:very |most )?welcome|well done|nice(?:ly)? (?:work|done|job)|"
    r"(?:good|great|nice|lovely|wonderful|fine|solid|hard|excellent) (?:job|work|session|working|effort|day|evening|"
    r"weekend|talking|"
    r"thinking)|enjoy|enjoyed|until next time|come back|any ?time|proud|have a|rest well|sleep well|cheers|so long|"
    r"farewell)\b",
    re.IGNORECASE,
)
_LOOKS_BACK = re.compile(
    r"\b(?:learn(?:ed|t|ing)?|take(?: away| with you| from| home|away)|taking (?:away|with you|from)|takeaway|"
    r"remember|keep in mind|stick(?:s)?|"
    r"stuck (?:with you|most)|realis\w+|realiz\w+|discover\w*|figured? out|understand (?:better|now)|know now|"
    r"clearer|clicked|helped|"
    r"help(?:s)? you|how (?:did|was|do you feel)|most (?:useful|helpful|interesting|surprising)|favou?rite|"
    r"surpris\w+|new idea|"
    r"proud|use (?:it |this |that )?(?:next time|again)|next time|in your own words|insight|idea)\b",
    re.IGNORECASE,
)
_NEW_PROBLEM = re.compile(
    r"\b(?:next|another|new|one more|extra) (?:problem|question|one|exercise|challenge|task)\b|\bhere'?s (?:a|"
    r"another|one)\b|"
    r"\btry (?:this|one|another)\b|\b(?:solve|calculate|compute|work out)\b(?! (?:it|that|this|them|things)\b)",
    re.IGNORECASE,
)


def closes_warmly(reply: str, said: str) -> bool:
    """Say whether a reply says goodbye, asks what was learned or how it went, and sets no new problem.

    A new problem is announced ("try this one"), or is arithmetic or a question with a number that the user has not
    written.
    """
    asked = [question for question in questions(reply) if _LOOKS_BACK.search(question)]
    return bool(_WARM.search(reply)) and bool(asked) and not _sets_problem(reply, said)


def _sets_problem(reply: str, said: str) -> bool:
    known = {value for value, _ in quantities(said)}
    sums = (match.group() for match in EXPRESSION.finditer(reply))
    # Small number words count things: "one idea", "two ways".
    asked = re.findall(r"\d[\d.,/]*%?", " ".join(questions(reply)))
    new = ({value for value, _ in quantities(text)} - known for text in [*sums, *asked])
    return any(new) or any(
        _NEW_PROBLEM.search(one) and not _LOOKS_BACK.search(one) for one in sentences(straight(reply))
    )


def same_again(text: str, earlier: Iterable[str]) -> bool:
    """Say whether a text is one of those before it: the same words, or nearly, about the same numbers."""
    return any(_alike(text, other) for other in earlier)


def _alike(one: str, other: str) -> bool:
    first, second = (Counter(re.findall(r"\w+", text.lower())) for text in (one, other))
    numbers = [Counter({word: count for word, count in words.items() if word.isdigit()}) for words in (first, second)]
    if not first or not second:
        return not first and not second
    return numbers[0] == numbers[1] and (first & second).total() / (first | second).total() >= NEARLY


def another_step(reply: str, last: str) -> bool:
    """Say whether a reply asks something that the last one did not ask already."""
    return any(not same_again(question, questions(last)) for question in questions(reply))
