"""What a teacher's reply is held to: the dataset's checks, those of its row's requirements, and the passage given."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from tuning_room.checks import CheckSettings, Exchange, rejected_by
from tuning_room.checks.numbers import numbers_in, quantities
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import FlowRow
from tuning_room.requirements import Requirement, held_to

GROUNDED = "grounded"
COUNTING = 12  # number words up to this one count things ("one of them") more often than they state a fact
_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*")
_LIST_NUMBER = re.compile(r"^\s*\d{1,3}[.)]\s", re.MULTILINE)
_TITLES = {"mr", "mrs", "ms", "mx", "dr", "prof", "st", "sr", "sra", "mme"}
_WITHIN_A_SENTENCE = re.compile(rf"(?:[\w,;)]|\b(?:{'|'.join(_TITLES)})\.)[ \t][*_(]{{0,3}}$", re.IGNORECASE)
_LOOKED_BACK = 12  # characters before a word, enough for a title and the signs around it
# In these languages every noun has a capital.
CAPITAL_NOUNS = {"de"}
NO_NAMES = {"i", "ok", *_TITLES}

Failure = tuple[str, str]  # the name of a check, and its reason


class Standards:
    """Finds what a reply to a row fails; without `checking` every reply passes, for a teacher that only counts."""

    def __init__(self, config: GenerateConfig, known: Sequence[Requirement], *, checking: bool = True) -> None:
        self._config, self._known, self._checking = config, known, checking

    def failures(self, row: FlowRow, exchange: Exchange) -> tuple[Failure, ...]:
        """Return each check that rejects a reply, with its reason: first whether it is grounded, if it has to be."""
        if not self._checking:
            return ()
        stated = (
            ungrounded(exchange.reply, [row["grounds"], row["full_prompt"], exchange.said]) if row["grounds"] else ""
        )
        found = [(GROUNDED, f"{stated} stands in no source")] if stated else []
        asked = held_to(row["requirements"], self._known)
        exchange = exchange._replace(language=self._config.language)
        return (
            *found,
            *failures(self._config.checks, exchange),
            *((f"requirement:{one.id}", why) for one in asked for _, why in failures(one.checks, exchange)),
        )


def failures(checks: CheckSettings, exchange: Exchange) -> Iterator[Failure]:
    """Yield each check that rejects a reply, with its reason."""
    found = (rejected_by({name: parameters}, exchange) for name, parameters in checks.items())
    yield from (failure for failure in found if any(failure))


def made_up(failed: Sequence[Failure]) -> str:
    """Return the error of a row whose reply is not grounded, '' if that is not among what it fails."""
    why = dict(failed).get(GROUNDED)
    return f"not {GROUNDED}: {why}" if why else ""


def is_made_up(error: str) -> bool:
    """Return whether a row's error says that its reply is not grounded."""
    return error.startswith(f"not {GROUNDED}: ")


def ungrounded(reply: str, sources: Sequence[str]) -> str:
    """Return the first number or name of a reply that stands in none of the sources, in quotes; '' if there is none.

    A rule, not an understanding: numbers are compared by value, names by their letters, and nothing else is looked at.
    Left out are list numbers, number words up to twelve, which mostly count things, titles such as Mrs., and the first
    word of a sentence. Where every noun has a capital, only words with a second capital or a digit count as names.

    >>> ungrounded("The desk in Leeds opens at 9 and costs 40 euros.", ["Leeds: from 9 o'clock"])
    "'40'"
    >>> ungrounded("Ask Mrs. Novak, please.", ["Mrs. Weber has the key."])
    "'Novak'"
    """
    text, reply = "\n".join(sources), _LIST_NUMBER.sub("", reply)
    number = next(_unknown_numbers(reply, text), "")
    name = number or next(_unknown_names(reply, text), "")
    return f"'{name}'" if name else ""


def _unknown_numbers(reply: str, text: str) -> Iterator[str]:
    known: set[Fraction] = {value for value, _ in quantities(text)}
    for number in numbers_in(reply):
        counts = number.text[:1].isalpha() and number.value <= COUNTING
        if number.value not in known and not counts:
            yield number.text


def _unknown_names(reply: str, text: str) -> Iterator[str]:
    from tuning_room.requirements.languages import language_of

    known = {form for word in _WORD.findall(text) for form in _forms(word)}
    nouns = (language_of(reply) or language_of(text)) in CAPITAL_NOUNS
    for found in _WORD.finditer(reply):
        word = found.group()
        inner = any(sign.isupper() for sign in word[1:]) or (word[0].isalpha() and any(map(str.isdigit, word)))
        begins = not _WITHIN_A_SENTENCE.search(reply[max(0, found.start() - _LOOKED_BACK) : found.start()])
        is_name = inner or (word[0].isupper() and not begins and not nouns)
        if is_name and not {*_forms(word)} & (known | NO_NAMES):
            yield word


def _forms(word: str) -> Iterable[str]:
    """Return a word in small letters, and what it is without its ending: "Anna's" is Anna's, and "I'm" is I."""
    small = word.casefold()
    return small, re.split(r"['\u2019]", small)[0]
