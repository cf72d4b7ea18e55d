"""How a reply speaks to its user: names a feeling, explains a word, closes, repeats itself. Words are English ones."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tuning_room.checks.claims import EXPRESSION
from tuning_room.checks.number_grammar import read
from tuning_room.checks.numbers import quantities
from tuning_room.checks.sentences import questions, sentences, statements, straight
from tuning_room.words import words

# Shares of the content words that two texts have in common from which they are the same again.
SAME_TEXT, SAME_QUESTION = 0.75, 0.5
# By kind of feeling; a trailing * takes any ending.
FEELINGS: dict[str, str] = {
    "anger": "frustrat* annoy* angry anger mad irritat* infuriat* furious fed\\sup unfair",
    "tiredness": "tired tiring exhaust* worn\\sout weary drain* fatigue*",
    "fear": "worr* anxious anxiety nervous scared scary afraid panic* stress* dread* pressure terrif* fear fluttery",
    "sadness": "sad upset* disappoint* discourag* hopeless unhappy miserable down hurt* dishearten* cry* defeated",
    "overload": "overwhelm* too\\smuch confus* lost stuck puzzl* bored boring boredom dull fed\\sup",
    "shame": "embarrass* asham* stupid dumb inadequate not\\sgood\\senough",
    "joy": "proud happy glad excit* reliev* relief satisf* delighted pleased",
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
# A feeling is the user's, or everyone's, where one of these stands beside it; else it is part of a story.
_WHOSE = (
    r"\b(?:you|your|you're|that|that's|it|it's|sounds?|feels?|feeling|being|getting|anyone|anybody|everyone|everybody|"
    r"people|many|most|some|makes?|sorry|know|understand|see|hear|with you|for you|really|so|what an?|days|I'd be|"
    r"too)\b"
)
_NAMED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_VERB}{_BETWEEN}(?:\w+ )?(?:{_FEELING}|{_HARD})\b",
        rf"{_WHOSE}[^.!?]*\b(?:{_FEELING})\b|\b(?:{_FEELING})\b[^.!?]*{_WHOSE}",
        rf"\b(?:it|that|this)(?:'s| is)(?: \w+)? (?:{_FEELING}|rough|tough|no fun|a lot|awful|hard)(?=\W*$|[,.!;])",
        r"\b(?:okay|ok|normal|fine|natural|understandable) to (?:feel|be|find|get)\b",
        r"\bno wonder\b|\bI can see why you(?:'re| are| feel)\b|\b(?:had|have) (?:had )?enough\b|\bsting(?:s|ing)?\b",
        r"\b(?:sorry|okay|ok|fine|how|what) (?:that )?it feels\b|\b(?:great|good|wonderful|awful|bad) feeling\b",
        r"\b(?:isn't|is not|not|never) (?:an? )?easy\b|\bwell[- ](?:earned|deserved)\b|\byour big (?:smile|grin)\b",
        rf"\b(?:your|the|that|this|such) (?:{_NOUN})\b",
    )
]
# Whoever says so names no feeling: "don't be sad", "it's not boring".
_DISMISSED = re.compile(
    r"\b(?:don't|do not|stop|never|should(?:n't| not)|why|nothing to) (?:be|being|feel|get|feeling|getting|worry|"
    r"worrying|"
    rf"panic|stress)\b(?:[^.!?,]*\b(?:{_FEELING})\b)?|\b(?:{_FEELING}) or not\b|\bnot (?:so |that |"
    rf"really )?(?:{_FEELING})\b",
    re.IGNORECASE,
)


def names_feeling(reply: str) -> bool:
    """Say whether a reply names a feeling in a statement: "That sounds frustrating", "It's okay to feel stuck"."""
    said = [_DISMISSED.sub("", one) for one in statements(reply)]
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
# Words that most questions have, whatever they ask.
_EMPTY = set(
    "a an the and or but so to of in on at for from by with into it its is are be am was were do does did can could "
    "would will should you your we us our i me my what which how that this these those there then now just please let "
    "s re t m first again think".split()
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
    return {
        word[:5] for word in words(text, alone="") if len(word) > 1 and not word[0].isdigit() and word not in _SMALL
    }


def defines(reply: str, expects: Sequence[str], asked: str) -> bool:
    """Say whether a statement of a reply is about the word that was asked and has one of the expected key words.

    A key phrase is there if all its longer words are, in any order and with any ending. A statement is about the word
    if it or the rest of the reply has it, if it begins with a pronoun for it, or if it is the first.
    """
    stated = list(statements(reply))
    named = any(asked_words(asked) & _stems(one) for one in stated)
    about = [one for place, one in enumerate(stated) if named or place == 0 or _PRONOUN.match(one)]
    return any(_has(one, key) for one in about for key in expects)


def _has(text: str, key: str) -> bool:
    wanted = _stems(key) or set(words(key, joined="_", alone=""))
    found = set(words(text, joined="_", alone=""))
    return bool(wanted) and all(any(_is_of(word, stem) for word in found) for stem in wanted)


def _is_of(word: str, stem: str) -> bool:
    """Say whether a word is a stem with any ending; a short one stands for itself alone."""
    return word.startswith(stem) if len(stem) > 3 else word == stem


_WARM = re.compile(
    r"\b(?:thank(?:s| you)|bye|goodbye|good ?night|see you|take care|good luck|all the best|glad|happy to|pleasure|"
    r"you'?re (?:very |most )?welcome|you are (?:very |most )?welcome|well done|nice(?:ly)? (?:work|done|job)|"
    r"(?:good|great|nice|lovely|wonderful|fine|solid|hard|excellent) (?:job|work|session|working|effort|day|evening|"
    r"weekend|talking|"
    r"thinking)|enjoy|enjoyed|until next time|come back|any ?time|proud|have a|rest well|sleep well|cheers|so long|"
    r"farewell|see ya|cya|sleep tight|looking forward|kind of you|love it|loved|happy for you|wonderful|"
    r"get (?:some|a good) rest|worked hard|later!|hanging in there|relieved|congrats|congratulations|lovely|mach's gut|"
    r"gracias|alegro|qu\u00e9 bien|bis bald|tsch\u00fcss|gern geschehen|spa\u00df gemacht|merci|au revoir)\b",
    re.IGNORECASE,
)
_LOOKS_BACK = re.compile(
    r"\b(?:learn(?:ed|t|ing)?|take(?: away| with you| from| home|away)|taking (?:away|with you|from)|takeaway|"
    r"remember|keep in mind|stick(?:s)?|"
    r"stuck (?:with you|most)|realis\w+|realiz\w+|discover\w*|figured? out|understand (?:better|now)|know now|"
    r"clearer|clicked|helped|"
    r"how (?:did|was|do you feel)|most (?:useful|helpful|interesting|surprising)|favou?rite|"
    r"surpris\w+|new idea|"
    r"proud|use (?:it |this |that )?(?:next time|again)|next time|from now on|if it happens again|in your own words|"
    r"insight|ideas?|explain\b.*\bto (?:a|an|your|someone)|aha|(?:did you|have you) f(?:ind|ound) out|"
    r"biggest difference|"
    r"mean to you now|sum (?:it )?up|what's new|see differently|get better at|can (?:you )?do now|could do now|"
    r"classmate|"
    r"one sentence|in a nutshell|since we started|nimmst|feel (?:sure|confident|better)|hold on to|from today|"
    r"gelernt|mitnehmen|te llevas|aprend\w+|appris)\b",
    re.IGNORECASE,
)
_LOOKS_AHEAD = re.compile(
    r"\b(?:learn|do|try|practi[sc]e|work on) next\b|\b(?:like|want) to (?:learn|do|try)\b", re.IGNORECASE
)
_NEW_PROBLEM = re.compile(
    r"\b(?:next|another|new|one more|extra) (?:problem|question|one|exercise|challenge|task)\b|\bhere'?s (?:a|"
    r"another|one)\b|"
    r"\btry (?:this|one|another)\b|\b(?:solve|calculate|compute|work out)\b(?! (?:it|that|this|them|things)\b)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d(?:[\d.,/]*\d)?%?")


def closes_warmly(reply: str, said: str) -> bool:
    """Say whether a reply says goodbye, asks what was learned or how it went, and sets no new problem.

    A new problem is announced ("try this one"), or is arithmetic or a question with a number that the user has not
    written.
    """
    asked = [one for one in questions(reply) if _LOOKS_BACK.search(one) and not _LOOKS_AHEAD.search(one)]
    return bool(_WARM.search(reply)) and bool(asked) and not _sets_problem(reply, said)


def _sets_problem(reply: str, said: str) -> bool:
    # "12 x 6 and 3/4" names three numbers, and may be read as two.
    known = {value for one in read(said) for value in (one.value, *one.others)}
    written = set(_DIGITS.findall(said))
    sums = (match.group() for match in EXPRESSION.finditer(reply))
    # Small number words count things: "one idea", "two ways".
    # An exponent is no quantity, so what was written counts as well.
    asked = [digits for digits in _DIGITS.findall(" ".join(questions(reply))) if digits not in written]
    new = ({value for value, _ in quantities(text)} - known for text in [*sums, *asked])
    return any(new) or any(
        _NEW_PROBLEM.search(one) and not _LOOKS_BACK.search(one) for one in sentences(straight(reply))
    )


def same_again(text: str, earlier: Iterable[str], share: float = SAME_TEXT) -> bool:
    """Say whether a text is one of those before it: the same content words, or nearly, about the same numbers."""
    return any(_alike(text, other, share) for other in earlier)


def _alike(one: str, other: str, share: float) -> bool:
    first, second = _content(one), _content(other)
    numbers = [{word for word in content if word.isdigit()} for content in (first, second)]
    if not first or not second:
        return not first and not second
    return numbers[0] == numbers[1] and (first & second).total() / (first | second).total() >= share


def _content(text: str) -> Counter[str]:
    """Return the stems of a text's words, without those that any sentence has; all of them if there are no others."""
    found = words(text, joined="_", alone="")
    return Counter(word[:5] for word in found if word not in _EMPTY) or Counter(found)


def another_step(reply: str, last: str) -> bool:
    """Say whether a reply asks something that the last one did not ask already."""
    before = questions(last) or [last]
    return any(not same_again(question, before, SAME_QUESTION) for question in questions(reply))
