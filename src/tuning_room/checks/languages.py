"""Which languages the rules read: those whose words they know; the others see signs and numbers, as in any language."""

from collections.abc import Iterable, Iterator

# By check or metric, as docs/languages.md says; what is not named here reads every script.
ENGLISH = frozenset({"en"})
READS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("refuses", "over_refuses"), frozenset("en de fr es zh ja ko ar hi ru".split())),
    **dict.fromkeys(("tells", "states_no_result", "withholds", "endorses", "endorses_no_wrong_result"), ENGLISH),
    # The words beside a phone number; a number with a country code is found without them.
    "dataset.pii": frozenset(
        "ar cs da de el en es fa fi fr he hi hu id it ja ko nb nl nn no pl pt ro ru sk sv th tr uk vi zh".split()
    ),
    **dict.fromkeys(("judges", "explains", "acknowledges", "closes"), ENGLISH),
}


def unread(language: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the checks and metrics, each once, whose rules do not know the words of a language (ISO 639-1).

    >>> list(unread("hi", ["asks", "tells", "refuses", "check:states_no_result"]))
    ['tells', 'check:states_no_result']
    """
    for name in dict.fromkeys(names):
        if language not in READS.get(name.removeprefix("check:"), {language}):
            yield name
