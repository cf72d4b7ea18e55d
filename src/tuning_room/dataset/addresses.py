"""E-mail addresses in every script and as people hide them, and addresses of the internet."""

import ipaddress
from collections.abc import Iterator
from functools import cache

import regex

# A script without spaces runs into an address: either all letters are of such scripts, or none is.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
_SPACED = rf"[[\w\p{{M}}]--[{_UNSPACED}]]"
_LOCAL = rf"(?:[{_SPACED}.+%'\u2019~-]{{1,64}}|[{_UNSPACED}]{{1,32}}|\"[^\"\n@]{{1,60}}\")"
_ENDING = rf"(?:xn--[a-z0-9-]{{2,59}}|[[\p{{L}}\p{{M}}]--[{_UNSPACED}]]{{2,24}})"
_LABELS = rf"(?:{_SPACED}[{_SPACED}-]{{0,62}}[.\uff0e。]){{1,8}}{_ENDING}"
_UNSPACED_LABELS = rf"(?:[{_UNSPACED}a-z0-9-]{{1,63}}[.\uff0e。]){{1,8}}[{_UNSPACED}]{{2,24}}"
_EMAIL = regex.compile(
    rf"(?<![{_SPACED}.+%-]){_LOCAL}(?:[@\uff20]|%40)(?:{_LABELS}|{_UNSPACED_LABELS})", regex.IGNORECASE | regex.VERSION1
)
_HIDDEN_AT = r"(?:[(\[{<]\s?(?:at|ät|@|arobase|arroba|chiocciola|małpa|kukac|собака)\s?[)\]}>])"
_DOTS = "dot|punkt|point|punto|ponto|kropka|точка"
_HIDDEN_DOT = rf"(?:\s?[(\[{{<]\s?(?:{_DOTS}|\.)\s?[)\]}}>]\s?|\s(?:{_DOTS})\s|\.)"
_SAID_AT = r"\s(?:arobase|arroba|chiocciola|małpa|собака)\s"
_SAID_DOT = rf"(?:\s(?:{_DOTS})\s|\.)"
_NAME, _HOST = r"[\w.+%-]{1,64}", r"[\w-]{1,63}"
_HIDES = regex.compile(rf"[@\uff20]|{_HIDDEN_AT}|{_SAID_AT}|\sdot\s|_at_", regex.IGNORECASE)
# English words that are countries' domains as well.
_WORDS = frozenset("am as at be by do in is it me my no so to us".split())
_GENERIC = (
    "com org net edu gov mil int info biz io name pro museum app dev online site email test example invalid".split()
)
_IPV4 = regex.compile(r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d|-\d)")
# Behind a bracket or a name stands a slice of an array or a name's scope, not an address.
_IPV6 = regex.compile(r"(?<![\w:.\[(,])(?=[0-9a-f:]*:[0-9a-f:]*:)[0-9a-f:]{2,39}(?:%\w+)?(?![\w:])", regex.IGNORECASE)
# Without those of documents (RFC 5737), which stand for addresses of people.
_PRIVATE = [
    ipaddress.ip_network(net)
    for net in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4")
]
_VERSION = regex.compile(
    r"(?:\b(?:version|release|build|v|ver|section|chapter|kapitel|abschnitt|chapitre|sezione|capítulo|firmware|kernel|driver|§)\W{0,3}|\bv)$",
    regex.IGNORECASE,
)
_ADDRESS = regex.compile(
    r"\b(?:ip|ips|address|adresse|host|server|ping|from|von|client|dirección|endereço|indirizzo)\b", regex.I
)


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield where e-mail addresses stand, also those with a word or spaces for their signs."""
    if "@" in text or "\uff20" in text or "%40" in text:
        for match in _EMAIL.finditer(text):
            start = match.start() + (len(match[0]) - len(match[0].lstrip("'\u2019.~-")))
            yield start, match.end()
    for pattern in _hidden() if _HIDES.search(text) else ():
        yield from (match.span("whole") for match in pattern.finditer(text))


@cache
def _hidden() -> tuple["regex.Pattern[str]", ...]:
    import phonenumbers

    countries = {region.lower() for region in phonenumbers.SUPPORTED_REGIONS} | {"uk", "eu"}
    ends = "|".join([*_GENERIC, *sorted(countries)])
    # `at` and `dot` alone are words: the address ends where the part of a sentence does.
    plain = "|".join([*_GENERIC, *sorted(countries - _WORDS)])
    forms = [
        rf"{_NAME}\s?{_HIDDEN_AT}\s?(?:{_HOST}{_HIDDEN_DOT}){{1,4}}(?:{ends})\b",
        rf"{_NAME}{_SAID_AT}(?:{_HOST}{_SAID_DOT}){{1,4}}(?:{ends})\b",
        rf"{_NAME}\sat\s(?!(?:the|this|that|a|an|each|every|one|my|your|our|its)\s)(?:{_HOST}\sdot\s){{1,4}}(?:{plain})\b"
        r"(?!\s\w+\sdot\s)",
        rf"{_NAME}(?:\s[@\uff20]\s?|\s?[@\uff20]\s){_HOST}(?:\s?\.\s?{_HOST}){{0,3}}\s?\.\s?(?:{plain})\b",
    ]
    # A name of a file may look like this, with the ending of a language or country.
    forms += [rf"{_NAME}?_at_(?:{_HOST}?(?:_dot_|\.)){{1,4}}(?:com|org|net|edu|gov|eu|uk|de|fr|es|it)\b"]
    return tuple(regex.compile(rf"(?<![\w@])(?P<whole>{form})", regex.IGNORECASE) for form in forms)


def ips(text: str) -> Iterator[tuple[int, int]]:
    """Yield where addresses of the internet stand that could be a person's: no private ones, no versions."""
    for match in _IPV4.finditer(text) if text.count(".") > 2 else ():
        before = text[max(0, match.start() - 24) : match.start()]
        if _is_public(match[0]) and not _VERSION.search(before) and (_is_long(match[0]) or _ADDRESS.search(before)):
            yield match.span()
    for match in _IPV6.finditer(text) if text.count(":") > 1 else ():
        if _is_written_out(match[0]) and _is_public(match[0]):
            yield match.span()


def _is_written_out(address: str) -> bool:
    # "1::2" is a ratio or a slice to most who write it.
    groups = [group for group in address.partition("%")[0].split(":") if group]
    return len(groups) > 3 or (len(groups) > 1 and sum(len(group) > 2 for group in groups) > 1)


def _is_long(address: str) -> bool:
    # Four small numbers are more often the number of a section or a version.
    return max(map(len, address.split("."))) > 2


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    return isinstance(found, ipaddress.IPv6Address) or not any(found in net for net in _PRIVATE)
